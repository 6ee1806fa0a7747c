import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { aGate } from "../support/stage-rig.ts";
import { openAnswering, type Reply } from "../support/stage-rig-answers.ts";
import {
  freshTenant,
  type HttpStage,
  openHttpStage,
  openReceiver,
  putInto,
  type Receivers,
  servedBy,
} from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";

const TOKEN = randomBytes(24).toString("hex");
let blue: Receivers;
let green: Receivers;
beforeAll(async () => {
  [blue, green] = await Promise.all([openReceiver("blue", TOKEN), openReceiver("green", TOKEN)]);
});
afterAll(async () => {
  await blue[Symbol.asyncDispose]();
  await green[Symbol.asyncDispose]();
});

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });
const GREEN_42 = JSON.stringify({ deployUnit: GREEN.deployUnit, version: 42 });
const BLUE_41 = JSON.stringify({ deployUnit: BLUE.deployUnit, version: 41 });

/** Both receivers on blue 41, and a stage that announces to both. */
async function onBoth(config: JsonObject = {}): Promise<HttpStage> {
  const ports = [blue.process.port, green.process.port];
  const it = await openHttpStage({ config, ports, token: TOKEN });
  for (const receiver of [blue, green])
    await putInto(receiver, it.tenant, { seq: 1, opId: "placed", unit: BLUE, version: 41 });
  return it;
}
const served = ({ tenant }: HttpStage): Promise<readonly string[]> =>
  Promise.all([servedBy(blue, tenant), servedBy(green, tenant)]);
const reachOf = (outcome: Outcome): unknown => ("reach" in outcome ? outcome.reach : undefined);
const verdicts = async ({ process }: Receivers, tenant: string): Promise<readonly unknown[]> =>
  (await process.effects()).filter((line) => line["tenant"] === tenant).map((line) => line["verdict"]);

describe("a request", () => {
  test("carries tenant, fence, base and operation, the endpoint's credential, and the receiver's body", async () => {
    await using service = await openAnswering(() => ({ status: 200, json: {} }));
    await using it = await openHttpStage({ ports: [service.port], token: "secret-token", tenantId: "acme" });
    expect(await it.stage.run({ seq: 10, base: 7 })).toEqual({ is: "done", outputs: { instances: 1 } });
    const [request] = service.came;
    expect(request).toMatchObject({ method: "PUT", path: "/turnout/v1/tenants/prod/acme" });
    expect(request?.headers).toMatchObject({
      "turnout-tenant": "prod/acme",
      "turnout-fence": fenceOf(10),
      "turnout-base": fenceOf(7),
      "idempotency-key": it.stage.call("Forward", null, FIRST).opId,
      authorization: "Bearer secret-token",
      "content-type": "application/json",
      "accept-encoding": "identity",
    });
    expect(JSON.parse(request?.body ?? "")).toEqual({
      deployUnit: GREEN.deployUnit,
      version: 42,
      endpoints: GREEN.endpoints,
      parameters: GREEN.parameters,
    });
  });

  test("goes out as the stage says: method, path, headers, body", async () => {
    await using service = await openAnswering(() => ({ status: 204 }));
    const config = {
      method: "POST",
      path: "/v2/${tenantId}/switch?to=${target.deployUnit.name}",
      headers: { "X-Version": "${plan.version}", "X-Since": "${now}" },
      body: { unit: "${target.deployUnit}", text: "to ${target.deployUnit.name}" },
    };
    await using it = await openHttpStage({ ports: [service.port], config, tenantId: "acme" });
    expect(await it.stage.run(FIRST)).toMatchObject(done);
    const [request] = service.came;
    expect(request).toMatchObject({ method: "POST", path: "/v2/acme/switch?to=green" });
    expect(request?.headers).toMatchObject({ "x-version": "42", "x-since": "2026-06-01T12:00:00.000Z" });
    expect(JSON.parse(request?.body ?? "")).toEqual({ unit: GREEN.deployUnit, text: "to green" });
  });

  test("of a probe carries neither fence nor operation", async () => {
    await using service = await openAnswering(() => ({ status: 404, json: { code: "UnknownTenant" } }));
    await using it = await openHttpStage({ ports: [service.port], token: "t" });
    await it.stage.probe(FIRST);
    expect(service.came[0]).toMatchObject({ method: "GET" });
    expect(Object.keys(service.came[0]?.headers ?? {}).filter((name) => /turnout-|idempotency/.test(name))).toEqual([]);
  });

  test("[SEC-41] of more than 256 KiB is refused before anything is sent", async () => {
    await using service = await openAnswering(() => ({ status: 200 }));
    const config = { path: "/x", body: { text: "x".repeat(270_000) } };
    await using it = await openHttpStage({ ports: [service.port], config });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("RequestTooLarge"));
    expect(it.proxies[0]?.accepted).toBe(0);
  });
});

