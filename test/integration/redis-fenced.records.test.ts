import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { openRedisStage, type RedisStage, type RedisStageAbout } from "../support/stage-rig-redis.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };
const done = { is: "done" };
const conflict = (code: string): object => ({ is: "terminal", fault: { code } });

const open = (about: Partial<RedisStageAbout> = {}): Promise<RedisStage> => openRedisStage({ config: HASH, ...about });

describe("the record that a switch replaces", () => {
  test("[S7] comes back with the data, one level deep, under the fence of the undo", async () => {
    await using first = await open({ uid: "first" });
    await first.db.hset(first.key, { unit: "blue", version: "41" });
    await first.stage.run({ seq: 10, base: 1 });
    const { fence: _fence, last: _last, undo: _undo, ...record } = await first.record();
    const image = await first.image();
    await using second = await open({ uid: "second", key: first.key, planVersion: 43 });
    expect(await second.stage.run({ seq: 20, base: 10 })).toMatchObject(done);
    expect(JSON.parse((await second.record()).replaced ?? "")).toMatchObject({ uid: "first", opId: record.opId });
    expect(await second.stage.undo({ seq: 30, base: 20, settled: true })).toEqual({ is: "done", outputs: {} });
    expect(await first.image()).toBe(image);
    expect(await first.record()).toMatchObject({ ...record, fence: fenceOf(30) });
    expect((await first.record()).undo).toMatch(/^second [a-z2-7]{52}$/);
  });

  test("does not bring its own predecessor along", async () => {
    await using first = await open({ uid: "first" });
    await first.stage.run({ seq: 10, base: 1 });
    await using second = await open({ uid: "second", key: first.key, planVersion: 43 });
    await second.stage.run({ seq: 20, base: 10 });
    await using third = await open({ uid: "third", key: first.key, planVersion: 44 });
    await third.stage.run({ seq: 30, base: 20 });
    const replaced = JSON.parse((await third.record()).replaced ?? "") as Readonly<Record<string, string>>;
    expect(replaced).toMatchObject({ uid: "second" });
    expect(replaced["replaced"] ?? "").toBe("");
  });

  test("what is left of an undo is a fence and whose undo it was", async () => {
    await using it = await open();
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.undo({ seq: 20, base: 10 });
    const { undo, ...rest } = await it.record();
    expect(undo).toMatch(/^0b2f6a1e-uid [a-z2-7]{52}$/);
    expect(rest).toEqual({ tenant: "prod/acme", fence: fenceOf(20), last: undo?.split(" ")[1] });
  });

  test("a switch after an undo begins anew and can be undone", async () => {
    await using first = await open({ uid: "first" });
    await first.db.hset(first.key, { unit: "blue", version: "41" });
    const before = await first.image();
    await first.stage.run({ seq: 10, base: 1 });
    await first.stage.undo({ seq: 20, base: 10 });
    await using second = await open({ uid: "second", key: first.key });
    expect(await second.stage.run({ seq: 30, base: 20 })).toMatchObject(done);
    expect(await second.stage.undo({ seq: 40, base: 30 })).toMatchObject(done);
    expect(await first.image()).toBe(before);
    expect((await first.record()).fence).toBe(fenceOf(40));
  });

  test("a claim that never arrived after a switch of the same tenant has nothing to undo", async () => {
    await using first = await open({ uid: "first" });
    await first.stage.run({ seq: 10, base: 1 });
    const image = await first.image();
    await using second = await open({ uid: "second", key: first.key });
    expect(await second.stage.undo({ seq: 30, base: 20 })).toMatchObject(done);
    expect(await first.image()).toBe(image);
    expect((await first.record()).opId).toMatch(/^[a-z2-7]{52}$/);
    expect((await first.record()).fence).toBe(fenceOf(30));
  });
});

