import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { openAnswering, type Reply } from "../support/stage-rig-answers.ts";
import { openHttpStage } from "../support/stage-rig-http.ts";
import { GREEN } from "../support/stage-rig-plan.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });

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