describe("an answer", () => {
  interface Row {
    readonly reply: Reply;
    readonly outcome: object;
    readonly config?: JsonObject;
  }
  const json = (status: number, value: JsonObject, headers: Record<string, string> = {}): Reply => ({
    status,
    json: value,
    headers,
  });
  const OK: JsonObject = { code: 0, data: { failList: [] } };
  const acked = { is: "done", outputs: { instances: 1 } };
  const busy = (after: number | null): object => ({ is: "retryable", after, fault: { code: "ReceiverBusy" } });
  const plain = { path: "/apply", method: "POST" };
  const ROWS: Readonly<Record<string, Row>> = {
    "200 with JSON": { reply: json(200, {}), outcome: acked },
    "200 with an empty body where JSON was promised": { reply: { status: 200 }, outcome: terminal("NotJson") },
    "[http/hostile] 200 with HTML where JSON was promised": {
      reply: { status: 200, text: "<html>well</html>" },
      outcome: terminal("NotJson"),
    },
    "200 with HTML where nothing was promised": {
      reply: { status: 200, text: "<html>well</html>" },
      outcome: acked,
      config: plain,
    },
    "204 where nothing was promised": { reply: { status: 204 }, outcome: acked, config: plain },
    "a status that is not among those of success": {
      reply: json(202, {}),
      outcome: terminal("HttpRejected"),
      config: { success: { status: [200, 201] } },
    },
    "a status that is": { reply: json(201, {}), outcome: acked, config: { success: { status: [200, 201] } } },
    "values as demanded": {
      reply: json(200, OK),
      outcome: acked,
      config: { ...plain, success: { equals: { "/code": 0, "/data": { failList: [] } } } },
    },
    "a value that differs": {
      reply: json(200, { code: 7 }),
      outcome: terminal("AnswerDiffers"),
      config: { ...plain, success: { equals: { "/code": 0 } } },
    },
    "a value of another type": {
      reply: json(200, { code: "0" }),
      outcome: terminal("AnswerDiffers"),
      config: { ...plain, success: { equals: { "/code": 0 } } },
    },
    "a value that is not there": {
      reply: json(200, {}),
      outcome: terminal("AnswerDiffers"),
      config: { ...plain, success: { equals: { "/code": null } } },
    },
    "values where nothing of JSON came": {
      reply: { status: 200, text: "fine" },
      outcome: terminal("NotJson"),
      config: { ...plain, success: { equals: { "/code": 0 } } },
    },
    "the plan's version as demanded": {
      reply: json(200, { version: 42 }),
      outcome: acked,
      config: { ...plain, success: { equals: { "/version": "${plan.version}" } } },
    },
    "an empty list of failures": {
      reply: json(200, OK),
      outcome: acked,
      config: { ...plain, success: { emptyAt: "/data/failList" } },
    },
    "no list of failures": {
      reply: json(200, { code: 0 }),
      outcome: acked,
      config: { ...plain, success: { emptyAt: "/data/failList" } },
    },
    "null for a list of failures": {
      reply: json(200, { data: { failList: null } }),
      outcome: acked,
      config: { ...plain, success: { emptyAt: "/data/failList" } },
    },
    "a list with failures": {
      reply: json(200, { data: { failList: ["shard-3"] } }),
      outcome: terminal("FailListNotEmpty"),
      config: { ...plain, success: { emptyAt: "/data/failList" } },
    },
    "something else for a list of failures": {
      reply: json(200, { data: { failList: "shard-3" } }),
      outcome: terminal("FailListNotEmpty"),
      config: { ...plain, success: { emptyAt: "/data/failList" } },
    },
    "[http/busy] 503": { reply: json(503, {}), outcome: busy(null) },
    "[http/busy] 503 with Retry-After": { reply: json(503, {}, { "retry-after": "7" }), outcome: busy(7000) },
    "[http/busy] 429 with Retry-After": { reply: json(429, {}, { "retry-after": "120" }), outcome: busy(120_000) },
    "[http/busy] 503 with an endless Retry-After": {
      reply: json(503, {}, { "retry-after": "999999999" }),
      outcome: busy(3_600_000),
    },
    "[http/denied] 401": { reply: json(401, {}), outcome: terminal("Unauthorized") },
    "[http/denied] 403": { reply: json(403, {}), outcome: terminal("Unauthorized") },
    "[http/denied] 400": { reply: json(400, {}), outcome: terminal("HttpRejected") },
    "[http/denied] 404": { reply: json(404, {}), outcome: terminal("HttpRejected") },
    "[http/denied] 422": { reply: json(422, {}), outcome: terminal("HttpRejected") },
    "409 without a code": { reply: json(409, {}), outcome: terminal("HttpRejected") },
    "409 ContentDiffers": { reply: json(409, { code: "ContentDiffers" }), outcome: terminal("ContentDiffers") },
    "412 Fenced": {
      reply: json(412, { code: "Fenced", seen: fenceOf(77) }),
      outcome: { is: "fenced", fault: { code: "Fenced", message: expect.stringContaining(fenceOf(77)) as string } },
    },
    "[http/reborn] 412 Diverged": {
      reply: json(412, { code: "Diverged", seen: fenceOf(78) }),
      outcome: { is: "diverged", fault: { code: "Diverged", message: expect.stringContaining(fenceOf(78)) as string } },
    },
    "[SEC-33] 412 Fenced with no fence in it": {
      reply: json(412, { code: "Fenced", seen: "~canary" }),
      outcome: { is: "fenced", fault: { message: expect.stringContaining("newer fence unknown") as string } },
    },
    "412 without a code": { reply: json(412, {}), outcome: terminal("HttpRejected") },
    "[http/hostile] 302": {
      reply: json(302, {}, { location: "http://127.0.0.1:1/" }),
      outcome: terminal("Redirected"),
    },
    "[http/hostile] 307": {
      reply: json(307, {}, { location: "http://127.0.0.1:1/" }),
      outcome: terminal("Redirected"),
    },
    "500, after which nobody knows": {
      reply: json(500, {}),
      outcome: { is: "unknown", fault: { code: "ServerError" } },
    },
    "502, after which nobody knows": { reply: json(502, {}), outcome: { is: "unknown" } },
    "504, after which nobody knows": { reply: json(504, {}), outcome: { is: "unknown" } },
    "[http/lost] a connection that is cut": {
      reply: "cut",
      outcome: { is: "unknown", fault: { code: "AnswerLost" } },
    },
    "[http/silent] silence": { reply: "silence", outcome: { is: "unknown", fault: { code: "HttpTimeout" } } },
    "[http/hostile] [SEC-41] 200 with more than 64 KiB": {
      reply: { status: 200, text: `"${"x".repeat(70_000)}"` },
      outcome: terminal("AnswerTooLarge"),
    },
    "[SEC-41] more than 64 KiB where nothing was promised": {
      reply: { status: 200, text: "x".repeat(70_000) },
      outcome: terminal("AnswerTooLarge"),
      config: plain,
    },
    "[SEC-44] JSON with a forbidden key": {
      reply: { status: 200, text: '{"__proto__":{"code":0}}' },
      outcome: terminal("NotJson"),
    },
    "[SEC-33] JSON of 17 levels": {
      reply: { status: 200, text: `${"[".repeat(17)}${"]".repeat(17)}` },
      outcome: terminal("NotJson"),
    },
    "[SEC-41] a body in an encoding that was not asked for": {
      reply: { status: 200, text: "{}", headers: { "content-encoding": "gzip" } },
      outcome: terminal("NotJson"),
    },
  };

  test("no row is lost", () => expect(Object.keys(ROWS)).toHaveLength(45));

  test.each(Object.entries(ROWS))("%s", async (_title, { reply, outcome, config = {} }) => {
    await using service = await openAnswering(() => reply);
    await using it = await openHttpStage({ ports: [service.port], config });
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(400) })).toMatchObject(outcome);
    expect(service.came).toHaveLength(1);
  });

  test("[SEC-36] [SEC-37] neither bodies, headers, queries nor credentials turn up in outcome or log", async () => {
    const [token, header, query, body, said] = ["token", "header", "query", "body", "said"].map((w) => `canary-${w}`);
    const replies: readonly Reply[] = [
      json(200, { code: said ?? "", data: { failList: [said ?? ""] } }, { "x-said": said ?? "" }),
      json(422, { code: said ?? "", seen: said ?? "" }),
      json(412, { code: "Fenced", seen: said ?? "" }),
      json(302, {}, { location: `http://${said}/` }),
      { status: 200, text: said ?? "" },
      json(503, { code: said ?? "" }, { "retry-after": said ?? "" }),
      "cut",
    ];
    const outcomes: Outcome[] = [];
    const lines: string[] = [];
    for (const reply of replies) {
      await using service = await openAnswering(() => reply);
      const config = {
        path: `/apply?q=${query}`,
        headers: { "x-mine": header ?? "" },
        body: { text: body ?? "" },
        success: { equals: { "/code": 0 }, emptyAt: "/data/failList" },
      };
      await using it = await openHttpStage({ ports: [service.port], config, token: token ?? "" });
      outcomes.push(await it.stage.run(FIRST));
      lines.push(...it.rig.lines);
      expect(service.came).toHaveLength(1);
    }
    expect(outcomes.filter(({ is }) => is === "done")).toEqual([]);
    expect(JSON.stringify([outcomes, lines])).not.toContain("canary");
  });
});

