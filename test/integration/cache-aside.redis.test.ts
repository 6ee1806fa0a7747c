import { describe, expect, inject, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import type { Dial } from "../../src/infra/cache/redis-login.ts";
import { seconds } from "../../src/lib/time.ts";
import { cacheSettingsOf, type CacheRig, dialTo, openCacheRig } from "../support/cache-rig.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/egress/until.ts";

const { REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
let rigs = 0;
const freshPrefix = (): string => `aside:${process.pid}:${Date.now()}:${(rigs += 1)}:`;
const open = (settings: Readonly<Record<string, unknown>> = {}): Promise<CacheRig> =>
  openCacheRig({
    address: REDIS_ADDRESS,
    password: REDIS_PASSWORD,
    settings: { keyPrefix: freshPrefix(), ...settings },
  });

/** A loader that waits until it is told what it found. */
function aLoader() {
  const calls: PromiseWithResolvers<Json | undefined>[] = [];
  return {
    calls,
    load: (signal: AbortSignal): Promise<Json | undefined> => {
      const call = Promise.withResolvers<Json | undefined>();
      signal.addEventListener("abort", () => call.reject(signal.reason as Error));
      calls.push(call);
      return call.promise;
    },
  };
}

describe("[R121] cache-aside", () => {
  test("what is stored is not loaded; what was loaded is stored; what does not exist is not", async () => {
    await using rig = await open();
    let loads = 0;
    const load = async (): Promise<Json> => ((loads += 1), { unit: "green" });
    expect(await rig.cache.getOrLoad("k", load)).toEqual({ unit: "green" });
    expect(await rig.cache.getOrLoad("k", load)).toEqual({ unit: "green" });
    expect(loads).toBe(1);
    const nothing = async (): Promise<undefined> => void (loads += 1);
    expect(await rig.cache.getOrLoad("none", nothing)).toBeUndefined();
    expect(await rig.cache.getOrLoad("none", nothing)).toBeUndefined();
    expect(loads).toBe(3);
  });

  test("100 callers at once share one load", async () => {
    await using rig = await open();
    const { calls, load } = aLoader();
    const callers = Array.from({ length: 100 }, () => rig.cache.getOrLoad("k", load));
    await until(
      () => calls.length,
      (count) => count > 0,
    );
    calls[0]?.resolve("one");
    expect(new Set(await Promise.all(callers))).toEqual(new Set(["one"]));
    expect(calls).toHaveLength(1);
  });

  test("a caller that leaves takes nothing from the others; the load is given up when the last one has left", async () => {
    await using rig = await open();
    const { calls, load } = aLoader();
    const [leaves, stays] = [new AbortController(), new AbortController()];
    const first = rig.cache.getOrLoad("k", load, { signal: leaves.signal });
    const second = rig.cache.getOrLoad("k", load, { signal: stays.signal });
    await until(
      () => calls.length,
      (count) => count === 1,
    );
    leaves.abort(new Error("left"));
    await expect(first).rejects.toThrow("left");
    stays.abort(new Error("left too"));
    await expect(second).rejects.toThrow("left too");
    await expect(calls[0]?.promise).rejects.toThrow("nobody waits");
  });

  test("a loader that fails fails its callers, and the next one asks again", async () => {
    await using rig = await open();
    await expect(rig.cache.getOrLoad("k", () => Promise.reject(new Error("no database")))).rejects.toThrow(
      "no database",
    );
    expect(await rig.cache.getOrLoad("k", async () => 1)).toBe(1);
  });

  test.each(["delete", "set"] as const)(
    "[R139] what was loaded before a %s is not stored after it, though another process loads it",
    async (how) => {
      const keyPrefix = freshPrefix();
      await using reader = await open({ keyPrefix });
      await using writer = await open({ keyPrefix });
      const { calls, load } = aLoader();
      const reading = reader.cache.getOrLoad("k", load);
      await until(
        () => calls.length,
        (count) => count === 1,
      );
      if (how === "delete") await writer.cache.delete(["k"]);
      else await writer.cache.set("k", "new");
      calls[0]?.resolve("old");
      expect(await reading).toBe("old");
      expect(await reader.cache.get("k")).toBe(how === "delete" ? undefined : "new");
    },
  );

  test("who asks after a delete does not join the load from before it", async () => {
    await using rig = await open();
    const { calls, load } = aLoader();
    const before = rig.cache.getOrLoad("k", load);
    await until(
      () => calls.length,
      (count) => count === 1,
    );
    await rig.cache.delete(["k"]);
    const after = rig.cache.getOrLoad("k", load);
    await until(
      () => calls.length,
      (count) => count === 2,
    );
    calls[0]?.resolve("old");
    calls[1]?.resolve("new");
    expect([await before, await after]).toEqual(["old", "new"]);
    expect(await rig.cache.get("k")).toBe("new");
  });

  test("[redis/down] without Redis every call loads", async () => {
    await using rig = await open({ maxRetries: 0, dialTimeout: "200ms" });
    rig.proxy.refuse();
    let loads = 0;
    for (let i = 0; i < 3; i += 1) expect(await rig.cache.getOrLoad("k", async () => (loads += 1))).toBe(i + 1);
    await expect(rig.cache.get("k")).rejects.toMatchObject({ component: "cache", type: "CONNECTION" });
  });
});

describe("[R121] local layer", () => {
  const LOCAL = { local: { enabled: true, ttl: "5m", maxEntries: 100 } } as const;
  const serving = (rig: CacheRig): Promise<boolean> =>
    until(
      () => rig.cache.stats().local.serving,
      (yes) => yes,
    );
  /** Reads until the answer comes from the process: the write's own invalidation may still be on its way. */
  const keptLocally = (rig: CacheRig, key: string): Promise<unknown> =>
    until(
      async () => {
        await rig.cache.get(key);
        const before = rig.proxy.passed.toServer;
        await rig.cache.get(key);
        return rig.proxy.passed.toServer - before;
      },
      (sent) => sent === 0,
    );

  test("what was read is read from the process, until another process changes, deletes or empties", async () => {
    const keyPrefix = freshPrefix();
    await using one = await open({ keyPrefix, ...LOCAL });
    await using other = await open({ keyPrefix });
    await serving(one);
    const seen = (value: Json | undefined): Promise<unknown> =>
      until(
        () => one.cache.get("k"),
        (now) => now === value,
      );
    await other.cache.set("k", 1);
    expect(await seen(1)).toBe(1);
    await keptLocally(one, "k");
    await other.cache.set("k", 2);
    expect(await seen(2)).toBe(2);
    await keptLocally(one, "k");
    await other.cache.delete(["k"]);
    expect(await seen(undefined)).toBe(undefined);
    await other.cache.set("k", 3, { ttl: seconds(1) });
    expect(await seen(3)).toBe(3);
    await keptLocally(one, "k");
    expect(await seen(undefined)).toBe(undefined);
  });

  test("own writes are seen at once, also while Redis' word of them is still on its way", async () => {
    const [host = "", port = ""] = REDIS_ADDRESS.split(":");
    await using word = await openTcpProxy({ host, port: Number(port) });
    let dials = 0;
    // The first connection is the one that tells what becomes invalid.
    const dial: Dial = (signal) => dialTo((dials += 1) === 1 ? word : { host, port: Number(port) })(signal);
    await using rig = await openCacheRig({
      address: REDIS_ADDRESS,
      password: REDIS_PASSWORD,
      settings: { keyPrefix: freshPrefix(), ...LOCAL },
      deps: { dial },
    });
    await serving(rig);
    word.hold("toClient");
    for (let i = 0; i < 20; i += 1) {
      await rig.cache.set("k", i);
      expect(await rig.cache.get("k")).toBe(i);
      expect(await rig.cache.getOrLoad("k", async () => "not asked")).toBe(i);
      expect(rig.cache.stats().local.entries).toBe(1);
    }
    await rig.cache.delete(["k"]);
    expect(await rig.cache.get("k")).toBeUndefined();
  });

  test("values are shared, so nobody can change them", async () => {
    await using rig = await open(LOCAL);
    await serving(rig);
    const loaded = (await rig.cache.getOrLoad("k", async () => ({ list: [1] }))) as { list: number[] };
    expect(() => loaded.list.push(2)).toThrow(TypeError);
  });

  test("[redis/lost] while nobody says what becomes invalid it keeps nothing; afterwards it begins empty", async () => {
    const keyPrefix = freshPrefix();
    await using one = await open({ keyPrefix, ...LOCAL });
    await using other = await open({ keyPrefix });
    await serving(one);
    await one.cache.set("k", "old");
    await keptLocally(one, "k");
    one.proxy.cut();
    one.proxy.refuse();
    await until(
      () => one.cache.stats().local,
      (local) => !local.serving && local.entries === 0,
    );
    await other.cache.set("k", "new");
    one.proxy.clear();
    expect(await one.cache.get("k")).toBe("new");
    await serving(one);
    expect(await one.cache.get("k")).toBe("new");
    await keptLocally(one, "k");
  });

  test("[redis/silent] a line that says nothing is noticed within its sign of life", async () => {
    await using rig = await open({ ...LOCAL, readTimeout: "100ms", writeTimeout: "100ms" });
    await serving(rig);
    await rig.cache.set("k", "old");
    await keptLocally(rig, "k");
    rig.proxy.hold("toClient");
    await until(
      () => rig.cache.stats().local.serving,
      (yes) => !yes,
      10_000,
    );
    expect(rig.cache.stats().local.entries).toBe(0);
    rig.proxy.clear();
    rig.proxy.cut();
    await serving(rig);
  });

  test("it can be switched on and off while in use", async () => {
    const keyPrefix = freshPrefix();
    await using rig = await open({ keyPrefix });
    await rig.cache.set("k", 1);
    expect(rig.cache.stats().local).toEqual({ enabled: false, serving: false, entries: 0 });
    rig.cache.reload(cacheSettingsOf({ keyPrefix, ...LOCAL }));
    await serving(rig);
    await keptLocally(rig, "k");
    rig.cache.reload(cacheSettingsOf({ keyPrefix }));
    await until(
      () => rig.cache.stats().local,
      (local) => !local.serving,
    );
    rig.cache.reload(cacheSettingsOf({ keyPrefix, ...LOCAL }));
    await serving(rig);
    expect(await rig.cache.get("k")).toBe(1);
  });
});
