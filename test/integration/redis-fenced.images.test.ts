import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { UID } from "../support/stage-rig.ts";
import type { RedisStage } from "../support/stage-rig-redis.ts";
import { open, run, undo } from "./redis-fenced-write.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };
const STRING: JsonObject = { string: { value: "${target.deployUnit.name}" } };
const done = { is: "done" };

/** Every byte there is: what a store may hold and JSON may not. */
const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

describe("[S7] an undo leaves the key as it was, byte for byte:", () => {
  interface Row {
    readonly config: JsonObject;
    readonly seed: (it: RedisStage) => Promise<unknown>;
  }
  const soon = Date.now() + 3_600_123;
  const ROWS: Readonly<Record<string, Row>> = {
    "a hash that was not there": { config: HASH, seed: async () => undefined },
    "a string that was not there": { config: STRING, seed: async () => undefined },
    "a hash with our fields and those of others": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, { unit: "blue", version: "41", owner: "ops", note: "" }),
    },
    "a hash in which one of our fields was missing": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, { version: "41", owner: "ops" }),
    },
    "a hash in which our fields were empty": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, { unit: "", version: "" }),
    },
    "a hash that holds what we write": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, { unit: "green", version: "42" }),
    },
    "a hash with an expiry": {
      config: HASH,
      seed: async ({ db, key }) => {
        await db.hset(key, { unit: "blue" });
        await db.pexpireat(key, soon);
      },
    },
    "a hash with an expiry, while ours has one of its own": {
      config: { ...HASH, ttl: "1h" },
      seed: async ({ db, key }) => {
        await db.hset(key, { unit: "blue" });
        await db.pexpireat(key, soon + 7_200_000);
      },
    },
    "a hash without an expiry, while ours has one": {
      config: { ...HASH, ttl: "1h" },
      seed: ({ db, key }) => db.hset(key, { unit: "blue", owner: "ops" }),
    },
    "a string with an expiry": {
      config: STRING,
      seed: ({ db, key }) => db.set(key, "blue", "PXAT", soon),
    },
    "a string with an expiry beyond what a double prints": {
      config: STRING,
      seed: ({ db, key }) => db.set(key, "blue", "PXAT", 253_402_300_799_123),
    },
    "a string without an expiry, while ours has one": {
      config: { ...STRING, ttl: "1h" },
      seed: ({ db, key }) => db.set(key, "blue"),
    },
    "a string of every byte": { config: STRING, seed: ({ db, key }) => db.set(key, BYTES) },
    "an empty string": { config: STRING, seed: ({ db, key }) => db.set(key, "") },
    "a hash with fields of every byte": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, "unit", BYTES, "others", BYTES, BYTES, "x"),
    },
    "a hash with text that looks like JSON": {
      config: HASH,
      seed: ({ db, key }) => db.hset(key, { unit: '{"a":[1e400,"\\u0000"]}', version: "false" }),
    },
  };

  test("no row is lost", () => expect(Object.keys(ROWS)).toHaveLength(16));

  test.each(Object.entries(ROWS))("%s", async (_title, { config, seed }) => {
    await using it = await open(config);
    await seed(it);
    const before = await it.image();
    expect(await run(it)).toMatchObject(done);
    expect(await it.record()).toMatchObject({ opId: expect.any(String) as string });
    expect(await undo(it)).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(before);
  });

  test("a string whose expiry has passed since is gone", async () => {
    await using it = await open(STRING);
    const at = Date.now() + 300;
    await it.db.set(it.key, "blue", "PXAT", at);
    expect(await run(it)).toMatchObject(done);
    await until(Date.now, (now) => now > at + 5);
    expect(await undo(it)).toMatchObject(done);
    expect(await it.image()).toBe("absent");
  });

  test.each([
    ["string", STRING, (it: RedisStage) => it.db.set(it.key, "blue")],
    ["hash", HASH, (it: RedisStage) => it.db.hset(it.key, { unit: "blue" })],
  ])("a %s after ours has expired by our own ttl", async (_mode, config, seed) => {
    await using it = await open({ ...config, ttl: "250ms" });
    await seed(it);
    const before = await it.image();
    expect(await run(it)).toMatchObject(done);
    await until(it.image, (image) => image === "absent");
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
    expect(await undo(it)).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(before);
  });
});