describe("several instances", () => {
  test("all acknowledge", async () => {
    await using it = await onBoth();
    expect(await it.stage.run(FIRST)).toEqual({ is: "done", outputs: { instances: 2 } });
    expect(await served(it)).toEqual([GREEN_42, GREEN_42]);
  });

  test("[R54] partial failure names who did and who did not, by code", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "refuse", status: 422, tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject(terminal("HttpRejected"));
    expect(reachOf(outcome)).toEqual({
      acked: [it.instances[0]],
      failures: [{ address: it.instances[1], code: "HttpRejected" }],
    });
    expect(await served(it)).toEqual([GREEN_42, BLUE_41]);
  });

  test("[R54] a list of failures in a 200 counts as failure of that instance", async () => {
    await using it = await onBoth({ success: { emptyAt: "/data/failList" } });
    await green.process.tell({ mode: "partial", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject(terminal("FailListNotEmpty"));
    expect(reachOf(outcome)).toMatchObject({ acked: [it.instances[0]] });
  });

  test("[http/down] only those that did not acknowledge are called again, with the same operation", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "refuse", status: 503, tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", reach: { acked: [it.instances[0]] } });
    const before = (await verdicts(blue, it.tenant)).length;
    expect(await it.stage.run({ seq: 11, addresses: it.instances.slice(1) })).toMatchObject(done);
    expect(await verdicts(blue, it.tenant)).toHaveLength(before);
    const opIds = (await green.process.effects())
      .filter((line) => line["tenant"] === it.tenant && line["version"] === 42)
      .map((line) => line["opId"]);
    expect(new Set(opIds)).toEqual(new Set([it.stage.call("Forward", null, FIRST).opId]));
  });

  test("[S26] doubt about one outranks refusal by another", async () => {
    await using it = await onBoth();
    await blue.process.tell({ mode: "refuse", status: 422, tenant: it.tenant, times: 1 });
    await green.process.tell({ mode: "lose-answer", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "unknown", fault: { code: "AnswerLost" } });
    expect(reachOf(outcome)).toEqual({
      acked: [],
      failures: [
        { address: it.instances[0], code: "HttpRejected" },
        { address: it.instances[1], code: "AnswerLost" },
      ],
    });
  });

  test("[S30] one that has seen more than we know stops everything", async () => {
    await using it = await onBoth();
    await putInto(green, it.tenant, { seq: 50, opId: "later", unit: GREEN, version: 50 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "fenced" });
    expect(await it.stage.run({ seq: 60, base: 40 })).toMatchObject({ is: "diverged" });
  });

  test("the longest Retry-After counts", async () => {
    const after = ["3", "9", "5"];
    await using one = await openAnswering(() => ({ status: 503, headers: { "retry-after": after[0] ?? "" } }));
    await using two = await openAnswering(() => ({ status: 429, headers: { "retry-after": after[1] ?? "" } }));
    await using three = await openAnswering(() => ({ status: 503, headers: { "retry-after": after[2] ?? "" } }));
    await using it = await openHttpStage({ ports: [one.port, two.port, three.port] });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "retryable", after: 9000 });
  });

  test("one that is gone is named, the others are called all the same", async () => {
    await using it = await onBoth();
    await it.proxies[0]?.[Symbol.asyncDispose]();
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", fault: { code: "ConnectRefused" } });
    expect(reachOf(outcome)).toEqual({
      acked: [it.instances[1]],
      failures: [{ address: it.instances[0], code: "ConnectRefused" }],
    });
  });
});

