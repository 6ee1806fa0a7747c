import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { UID } from "../support/stage-rig.ts";
import { openRedisStage, type RedisStage, type RedisStageAbout } from "../support/stage-rig-redis.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };
const STRING: JsonObject = { string: { value: "${target.deployUnit.name}" } };
const done = { is: "done" };

const open = (config: JsonObject, about: Partial<RedisStageAbout> = {}): Promise<RedisStage> =>
  openRedisStage({ config, ...about });

/** Run under claim 10. */
const run = ({ stage }: RedisStage): Promise<Outcome> => stage.run({ seq: 10, base: 1 });
type Drift = "Hold" | "Overwrite" | "Keep";
const undo = ({ stage }: RedisStage, onDrift: Drift = "Hold", seq = 20): Promise<Outcome> =>
  stage.undo({ seq, base: seq === 20 ? 10 : seq - 1, onDrift });

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

describe("where others changed what we wrote, the undo", () => {
  const CHANGES: Readonly<Record<string, (it: RedisStage) => Promise<unknown>>> = {
    "another value": ({ db, key }) => db.hset(key, { unit: "red" }),
    "our field taken away": ({ db, key }) => db.hdel(key, "unit"),
    "the key deleted": ({ db, key }) => db.del(key),
    "the key made a string": async ({ db, key }) => {
      await db.del(key);
      await db.set(key, "red");
    },
    "the key made a list": async ({ db, key }) => {
      await db.del(key);
      await db.rpush(key, "red");
    },
  };
  const seeded = async (): Promise<RedisStage & { readonly before: string }> => {
    const it = await open(HASH);
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    const before = await it.image();
    expect(await run(it)).toMatchObject(done);
    return { ...it, before };
  };

  test.each(Object.entries(CHANGES))(
    "holds by default, changes nothing and still fences: %s",
    async (_what, change) => {
      await using it = await seeded();
      await change(it);
      const found = await it.image();
      const outcome = await undo(it);
      expect(outcome).toMatchObject({ is: "terminal", fault: { code: "ForeignEdit" } });
      expect(outcome).toHaveProperty("drift.keys", expect.arrayContaining(["unit"]));
      expect(await it.image()).toBe(found);
      expect((await it.record()).fence).toBe(fenceOf(20));
      expect(await undo(it, "Hold", 21)).toMatchObject({ is: "terminal", fault: { code: "ForeignEdit" } });
    },
  );

  test.each(Object.entries(CHANGES))("overwrites where the stage says so: %s", async (_what, change) => {
    await using it = await seeded();
    await change(it);
    expect(await undo(it, "Overwrite")).toMatchObject(done);
    expect(await it.image()).toBe(it.before);
  });

  test.each(Object.entries(CHANGES))(
    "keeps theirs where the stage says so, and reports it: %s",
    async (_what, change) => {
      await using it = await seeded();
      await change(it);
      const outcome = await undo(it, "Keep");
      expect(outcome).toMatchObject({ ...done, drift: { keys: expect.arrayContaining(["unit"]) as string[] } });
      expect(await it.db.type(it.key)).not.toBe("none-of-ours");
      expect(await it.db.hget(it.key, "unit").catch(() => "another type")).not.toBe("green");
      expect((await it.record()).opId ?? "").toBe("");
    },
  );

  test("keeps a string of theirs", async () => {
    await using it = await open({ ...STRING, ttl: "1h" });
    await it.db.set(it.key, "blue");
    await run(it);
    await it.db.set(it.key, "red", "KEEPTTL");
    const found = await it.image();
    expect(await undo(it)).toMatchObject({
      is: "terminal",
      fault: { code: "ForeignEdit" },
      drift: { keys: ["value"] },
    });
    expect(await undo(it, "Keep", 21)).toMatchObject({ ...done, drift: { keys: ["value"] } });
    expect(await it.image()).toBe(found);
  });

  test("goes through once a person has put the value back", async () => {
    await using it = await seeded();
    await it.db.hset(it.key, { unit: "red" });
    await undo(it);
    await it.db.hset(it.key, { unit: "blue" });
    expect(await undo(it, "Hold", 21)).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(it.before);
  });

  test("is done where the value is already what it was before", async () => {
    await using it = await seeded();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    expect(await undo(it)).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(it.before);
    expect((await it.record()).fence).toBe(fenceOf(20));
  });

  test("shows digests of before, ours and now, and nothing that was read", async () => {
    await using it = await seeded();
    await it.db.hset(it.key, { unit: "canary-of-theirs" });
    const outcome = await undo(it);
    const hex: unknown = expect.stringMatching(/^[0-9a-f]{32}$/);
    expect(outcome).toHaveProperty("drift.digests", { before: hex, ours: hex, now: hex });
    if (!("drift" in outcome) || outcome.drift === undefined) throw new Error("no drift");
    const { before, ours, now } = outcome.drift.digests;
    expect(new Set([before, ours, now]).size).toBe(3);
    expect(JSON.stringify(outcome)).not.toContain("canary");
    await it.db.hset(it.key, { unit: "blue" });
    await it.db.hset(it.key, { version: "x" });
    const again = await undo(it, "Hold", 21);
    expect(again).toHaveProperty("drift.digests.before", before);
    expect(again).toHaveProperty("drift.digests.ours", ours);
    expect(again).not.toHaveProperty("drift.digests.now", now);
  });

  test("names at most 16 fields", async () => {
    const fields = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, "x"]));
    await using it = await open({ hash: { fields } });
    await run(it);
    await it.db.del(it.key);
    await it.db.hset(it.key, Object.fromEntries(Object.keys(fields).map((name) => [name, "theirs"])));
    const outcome = await undo(it);
    expect("drift" in outcome && outcome.drift?.keys).toHaveLength(16);
  });
});

