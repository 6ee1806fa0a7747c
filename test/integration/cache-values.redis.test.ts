import { describe, expect, inject, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { login } from "../../src/infra/cache/redis-login.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { type CacheRig, dialTo, openCacheRig } from "../support/cache-rig.ts";
import { until } from "../support/egress/until.ts";

const { REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const never = new AbortController().signal;
let rigs = 0;

/** Each under a prefix of its own. */
const open = (settings: Readonly<Record<string, unknown>> = {}): Promise<CacheRig> =>
  openCacheRig({
    address: REDIS_ADDRESS,
    password: REDIS_PASSWORD,
    settings: { keyPrefix: `cache:${process.pid}:${Date.now()}:${(rigs += 1)}:`, ...settings },
  });
const PTTL = { name: "pttl", lua: "return redis.call('PTTL', KEYS[1])", repeatable: true } as const;
const RAW = { name: "raw", lua: "return redis.call('GET', KEYS[1])", repeatable: true } as const;
const SET_RAW = { name: "set-raw", lua: "return redis.call('SET', KEYS[1], ARGV[1])", repeatable: true } as const;

describe("[R121] values", () => {
  const VALUES: readonly Json[] = ["grüße", 7, 0, false, "", [], {}, null, { a: [1, { b: null }] }];
  test.each(VALUES.map((value) => [JSON.stringify(value), value] as const))(
    "%s comes back as it was",
    async (_, value) => {
      await using rig = await open();
      await rig.cache.set("k", value);
      expect(await rig.cache.get("k")).toEqual(value);
    },
  );

  test("what is absent is undefined, and deleting says how many there were", async () => {
    await using rig = await open();
    await rig.cache.set("a", 1);
    expect(await rig.cache.delete(["a", "b"])).toBe(1);
    expect(await rig.cache.get("a")).toBeUndefined();
    expect(await rig.cache.delete([])).toBe(0);
  });

  test("every value ends: after its own life or the default, each drawn up to the jitter's share shorter", async () => {
    await using rig = await open({ defaultTtl: "1h", ttlJitter: 0.5 });
    const life = rig.cache.script(PTTL);
    const lives: number[] = [];
    for (let i = 0; i < 40; i += 1) {
      await rig.cache.set(`k${i}`, i);
      lives.push(Number(await life.run([`k${i}`], [])));
    }
    expect(Math.max(...lives)).toBeLessThanOrEqual(minutes(60));
    expect(Math.min(...lives)).toBeGreaterThan(minutes(29));
    expect(new Set(lives.map((ms) => Math.round(ms / 60_000))).size).toBeGreaterThan(10);
    await rig.cache.set("short", 1, { ttl: seconds(10) });
    expect(Number(await life.run(["short"], []))).toBeLessThanOrEqual(10_000);
  });

  test("large values are compressed, small ones stay readable; both come back, also after the settings changed", async () => {
    await using rig = await open({ compression: { enabled: true, above: "1KiB" } });
    const large = Array.from({ length: 500 }, (_, i) => ({ id: i, name: "tenant", unit: "green" }));
    await rig.cache.set("large", large);
    await rig.cache.set("small", { id: 1 });
    const raw = rig.cache.script(RAW);
    expect(await raw.run(["small"], [])).toBe('{"id":1}');
    expect(String(await raw.run(["large"], [])).length).toBeLessThan(JSON.stringify(large).length / 4);
    expect(await rig.cache.get("large")).toEqual(large);
  });

  test("counters count from 0, and their life begins with the first count", async () => {
    await using rig = await open({ ttlJitter: 0 });
    expect(await rig.cache.increment("n", 2, { ttl: seconds(100) })).toBe(2);
    expect(await rig.cache.increment("n", -5, { ttl: seconds(900) })).toBe(-3);
    expect(Number(await rig.cache.script(PTTL).run(["n"], []))).toBeLessThanOrEqual(100_000);
  });

  test("[redis/hostile] what this cache did not write is an error that names the key, and makes room for what is loaded", async () => {
    await using rig = await open();
    const raw = rig.cache.script(SET_RAW);
    for (const stored of ["no json", '{"__proto__":1}', "\u0001abc"]) {
      await raw.run(["k"], [stored]);
      await expect(rig.cache.get("k")).rejects.toMatchObject({ type: "VALIDATION", code: "ValueUnreadable" });
      expect(await rig.cache.getOrLoad("k", async () => "fresh")).toBe("fresh");
      expect(await rig.cache.getOrLoad("k", async () => "stored now")).toBe("stored now");
      expect(await rig.cache.get("k")).toBe("stored now");
    }
  });

  const BAD: readonly (readonly [what: string, key: string])[] = [
    ["empty", ""],
    ["too long", "k".repeat(513)],
    ["a control", "a\r\nb"],
    ["the cache's own", "~lease:k"],
    ["a lone surrogate", "\ud800"],
  ];
  test.each(BAD)("a key that is %s is refused before anything is sent", async (_what, key) => {
    await using rig = await open();
    await expect(rig.cache.set(key, 1)).rejects.toMatchObject({ type: "VALIDATION", code: "KeyInvalid" });
    await expect(rig.cache.get(key)).rejects.toMatchObject({ code: "KeyInvalid" });
    expect(rig.proxy.accepted).toBe(0);
  });

  test("a value beyond 8 MiB and more than 1000 items in one call are refused", async () => {
    await using rig = await open();
    await expect(rig.cache.set("k", "x".repeat(8 * 1024 * 1024))).rejects.toMatchObject({ code: "ValueTooLarge" });
    const many = Array.from({ length: 1001 }, (_, i) => `m${i}`);
    await expect(rig.cache.sets.add("s", many)).rejects.toMatchObject({ code: "TooMany" });
    await expect(rig.cache.delete(many)).rejects.toMatchObject({ code: "TooMany" });
    expect(await rig.cache.sets.add("s", many.slice(1))).toBe(1000);
    expect(await rig.cache.delete(many.slice(1))).toBe(0);
  });
});

describe("[R121] collections", () => {
  test("hashes: fields with JSON values, and a life of their own", async () => {
    await using rig = await open({ ttlJitter: 0 });
    const { hashes } = rig.cache;
    await hashes.set("h", { unit: "green", version: 7, list: [1] }, { ttl: seconds(50) });
    expect(await hashes.get("h", "version")).toBe(7);
    expect(await hashes.get("h", "absent")).toBeUndefined();
    expect(Object.fromEntries(await hashes.all("h"))).toEqual({ unit: "green", version: 7, list: [1] });
    expect(await hashes.delete("h", ["unit", "absent"])).toBe(1);
    expect([...(await hashes.all("h")).keys()]).toEqual(["version", "list"]);
    expect((await hashes.all("none")).size).toBe(0);
    expect(Number(await rig.cache.script(PTTL).run(["h"], []))).toBeLessThanOrEqual(50_000);
  });

  test("sets", async () => {
    await using rig = await open();
    const { sets } = rig.cache;
    expect(await sets.add("s", ["a", "b", "b"])).toBe(2);
    expect(await sets.add("s", ["b", "ü"])).toBe(1);
    expect((await sets.members("s")).toSorted()).toEqual(["a", "b", "ü"]);
    expect([await sets.has("s", "a"), await sets.has("s", "z"), await sets.size("s")]).toEqual([true, false, 3]);
    expect(await sets.remove("s", ["a", "z"])).toBe(1);
    expect(await sets.members("none")).toEqual([]);
  });

  test("sorted sets", async () => {
    await using rig = await open();
    const { sorted } = rig.cache;
    await sorted.add("z", [
      { member: "c", score: 3 },
      { member: "a", score: -1.5 },
      { member: "b", score: 2 },
    ]);
    expect(await sorted.range("z", { from: 0, to: -1 })).toEqual([
      { member: "a", score: -1.5 },
      { member: "b", score: 2 },
      { member: "c", score: 3 },
    ]);
    expect([await sorted.score("z", "b"), await sorted.score("z", "none")]).toEqual([2, undefined]);
    expect(await sorted.removeUpTo("z", 2)).toBe(2);
    expect(await sorted.remove("z", ["c"])).toBe(1);
    expect(await sorted.size("z")).toBe(0);
    await expect(sorted.add("z", [{ member: "x", score: Number.NaN }])).rejects.toMatchObject({ code: "ScoreInvalid" });
  });

  test("another kind of value under the key is a conflict", async () => {
    await using rig = await open();
    await rig.cache.set("k", 1);
    await expect(rig.cache.sets.add("k", ["a"])).rejects.toMatchObject({ type: "CONFLICT", code: "WrongType" });
  });
});

describe("[R121] scripts", () => {
  test("are loaded where they are unknown, and again where Redis forgot them", async () => {
    await using rig = await open();
    const bump = rig.cache.script({
      name: "bump",
      lua: "return {redis.call('INCRBY', KEYS[1], ARGV[1]), 'é'}",
      repeatable: false,
    });
    expect(await bump.run(["n"], [2])).toEqual([2, "é"]);
    await forgetScripts();
    expect(await bump.run(["n"], [3])).toEqual([5, "é"]);
  });

  test("one name is one text", async () => {
    await using rig = await open();
    rig.cache.script(PTTL);
    rig.cache.script(PTTL);
    expect(() => rig.cache.script({ ...PTTL, lua: "return 1" })).toThrow(/script pttl is declared already/);
  });
});

/** As a restart does. A script may not do it, so it goes over a connection of its own. */
async function forgetScripts(): Promise<void> {
  const [host = "", port = ""] = REDIS_ADDRESS.split(":");
  const client = await login(
    {
      dial: dialTo({ host, port: Number(port) }),
      credentials: async () => ({ username: null, password: REDIS_PASSWORD }),
      db: 0,
      dialTimeout: seconds(5),
      clock: systemClock,
      limits: { bytes: 1024, elements: 16, unasked: false },
    },
    never,
  );
  expect(await client.send(["SCRIPT", "FLUSH"])).toMatchObject({ kind: "reply" });
  client.destroy();
}

describe("[R121] locks", () => {
  test("one holder at a time; who waits gets it when it is released, and only the owner deletes it", async () => {
    await using rig = await open();
    const first = await rig.cache.tryLock("l", seconds(30), never);
    expect(first?.held()).toBe(true);
    expect(await rig.cache.tryLock("l", seconds(30), never)).toBeNull();
    const waiting = rig.cache.lock("l", seconds(30), never);
    expect(await first?.release()).toBe(true);
    const second = await waiting;
    expect([first?.held(), second.held(), await first?.release()]).toEqual([false, true, false]);
    expect(await rig.cache.tryLock("l", seconds(30), never)).toBeNull();
    await second.release();
    expect(await rig.cache.tryLock("l", seconds(1), never)).not.toBeNull();
  });

  test("it is lost before Redis gives it to another, and its late release takes nothing from the next holder", async () => {
    await using rig = await open();
    const first = await rig.cache.tryLock("l", millisOf(300), never);
    const next = rig.cache.lock("l", seconds(30), never);
    let lostFirst = false;
    first?.lost.addEventListener("abort", () => (lostFirst = true));
    const second = await next;
    expect({ lostFirst, held: first?.held() }).toEqual({ lostFirst: true, held: false });
    expect(await first?.release()).toBe(false);
    expect(second.held()).toBe(true);
    expect(await rig.cache.tryLock("l", seconds(1), never)).toBeNull();
    await second.release();
  });

  test("extending keeps it, and says no once it is gone", async () => {
    await using rig = await open();
    await using lock = await rig.cache.lock("l", millisOf(400), never);
    expect(await lock.extend(seconds(20), never)).toBe(true);
    const began = performance.now();
    await until(
      () => performance.now() - began,
      (passed) => passed > 500,
    );
    expect([lock.held(), lock.lost.aborted, await rig.cache.tryLock("l", seconds(1), never)]).toEqual([
      true,
      false,
      null,
    ]);
    await rig.cache.lock("other", millisOf(100), never);
    await expect(rig.cache.lock("short", millisOf(99), never)).rejects.toMatchObject({ code: "LockTooShort" });
  });
});