describe("select", () => {
  const three = async (select: string, reply: (nth: number) => Reply) => {
    const services = await Promise.all([0, 1, 2].map((nth) => openAnswering(() => reply(nth))));
    const endpoints = services.map(({ port }) => ({ key: "gw", host: "127.0.0.1", port }));
    const it = await openHttpStage({
      ports: [],
      reachable: services.map(({ port }) => port),
      config: { to: { key: "gw", select } },
      target: { ...GREEN, endpoints },
      previous: { ...BLUE, endpoints: endpoints.slice(0, 1) },
    });
    const called = (): readonly number[] => services.map(({ came }) => came.length);
    const dispose = async (): Promise<void> => {
      await it[Symbol.asyncDispose]();
      for (const service of services) await service[Symbol.asyncDispose]();
    };
    return { ...it, services, called, [Symbol.asyncDispose]: dispose };
  };
  const fine: Reply = { status: 200, json: {} };

  test("Any is content with the first", async () => {
    await using it = await three("Any", () => fine);
    expect(await it.stage.run(FIRST)).toEqual({ is: "done", outputs: { instances: 1 } });
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any goes on where one certainly received nothing", async () => {
    await using it = await three("Any", (nth) => (nth === 1 ? fine : { status: 503 }));
    expect(await it.stage.run(FIRST)).toMatchObject(done);
    expect(it.called()).toEqual([1, 1, 0]);
  });

  test("Any stops where nobody knows whether one received it", async () => {
    await using it = await three("Any", (nth) => (nth === 0 ? "cut" : fine));
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown" });
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any stops at a refusal", async () => {
    await using it = await three("Any", (nth) => (nth === 0 ? { status: 422 } : fine));
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("HttpRejected"));
    expect(it.called()).toEqual([1, 0, 0]);
  });

  test("Any is tried again where all are busy, and names all", async () => {
    await using it = await three("Any", () => ({ status: 503 }));
    const outcome = await it.stage.run(FIRST);
    expect(outcome).toMatchObject({ is: "retryable", fault: { code: "ReceiverBusy" } });
    expect(reachOf(outcome)).toMatchObject({ acked: [], failures: [{}, {}, {}] });
  });

  test("RoundRobin calls one, the same at each attempt of an operation, another for other operations", async () => {
    await using it = await three("RoundRobin", () => fine);
    for (const seq of [10, 11, 12]) await it.stage.run({ seq });
    expect(it.called().toSorted((a, b) => a - b)).toEqual([0, 0, 3]);
    for (let i = 0; i < 40; i += 1) await it.stage.run({ seq: 20 + i, opId: randomBytes(26).toString("hex") });
    expect(it.called().every((count) => count > 3)).toBe(true);
  });

  test.each(["Any", "RoundRobin"])("%s: in force at one of them is in force", async (select) => {
    let opId = "";
    await using it = await three(select, (nth) =>
      nth === 1
        ? { status: 200, json: { opId, fence: fenceOf(10) } }
        : { status: 404, json: { code: "UnknownTenant" } },
    );
    opId = it.stage.call("Forward", null, FIRST).opId;
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "in-force", outputs: { instances: 1 } });
    opId = "other";
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
  });

  test.each(["Any", "RoundRobin"])("%s: not in force is said only where all can be read", async (select) => {
    await using it = await three(select, (nth) =>
      nth === 2 ? { status: 503 } : { status: 404, json: { code: "UnknownTenant" } },
    );
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "unreadable" });
  });

  test("whatever was selected, the undo goes to everyone who may have received it and to the previous ones", async () => {
    let opId = "";
    await using it = await three("Any", () => ({ status: 200, json: { opId } }));
    await it.stage.run(FIRST);
    opId = it.stage.call("Back", "announce", { seq: 20 }).opId;
    expect(await it.stage.undo({ seq: 20 })).toMatchObject({ is: "done", outputs: { instances: 3 } });
    expect(it.services.map(({ came }) => came.filter(({ method }) => method === "PUT").length)).toEqual([2, 1, 1]);
  });
});

