import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { aGate } from "../support/stage-rig.ts";
import { freshTenant, openHttpStage, putInto, servedBy } from "../support/stage-rig-http.ts";
import { BLUE, GREEN } from "../support/stage-rig-plan.ts";
import { BLUE_41, bothReceivers, GREEN_42, verdicts } from "./both-receivers.ts";

const both = bothReceivers();
const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });

describe("the fault matrix, HTTP receiver", () => {
  test("[http/silent] ends at the instance's time, unknown; the probe finds nothing in force", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "silent", tenant: it.tenant, times: 1 });
    const outcome = await it.stage.run({ ...FIRST, timeout: millisOf(300) });
    expect(outcome).toMatchObject({ is: "unknown", fault: { code: "HttpTimeout" } });
    expect(await it.stage.probe({ seq: 11, addresses: it.instances.slice(1) })).toEqual({ is: "not-in-force" });
  });

  test("[http/lost] carried out without an answer: in force, so it is Completed", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "lose-answer", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown", reach: { acked: [it.instances[0]] } });
    expect(await it.stage.probe({ seq: 11, addresses: it.instances.slice(1) })).toMatchObject({ is: "in-force" });
    expect(await verdicts(both.green, it.tenant)).toEqual(["applied", "applied"]);
  });

  test("[http/lost] not in force: a new claim sends the same operation", async () => {
    await using it = await both.onBoth();
    it.proxies[1]?.swallow("toServer");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxies[1]?.clear();
    const rest = { addresses: it.instances.slice(1) };
    expect(await it.stage.probe({ seq: 11, ...rest })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11, ...rest })).toMatchObject(done);
    expect(await both.served(it)).toEqual([GREEN_42, GREEN_42]);
  });

  test("[http/late] what arrives after the undo is Fenced", async () => {
    const gate = aGate();
    await using it = await both.onBoth();
    const ports = [both.blue.process.port, both.green.process.port];
    await using paused = await openHttpStage({ ports, token: both.token, tenantId: it.tenantId, boundary: gate });
    const original = paused.stage.run(FIRST);
    await gate.reached;
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    gate.open();
    expect(await original).toMatchObject({ is: "fenced" });
    expect(await both.served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("[http/late] slow and given up on, it is waited for by the undo and overtaken by nothing", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "slow", ms: 600, tenant: it.tenant, times: 1 });
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(200) })).toMatchObject({ is: "unknown" });
    expect(await it.stage.undo({ seq: 20, base: 10, timeout: seconds(5) })).toMatchObject(done);
    expect(await both.served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("[http/busy] 503 is tried again and then taken", async () => {
    await using it = await both.onBoth();
    for (const one of [both.blue, both.green])
      await one.process.tell({ mode: "refuse", status: 503, tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "retryable", fault: { code: "ReceiverBusy" } });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[http/denied] a wrong token is terminal, and nothing took effect", async () => {
    const tenantId = freshTenant();
    await using it = await openHttpStage({ ports: [both.green.process.port], token: "wrong", tenantId });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("Unauthorized"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable" });
    expect(await servedBy(both.green, it.tenant)).toBe("nothing");
  });

  test("[http/hostile] a page instead of JSON is terminal although it took effect, and the undo covers it", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "non-json", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("NotJson"));
    expect(await both.served(it)).toEqual([GREEN_42, GREEN_42]);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await both.served(it)).toEqual([BLUE_41, BLUE_41]);
  });

  test("an operation that failed inside is unknown, not in force, and done again under a new claim", async () => {
    await using it = await both.onBoth();
    await both.green.process.tell({ mode: "fail", tenant: it.tenant, times: 1 });
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown", fault: { code: "ServerError" } });
    const rest = { addresses: it.instances.slice(1) };
    expect(await it.stage.probe({ seq: 11, ...rest })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11, ...rest })).toMatchObject(done);
  });

  test("[http/reborn] a fence above what is known is Diverged, and nothing takes effect", async () => {
    await using it = await both.onBoth();
    await putInto(both.green, it.tenant, { seq: 8, opId: "lost-history", unit: GREEN, version: 77 });
    const outcome = await it.stage.run({ seq: 10, base: 5, addresses: it.instances.slice(1) });
    expect(outcome).toMatchObject({
      is: "diverged",
      fault: { message: expect.stringContaining(fenceOf(8)) as string },
    });
    expect(await servedBy(both.green, it.tenant)).toContain("77");
  });

  test("[SEC-32] the same operation with other content is a Conflict", async () => {
    await using it = await both.onBoth();
    const { opId } = it.stage.call("Forward", null, FIRST);
    await putInto(both.green, it.tenant, { seq: 5, opId, unit: BLUE, version: 40 });
    expect(await it.stage.run({ seq: 10, base: 5 })).toMatchObject(terminal("ContentDiffers"));
  });
});
