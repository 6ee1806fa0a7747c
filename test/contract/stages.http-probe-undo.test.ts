import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { openAnswering, type Reply } from "../support/stage-rig-answers.ts";
import { openHttpStage } from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";
import { bothReceivers, reachOf, verdicts } from "./both-receivers.ts";

const both = bothReceivers();
const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;

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
    await using it = await both.onBoth();
    await it.stage.run({ ...FIRST, addresses: it.instances.slice(0, 1) });
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    await it.stage.run({ seq: 11 });
    expect(await it.stage.probe({ seq: 12 })).toEqual({ is: "in-force", outputs: { instances: 2 } });
    expect(await verdicts(both.blue, it.tenant)).toEqual(["applied", "applied", "repeated"]);
  });

  test("what nobody can read outranks what is not in force", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "unreadable", tenant: it.tenant, times: 1 });
    expect(await it.stage.probe({ seq: 11, base: 10 })).toMatchObject(unreadable);
  });
});

describe("an undo", () => {
  test("[R25] is done only once every receiver says that it is in force there", async () => {
    await using it = await both.onBoth();
    await it.stage.run(FIRST);
    await both.green.process.tell({ mode: "unreadable", tenant: it.tenant, times: 1 });
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