describe("a probe", () => {
  const standard = (about: JsonObject): Reply => ({ status: 200, json: { version: 42, fence: fenceOf(5), ...about } });
  const inForce = { is: "in-force" };
  const notInForce = { is: "not-in-force" };
  const foreign = { is: "foreign", fault: { code: "ForeignOperation" } };
  const unreadable = { is: "unreadable", fault: { code: "ProbeFailed" } };
  /** Claim 11 asks, claim 10 is the greatest that is known. */
  const ROWS: Readonly<Record<string, readonly [Reply, object]>> = {
    "our operation": [standard({ opId: "OURS", fence: fenceOf(10) }), inForce],
    "the operation before": [standard({ opId: "placed" }), notInForce],
    "the operation before, under the fence of our lost claim": [
      standard({ opId: "placed", fence: fenceOf(10) }),
      notInForce,
    ],
    "an operation above what is known": [standard({ opId: "theirs", fence: fenceOf(11) }), foreign],
    "[SEC-31] an operation with a fence that is none": [standard({ opId: "theirs", fence: "~" }), unreadable],
    "no fence at all": [{ status: 200, json: { opId: "theirs" } }, unreadable],
    "no operation": [standard({}), unreadable],
    "an operation that is no text": [standard({ opId: { ours: "OURS" } }), unreadable],
    "ours, with a later one unfinished": [standard({ opId: "OURS", fence: fenceOf(10), unfinished: "x" }), notInForce],
    "ours, with one unfinished above what is known": [
      standard({ opId: "OURS", fence: fenceOf(12), unfinished: "x" }),
      foreign,
    ],
    "a tenant never heard of": [{ status: 404, json: { code: "UnknownTenant" } }, notInForce],
    "a tenant never heard of, with a fence that is known": [
      { status: 404, json: { code: "UnknownTenant", seen: fenceOf(10) } },
      notInForce,
    ],
    "a tenant never heard of, with a fence above what is known": [
      { status: 404, json: { code: "UnknownTenant", seen: fenceOf(11) } },
      foreign,
    ],
    "404 of somebody else": [{ status: 404, text: "no such page" }, unreadable],
    "404 of another path": [{ status: 404, json: { code: "UnknownPath" } }, unreadable],
    "401": [{ status: 401, json: { code: "Unauthenticated" } }, unreadable],
    "503": [{ status: 503 }, unreadable],
    "500": [{ status: 500 }, unreadable],
    "302": [{ status: 302, headers: { location: "/" } }, unreadable],
    "no JSON": [{ status: 200, text: "<html>" }, unreadable],
    "more than 64 KiB": [{ status: 200, text: `"${"x".repeat(70_000)}"` }, unreadable],
    "a cut connection": ["cut", unreadable],
    silence: ["silence", unreadable],
  };
  test("no row is lost", () => expect(Object.keys(ROWS)).toHaveLength(23));

  test.each(Object.entries(ROWS))("%s", async (_title, [reply, found]) => {
    let opId = "";
    await using service = await openAnswering(() =>
      typeof reply === "string" || reply.json === undefined
        ? reply
        : { ...reply, json: JSON.parse(JSON.stringify(reply.json).replaceAll("OURS", opId)) as JsonObject },
    );
    await using it = await openHttpStage({ ports: [service.port] });
    opId = it.stage.call("Forward", null, FIRST).opId;
    expect(await it.stage.probe({ seq: 11, timeout: millisOf(400) })).toMatchObject(found);
  });

  test("in force is said only where it is in force at all of them", async () => {
    await using it = await onBoth();
    await it.stage.run({ ...FIRST, addresses: it.instances.slice(0, 1) });
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    await it.stage.run({ seq: 11 });
    expect(await it.stage.probe({ seq: 12 })).toEqual({ is: "in-force", outputs: { instances: 2 } });
    expect(await verdicts(blue, it.tenant)).toEqual(["applied", "applied", "repeated"]);
  });

  test("what nobody can read outranks what is not in force", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "unreadable", tenant: it.tenant, times: 1 });
    expect(await it.stage.probe({ seq: 11, base: 10 })).toMatchObject(unreadable);
  });
});

