import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { aGate } from "../support/stage-rig.ts";
import type { RedisStage } from "../support/stage-rig-redis.ts";
import { openRedisServer } from "../support/stage-rig-redis-server.ts";
import { around, open } from "./redis-fenced-stage.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const retryable = (code: string): object => ({ is: "retryable", fault: { code } });
const unknown = (code: string): object => ({ is: "unknown", fault: { code } });

describe("a Redis that is down", () => {
  test("[redis/down] is tried again, and takes the write once it is there", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at, direct: true });
    await server.kill();
    expect(await it.stage.run({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "retryable" });
    expect(await it.stage.undo({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "retryable" });
    expect(await it.stage.probe({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "unreadable" });
    await server.restart([]);
    await until(
      () => it.stage.run({ seq: 11 }),
      ({ is }) => is === "done",
    );
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/down] at an address where nobody listens is refused, and nothing was sent", async () => {
    await using it = await open();
    await it.proxy[Symbol.asyncDispose]();
    expect(await it.stage.run(FIRST)).toMatchObject(retryable("ConnectRefused"));
    expect(await it.stage.undo(FIRST)).toMatchObject(retryable("ConnectRefused"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "ConnectRefused" } });
  });
});

describe("a Redis that is silent", () => {
  test("[redis/silent] before the log-in is through, nothing was sent", async () => {
    await using it = await open();
    it.proxy.hold("toServer", "toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "retryable" });
    expect(await it.image()).toBe("absent");
  });

  test("[redis/silent] after that nobody knows, and the probe finds out", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at });
    await it.warmUp();
    server.freeze();
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject(unknown("HttpTimeout"));
    expect(await it.stage.probe({ seq: 11, timeout: millisOf(300) })).toMatchObject({ is: "unreadable" });
    server.thaw();
    // What was on its way arrives; the outcome is what the probe finds, not what we suppose.
    await until(it.image, (image) => image !== "absent");
    expect(await it.stage.probe({ seq: 12 })).toMatchObject({ is: "in-force" });
  });
});

describe("a lost answer", () => {
  test("[redis/lost] of a write that was carried out: our operation is in the record, so it is Completed", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.swallow("toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force", outputs: { key: it.key } });
  });

  test("[redis/lost] of a write that never arrived: not in force, so it is done under the next claim", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.swallow("toServer");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/lost] cut in the middle of the answer is not an answer", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.cutAfter(3, "toClient");
    expect(await it.stage.run(FIRST)).toMatchObject(unknown("AnswerLost"));
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
  });

  test("[redis/lost] of the reading back leaves it open whether it stands", async () => {
    const cut = { now: () => undefined as void };
    await using it = await open({ boundary: around({ after: async () => cut.now() }) });
    cut.now = () => it.proxy.swallow("toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(400) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/lost] of an undo: undone again without harm", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    const before = await it.image();
    await it.warmUp();
    await it.stage.run(FIRST);
    it.proxy.swallow("toClient");
    expect(await it.stage.undo({ seq: 20, base: 10, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.undo({ seq: 21 })).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(before);
  });
});

describe("a write that arrives late", () => {
  test.each([
    ["the undo", async (it: RedisStage) => it.stage.undo({ seq: 20, base: 10 })],
    ["its own successor", async (it: RedisStage) => it.stage.run({ seq: 11 })],
  ])("[redis/late] is Fenced by the script after %s", async (_what, later) => {
    const gate = aGate();
    await using it = await open();
    await using paused = await open({ key: it.key, boundary: gate });
    const original = paused.stage.run(FIRST);
    await gate.reached;
    expect(await later(it)).toMatchObject(done);
    const image = await it.image();
    gate.open();
    expect(await original).toMatchObject({ is: "fenced" });
    expect(await it.image()).toBe(image);
  });

  test("[redis/late] an undo that comes after a later switch is Fenced too", async () => {
    const gate = aGate();
    await using it = await open({ uid: "first" });
    await it.stage.run(FIRST);
    await using paused = await open({ uid: "first", key: it.key, boundary: gate });
    const undoing = paused.stage.undo({ seq: 20, base: 10 });
    await gate.reached;
    await using later = await open({ uid: "later", key: it.key, planVersion: 43 });
    await later.stage.run({ seq: 30, base: 10 });
    gate.open();
    expect(await undoing).toMatchObject({ is: "fenced", fault: { code: "Fenced" } });
    expect(await it.image()).toBe("hash unit=green version=43 expires -1");
  });
});