describe("where others changed fields of their own, the undo restores ours, keeps theirs and reports them:", () => {
  const CHANGES: Readonly<Record<string, (it: RedisStage) => Promise<unknown>>> = {
    changed: ({ db, key }) => db.hset(key, { owner: "other team" }),
    "taken away": ({ db, key }) => db.hdel(key, "owner"),
    added: ({ db, key }) => db.hset(key, { extra: "1" }),
  };
  test.each(Object.entries(CHANGES))("%s", async (what, change) => {
    await using it = await open(HASH);
    await it.db.hset(it.key, { unit: "blue", version: "41", owner: "ops", calm: "x" });
    await run(it);
    await change(it);
    const theirs = what === "added" ? "extra" : "owner";
    expect(await undo(it)).toMatchObject({ ...done, drift: { keys: [theirs] } });
    const fields = await it.db.hgetall(it.key);
    expect(fields).toMatchObject({ unit: "blue", version: "41", calm: "x" });
    expect(fields.owner).toBe({ changed: "other team", added: "ops" }[what]);
  });

  test("nothing is reported of a hash that is too large to remember, and ours are restored", async () => {
    await using it = await open(HASH);
    await it.db.hset(it.key, {
      unit: "blue",
      ...Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`o${i}`, "x"])),
    });
    await run(it);
    await it.db.hset(it.key, { o7: "changed" });
    expect(await undo(it)).toEqual({ is: "done", outputs: {} });
    expect(await it.db.hget(it.key, "unit")).toBe("blue");
    expect(await it.db.hget(it.key, "o7")).toBe("changed");
    expect(JSON.stringify(await it.record()).length).toBeLessThan(2000);
  });

  test("a hash of theirs keeps the expiry that they gave it", async () => {
    await using it = await open(HASH);
    await it.db.hset(it.key, { unit: "blue" });
    await run(it);
    const at = Date.now() + 7_200_000;
    await it.db.pexpireat(it.key, at);
    await undo(it);
    expect(await it.image()).toBe(`hash unit=blue expires ${at}`);
  });

  test("a hash that we made stays for their fields, without our expiry", async () => {
    await using it = await open({ ...HASH, ttl: "1h" });
    await run(it);
    await it.db.hset(it.key, { owner: "ops" });
    await undo(it);
    expect(await it.image()).toBe("hash owner=ops expires -1");
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