describe("the fault matrix, HTTP receiver", () => {
  test("[http/silent] ends at the instance's time, unknown; the probe finds nothing in force", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "silent", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run({ ...FIRST, timeout: millisOf(300) });
    expect(outcome).toMatchObject({ is: "unknown", fault: { code: "HttpTimeout" } });
    expect(await it.stage.probe({ seq: 11, addresses: it.instances.slice(1) })).toEqual({ is: "not-in-force" });
  });

  test("[http/lost] carried out without an answer: in force, so it is Completed", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "lose-answer", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown", reach: { acked: [it.instances[0]] } });
    expect(await it.stage.probe({ seq: 11, addresses: it.instances.slice(1) })).toMatchObject({ is: "in-force" });
    expect(await verdicts(green, it.tenant)).toEqual(["applied", "applied"]);
  });

  test("[http/lost] not in force: a new claim sends the same operation", async () => {
    await using it = await onBoth();
    it.proxies[1]?.swallow("toServer");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxies[1]?.clear();
    const rest = { addresses: it.instances.slice(1) };
    expect(await it.stage.probe({ seq: 11, ...rest })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11, ...rest })).toMatchObject(done);
    expect(await served(it)).toEqual([GREEN_42, GREEN_42]);
  });

  test("[http/late] what arrives after the undo is Fenced", async () => {
    const gate = aGate();
    await using it = await onBoth();
    const ports = [blue.process.port, green.process.port];
    await using paused = await openHttpStage({ ports, token: TOKEN, tenantId: it.tenantId, boundary: gate });
    const original = paused.stage.run(FIRST);
    await gate.reached;
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    gate.open();
    expect(await original).toMatchObject({ is: "fenced" });
    expect(await served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("[http/late] slow and given up on, it is waited for by the undo and overtaken by nothing", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "slow", ms: 600, tenant: it.tenant, times: 1 });
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(200) })).toMatchObject({ is: "unknown" });
    expect(await it.stage.undo({ seq: 20, base: 10, timeout: seconds(5) })).toMatchObject(done);
    expect(await served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("[http/busy] 503 is tried again and then taken", async () => {
    await using it = await onBoth();
    for (const one of [blue, green])
      await one.process.tell({ mode: "refuse", status: 503, tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "retryable", fault: { code: "ReceiverBusy" } });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[http/denied] a wrong token is terminal, and nothing took effect", async () => {
    const tenantId = freshTenant();
    await using it = await openHttpStage({ ports: [green.process.port], token: "wrong", tenantId });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("Unauthorized"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable" });
    expect(await servedBy(green, it.tenant)).toBe("nothing");
  });

  test("[http/hostile] a page instead of JSON is terminal although it took effect, and the undo covers it", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "non-json", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("NotJson"));
    expect(await served(it)).toEqual([GREEN_42, GREEN_42]);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("an operation that failed inside is unknown, not in force, and done again under a new claim", async () => {
    await using it = await onBoth();
    await green.process.tell({ mode: "fail", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown", fault: { code: "ServerError" } });
    const rest = { addresses: it.instances.slice(1) };
    expect(await it.stage.probe({ seq: 11, ...rest })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11, ...rest })).toMatchObject(done);
  });

  test("[http/reborn] a fence above what is known is Diverged, and nothing takes effect", async () => {
    await using it = await onBoth();
    await putInto(green, it.tenant, { seq: 8, opId: "lost-history", unit: GREEN, version: 77 });
    const outcome = await it.stage.run({ seq: 10, base: 5, addresses: it.instances.slice(1) });
    expect(outcome).toMatchObject({
      is: "diverged",
      fault: { message: expect.stringContaining(fenceOf(8)) as string },
    });
    expect(await servedBy(green, it.tenant)).toContain("77");
  });

  test("[SEC-32] the same operation with other content is a Conflict", async () => {
    await using it = await onBoth();
    const { opId } = it.stage.call("Forward", null, FIRST);
    await putInto(green, it.tenant, { seq: 5, opId, unit: BLUE, version: 40 });
    expect(await it.stage.run({ seq: 10, base: 5 })).toMatchObject(terminal("ContentDiffers"));
  });
});