describe("what is written", () => {
  test("fields overwrite, others stay, the version has its field, values of every JSON type are text", async () => {
    await using it = await open({
      hash: {
        fields: {
          unit: "${target.deployUnit}",
          tenant: "${namespace}/${tenantId}",
          since: "${now}",
          id: "${plan.id}",
          none: "",
        },
      },
      versionField: "version",
    });
    await it.db.hset(it.key, { unit: "blue", owner: "ops" });
    expect(await run(it)).toMatchObject(done);
    expect(await it.db.hgetall(it.key)).toEqual({
      unit: '{"id":2,"name":"green","version":7}',
      tenant: "prod/acme",
      since: "2026-06-01T12:00:00.000Z",
      id: "17",
      none: "",
      version: "42",
      owner: "ops",
    });
  });

  test("a hash keeps its own expiry, a string has none, and ttl sets one", async () => {
    const at = Date.now() + 3_600_000;
    await using hash = await open(HASH);
    await hash.db.hset(hash.key, { unit: "blue" });
    await hash.db.pexpireat(hash.key, at);
    await run(hash);
    expect(await hash.db.pexpiretime(hash.key)).toBe(at);
    await using text = await open(STRING);
    await text.db.set(text.key, "blue", "PXAT", at);
    await run(text);
    expect(await text.db.pexpiretime(text.key)).toBe(-1);
    for (const config of [HASH, STRING]) {
      await using timed = await open({ ...config, ttl: "1h30m" });
      await run(timed);
      const left = await timed.db.pttl(timed.key);
      expect(left).toBeGreaterThan(5_300_000);
      expect(left).toBeLessThanOrEqual(5_400_000);
    }
  });

  test("[R44] what later stages may read: key and version, after a probe too", async () => {
    await using it = await open(HASH);
    const outputs = { key: it.key, version: 42 };
    expect(await run(it)).toEqual({ is: "done", outputs });
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "in-force", outputs });
  });

  test("64 fields of 3 KiB fit into one script", async () => {
    const fields = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`f${i}`, `${i}:`.padEnd(3072, "x")]));
    await using it = await open({ hash: { fields } });
    expect(await run(it)).toMatchObject(done);
    expect(await it.db.hgetall(it.key)).toEqual(fields);
    expect(await undo(it)).toMatchObject(done);
    expect(await it.image()).toBe("absent");
  });

  test("[SEC-41] more than 256 KiB are refused before anything is sent", async () => {
    const fields = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`f${i}`, "x".repeat(4096)]));
    await using it = await open({ hash: { fields } });
    expect(await run(it)).toMatchObject({ is: "terminal", fault: { code: "RequestTooLarge" } });
    expect(it.proxy.accepted).toBe(0);
  });
});

test("[S7] a repeat never replaces the before-image", async () => {
  await using it = await open(HASH);
  await it.db.hset(it.key, { unit: "blue", version: "41" });
  await run(it);
  const { before } = await it.record();
  await it.db.hset(it.key, { unit: "red" });
  await it.stage.run({ seq: 11 });
  await it.db.hset(it.key, { unit: "green" });
  await it.stage.run({ seq: 12 });
  expect((await it.record()).before).toBe(before);
  expect(await it.stage.undo({ seq: 20, base: 12 })).toMatchObject(done);
  expect(await it.image()).toBe("hash unit=blue version=41 expires -1");
});

test("the record holds tenant, task, stage, fence, operation, what was there and a digest, and has no expiry", async () => {
  await using it = await open({ ...HASH, ttl: "1h" });
  await it.db.hset(it.key, { unit: "blue" });
  await run(it);
  const { opId, ...record } = await it.record();
  expect(opId).toMatch(/^[a-z2-7]{52}$/);
  expect(record).toMatchObject({
    tenant: "prod/acme",
    uid: UID,
    stage: "it",
    fence: fenceOf(10),
    mode: "hash",
    digest: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
    replaced: "",
  });
  expect(JSON.parse(record.before ?? "")).toMatchObject({ exists: true, values: { unit: "blue", version: false } });
  expect(JSON.parse(record.written ?? "")).toEqual({ unit: "green", version: "42" });
  expect(await it.db.pttl(it.recordKey)).toBe(-1);
});