describe("[SEC-6] a record of another tenant", () => {
  test("is a Conflict for run, undo and probe, and nothing is touched", async () => {
    await using theirs = await open({ tenantId: "other" });
    await theirs.stage.run({ seq: 5, base: 1 });
    await using ours = await open({ key: theirs.key });
    const [image, record] = [await ours.image(), await ours.record()];
    expect(await ours.stage.run({ seq: 10, base: 1 })).toMatchObject(conflict("ForeignRecord"));
    expect(await ours.stage.undo({ seq: 20, base: 10 })).toMatchObject(conflict("ForeignRecord"));
    expect(await ours.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign", fault: { code: "ForeignRecord" } });
    expect(await ours.image()).toBe(image);
    expect(await ours.record()).toEqual(record);
  });

  test("[SEC-33] with an endless name is still a Conflict", async () => {
    await using it = await open();
    await it.db.hset(it.recordKey, { tenant: "x".repeat(200_000), fence: fenceOf(3) });
    expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject(conflict("ForeignRecord"));
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign" });
  });
});

describe("[redis/reborn] a record that is missing", () => {
  test("after the stage completed is a Conflict, never nothing to do, however often it is tried", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    await it.stage.run({ seq: 10, base: 1 });
    await it.db.del(it.recordKey);
    await it.db.hset(it.key, { unit: "red", version: "0" });
    const found = await it.image();
    for (const seq of [20, 21, 22]) {
      expect(await it.stage.undo({ seq, settled: true })).toMatchObject(conflict("RecordMissing"));
      expect((await it.record()).fence).toBe(fenceOf(seq));
    }
    expect(await it.image()).toBe(found);
  });

  test("beside data that is ours is a Conflict, however often it is tried", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    await it.stage.run({ seq: 10, base: 1 });
    await it.db.del(it.recordKey);
    const found = await it.image();
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign", fault: { code: "RecordMissing" } });
    for (const seq of [20, 21, 22]) {
      expect(await it.stage.undo({ seq })).toMatchObject(conflict("RecordMissing"));
    }
    expect(await it.image()).toBe(found);
    expect((await it.record()).fence).toBe(fenceOf(22));
  });

  test("after the stage completed while an older one is there is a Conflict", async () => {
    await using first = await open({ uid: "first" });
    await first.stage.run({ seq: 10, base: 1 });
    await using second = await open({ uid: "second", key: first.key });
    expect(await second.stage.undo({ seq: 30, base: 20, settled: true })).toMatchObject(conflict("RecordMissing"));
  });

  test("where nothing of ours stands there and nothing completed: nothing to do", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.undo({ seq: 20 })).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe("hash unit=blue version=41 expires -1");
  });

  test("does not hinder a first switch to what is there already", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "green", version: "42" });
    expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject(done);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });
});

describe("[SEC-31] a record that nobody of ours wrote is a Conflict and is not overwritten:", () => {
  const DAMAGE: Readonly<Record<string, (it: RedisStage) => Promise<unknown>>> = {
    "a string": ({ db, recordKey }) => db.set(recordKey, "x"),
    "no tenant": ({ db, recordKey }) => db.hset(recordKey, { fence: fenceOf(3) }),
    "no fence": ({ db, recordKey }) => db.hset(recordKey, { tenant: "prod/acme" }),
    "a fence that would outrank all": ({ db, recordKey }) => db.hset(recordKey, { tenant: "prod/acme", fence: "~" }),
    "a longer fence": ({ db, recordKey }) => db.hset(recordKey, { tenant: "prod/acme", fence: `${fenceOf(3)}0` }),
    "a fullwidth fence": ({ db, recordKey }) =>
      db.hset(recordKey, { tenant: "prod/acme", fence: fenceOf(3).replace("1", "１") }),
  };
  test("no row is lost", () => expect(Object.keys(DAMAGE)).toHaveLength(6));
  test.each(Object.entries(DAMAGE))("%s", async (_what, damage) => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue" });
    await damage(it);
    const [image, record] = [await it.image(), await it.db.dump(it.recordKey)];
    const refused = conflict("ForeignEdit");
    expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject(refused);
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(refused);
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign", fault: { code: "ForeignEdit" } });
    expect(JSON.stringify(await it.stage.run({ seq: 10, base: 1 }))).toContain(it.recordKey.slice(0, 40));
    expect(await it.image()).toBe(image);
    expect(await it.db.dump(it.recordKey)).toBe(record);
  });
});

test("a key of another type is a Conflict, and nothing is touched", async () => {
  await using it = await open();
  await it.db.rpush(it.key, "a");
  const image = await it.image();
  expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject(conflict("RedisWrongType"));
  expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign", fault: { code: "RedisWrongType" } });
  expect(await it.image()).toBe(image);
  expect(await it.record()).toEqual({});
  // What was never ours is not in the way of an undo, which only leaves its fence.
  expect(await it.stage.undo({ seq: 20, base: 10 })).toEqual({ is: "done", outputs: {} });
  expect((await it.record()).fence).toBe(fenceOf(20));
  expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject({ is: "fenced" });
});

test("data under our record that others changed is not called ours by a probe", async () => {
  await using it = await open();
  await it.stage.run({ seq: 10, base: 1 });
  await it.db.hset(it.key, { unit: "red" });
  expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "foreign", fault: { code: "ForeignEdit" } });
  expect(await it.stage.run({ seq: 11 })).toMatchObject(conflict("ReadBackDiffers"));
});