describe("an undo", () => {
  test("[R25] is done only once every receiver says that it is in force there", async () => {
    await using it = await onBoth();
    await it.stage.run(FIRST);
    await green.process.tell({ mode: "unreadable", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.undo({ seq: 20, base: 10 });
    expect(outcome).toMatchObject({ is: "unknown", fault: { code: "ProbeFailed" } });
    expect(reachOf(outcome)).toMatchObject({ acked: [it.instances[0]] });
    expect(await it.stage.undo({ seq: 21 })).toMatchObject(done);
  });

  test("[R25] a receiver that says yes and does otherwise is not believed", async () => {
    await using liar = await openAnswering(({ method }) =>
      method === "PUT" ? { status: 200, json: {} } : { status: 200, json: { opId: "theirs", fence: fenceOf(5) } },
    );
    await using it = await openHttpStage({ ports: [liar.port] });
    expect(await it.stage.undo({ seq: 20 })).toMatchObject({ is: "unknown", fault: { code: "AnswerDiffers" } });
  });

  test("with a request of its own goes where that says", async () => {
    await using service = await openAnswering(() => ({ status: 200, json: {} }));
    const config = {
      method: "POST",
      path: "/apply",
      body: { to: "${target.deployUnit.name}" },
      undo: { method: "DELETE", path: "/apply/${tenantId}" },
    };
    await using it = await openHttpStage({ ports: [service.port], config, tenantId: "acme" });
    await it.stage.run(FIRST);
    expect(await it.stage.undo({ seq: 20 })).toMatchObject(done);
    expect(service.came.map(({ method, path, body }) => `${method} ${path} ${body}`)).toEqual([
      'POST /apply {"to":"green"}',
      "DELETE /apply/acme ",
    ]);
    expect(service.came[1]?.headers).toMatchObject({ "turnout-fence": fenceOf(20), "turnout-base": fenceOf(19) });
  });

  test("of a first placement says itself what to do", async () => {
    await using service = await openAnswering(() => ({ status: 200, json: {} }));
    const config = { method: "POST", path: "/apply", undo: { body: { tenant: "${tenantId}", gone: true } } };
    await using it = await openHttpStage({ ports: [service.port], config, tenantId: "acme", previous: null });
    expect(await it.stage.undo({ seq: 20 })).toMatchObject(done);
    expect(JSON.parse(service.came[0]?.body ?? "")).toEqual({ tenant: "acme", gone: true });
  });

  test("reaches those that an output or the target no longer names", async () => {
    await using old = await openAnswering(({ method }) => ({
      status: 200,
      json: method === "PUT" ? {} : { opId: back },
    }));
    await using young = await openAnswering(({ method }) => ({
      status: 200,
      json: method === "PUT" ? {} : { opId: back },
    }));
    let back = "";
    await using it = await openHttpStage({
      ports: [],
      reachable: [old.port, young.port],
      config: { to: { key: "gw" } },
      target: { ...GREEN, endpoints: [{ key: "gw", host: "127.0.0.1", port: young.port }] },
      previous: { ...BLUE, endpoints: [{ key: "gw", host: "127.0.0.1", port: old.port }] },
    });
    back = it.stage.call("Back", "announce", { seq: 20 }).opId;
    await it.stage.run(FIRST);
    expect([old.came.length, young.came.length]).toEqual([0, 1]);
    expect(await it.stage.undo({ seq: 20 })).toMatchObject(done);
    const bodies = [...old.came, ...young.came].filter(({ method }) => method === "PUT").map(({ body }) => body);
    expect(bodies.map((body) => (JSON.parse(body) as { version: number }).version)).toEqual([41, 42, 41]);
    expect(it.rig.connected.length).toBeGreaterThan(0);
  });
});

test("[R46] instances are called 16 at a time", async () => {
  const release = Promise.withResolvers<void>();
  await using service = await openAnswering(async () => {
    await release.promise;
    return { status: 200, json: {} };
  });
  await using it = await openHttpStage({ ports: Array.from({ length: 20 }, () => service.port), sockets: 64 });
  const running = it.stage.run({ ...FIRST, timeout: seconds(10) });
  await until(
    () => service.atOnce,
    (count) => count >= 16,
  );
  release.resolve();
  expect(await running).toMatchObject({ is: "done", outputs: { instances: 20 } });
  expect(service.atOnce).toBe(16);
});
