import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { millisOf } from "../../src/lib/time.ts";
import { type LegacyReceiver, openLegacyReceiver } from "../support/legacy-receiver.ts";
import { aGate } from "../support/stage-rig.ts";
import { type HttpStage, openHttpStage } from "../support/stage-rig-http.ts";

const CONFIG: JsonObject = {
  method: "POST",
  path: "/apply",
  body: { tenant: "${tenantId}", unit: "${target.deployUnit.name}", version: "${plan.version}" },
};
const PROBE: JsonObject = { probe: { path: "/state/${tenantId}", opIdPointer: "/opId" } };
const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;

const open = (legacy: LegacyReceiver, config: JsonObject = PROBE): Promise<HttpStage> =>
  openHttpStage({ ports: [legacy.port], fencing: "None", config: { ...CONFIG, ...config }, tenantId: "acme" });

describe("a receiver without fences", () => {
  test("is told and asked with its own paths and bodies", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    expect(await it.stage.probe(FIRST)).toEqual({ is: "not-in-force" });
    expect(await it.stage.run(FIRST)).toEqual({ is: "done", outputs: { instances: 1 } });
    expect(legacy.applied).toEqual(["acme green 42"]);
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
    expect(legacy.came.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "GET /state/acme",
      "POST /apply",
      "GET /state/acme",
    ]);
  });

  test("is undone by the same request with the previous configuration, which is read back", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    await it.stage.run(FIRST);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(legacy.applied).toEqual(["acme green 42", "acme blue 41"]);
    expect(legacy.came.at(-1)).toMatchObject({ method: "GET", path: "/state/acme" });
    legacy.answerState({ status: 503 });
    expect(await it.stage.undo({ seq: 21 })).toMatchObject({ is: "unknown", fault: { code: "ProbeFailed" } });
  });

  test("is undone by a request of the stage's own, whose answer counts", async () => {
    await using legacy = await openLegacyReceiver();
    const undo = { body: { tenant: "${tenantId}", unit: "default", version: 0 } };
    await using it = await open(legacy, { ...PROBE, undo });
    await it.stage.run(FIRST);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(legacy.applied).toEqual(["acme green 42", "acme default 0"]);
    expect(legacy.came.at(-1)).toMatchObject({ method: "POST" });
  });

  test("[http/lost] carried out without an answer: the probe finds it in force, no second effect", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    legacy.answerNext("cut");
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown", fault: { code: "AnswerLost" } });
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
    expect(legacy.applied).toHaveLength(1);
  });

  test("[http/lost] not carried out: the probe says so, and it is sent again under the same operation", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    it.proxies[0]?.swallow("toServer");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxies[0]?.clear();
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(legacy.applied).toEqual(["acme green 42"]);
    expect(legacy.state("acme")?.opId).toBe(it.stage.call("Forward", null, FIRST).opId);
  });

  test("[http/silent] that cannot be asked and may not be repeated says so: a person must look", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy, {});
    legacy.answerNext("silence");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "unreadable", fault: { code: "OutcomeUnknown" } });
    expect(legacy.applied).toHaveLength(1);
  });

  test("[http/silent] whose request may be repeated gets it twice, and only then", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy, { idempotent: true });
    legacy.answerNext("silence");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(legacy.applied).toEqual(["acme green 42", "acme green 42"]);
  });

  test("[http/late] takes a delayed original after its undo: only the claim's end and the wait protect it", async () => {
    const gate = aGate();
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    await using paused = await openHttpStage({
      ports: [legacy.port],
      fencing: "None",
      config: { ...CONFIG, ...PROBE },
      tenantId: "acme",
      boundary: gate,
    });
    const original = paused.stage.run(FIRST);
    await gate.reached;
    await it.stage.undo({ seq: 20, base: 10 });
    gate.open();
    expect(await original).toMatchObject(done);
    expect(legacy.applied).toEqual(["acme blue 41", "acme green 42"]);
    // So a process whose claim has ended sends nothing, and the domain waits for those whose claim has not.
    expect(await it.stage.run({ ...FIRST, alive: () => false })).toMatchObject({ fault: { code: "ClaimExpired" } });
    expect(legacy.applied).toHaveLength(2);
  });

  test("[http/busy] [http/denied] [http/hostile] is judged like every other", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy, { success: { equals: { "/code": 0 }, emptyAt: "/data/failList" } });
    const outcomes: string[] = [];
    const replies = [
      { status: 503 },
      { status: 422 },
      { status: 200, text: "<html>" },
      { status: 200, json: { code: 9 } },
      { status: 200, json: { code: 0, data: { failList: ["s1"] } } },
      { status: 200, json: { code: 0 } },
    ];
    for (const [i, reply] of replies.entries()) {
      legacy.answerNext(reply);
      const outcome = await it.stage.run({ seq: 10 + i });
      outcomes.push("fault" in outcome ? `${outcome.is} ${outcome.fault.code}` : outcome.is);
    }
    expect(outcomes).toEqual([
      "retryable ReceiverBusy",
      "terminal HttpRejected",
      "terminal NotJson",
      "terminal AnswerDiffers",
      "terminal FailListNotEmpty",
      "done",
    ]);
  });

  test("a state that is not there, cannot be read or names nobody is never called ours", async () => {
    await using legacy = await openLegacyReceiver();
    await using it = await open(legacy);
    await it.stage.run(FIRST);
    const found: string[] = [];
    for (const reply of [
      { status: 404 },
      { status: 500 },
      { status: 200, json: {} },
      { status: 200, json: { opId: null } },
      { status: 200, json: { opId: ["x"] } },
      { status: 200, text: "x" },
    ]) {
      legacy.answerState(reply);
      found.push((await it.stage.probe({ seq: 11 })).is);
    }
    expect(found).toEqual(["not-in-force", "unreadable", "not-in-force", "not-in-force", "not-in-force", "unreadable"]);
    legacy.answerState(null);
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
  });
});
