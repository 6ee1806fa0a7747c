import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { fenceOf } from "../support/receiver-build.ts";
import type { RedisStage } from "../support/stage-rig-redis.ts";
import { open, run, undo } from "./redis-fenced-write.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };
const STRING: JsonObject = { string: { value: "${target.deployUnit.name}" } };
const done = { is: "done" };

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
