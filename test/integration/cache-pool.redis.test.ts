import { describe, expect, inject, test } from "vitest";
import { openLog } from "../../src/infra/clog/log.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import { millisOf } from "../../src/lib/time.ts";
import { type CacheAsked, type CacheRig, cacheSettingsOf, openCacheRig } from "../support/cache-rig.ts";
import { until } from "../support/egress/until.ts";

const { REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const never = new AbortController().signal;
let rigs = 0;
const open = (settings: Readonly<Record<string, unknown>> = {}, more: Partial<CacheAsked> = {}): Promise<CacheRig> =>
  openCacheRig({
    address: REDIS_ADDRESS,
    password: REDIS_PASSWORD,
    settings: { keyPrefix: `pool:${process.pid}:${Date.now()}:${(rigs += 1)}:`, ...settings },
    ...more,
  });
const caught = (error: unknown): string =>
  error instanceof InfraError ? `${error.type} ${error.code}` : String(error);

/** Counts the most connections that were open at once while the work went on. */
async function mostOpen(rig: CacheRig, work: Promise<unknown>): Promise<number> {
  let most = 0;
  let done = false;
  const ended = work.finally(() => (done = true));
  await until(
    () => {
      most = Math.max(most, rig.proxy.open);
      return done;
    },
    (over) => over,
  );
  await ended;
  return most;
}

describe("[R110][R121] the pool", () => {
  test("never holds more connections than it may, and serves everybody who waits", async () => {
    await using rig = await open({ poolSize: 3, maxIdleConns: 3 });
    rig.proxy.delay(5, "toClient");
    const calls = Array.from({ length: 60 }, (_, i) => rig.cache.increment("n", i % 2));
    expect(await mostOpen(rig, Promise.all(calls))).toBe(3);
    expect(await rig.cache.increment("n", 0)).toBe(30);
    expect(rig.proxy.accepted).toBe(3);
    expect(rig.cache.stats().pool).toEqual({ limit: 3, open: 3, idle: 3, inUse: 0, waiting: 0 });
  });

  test("who waits longer than poolTimeout is told so", async () => {
    await using rig = await open({
      poolSize: 1,
      poolTimeout: "50ms",
      maxRetries: 0,
      readTimeout: "1s",
      writeTimeout: "1s",
    });
    await rig.cache.get("k");
    rig.proxy.hold("toClient");
    const first = rig.cache.get("k").catch(caught);
    const second = rig.cache.get("k").catch(caught);
    expect(await second).toBe("TIMEOUT PoolExhausted");
    rig.proxy.release();
    expect(await first).toBeUndefined();
  });

  test("keeps the idle ones that it shall, closes those above, and replaces what died", async () => {
    await using rig = await open({ poolSize: 6, minIdleConns: 2, maxIdleConns: 4 });
    const idle = (count: number): Promise<number> =>
      until(
        () => rig.cache.stats().pool.idle,
        (seen) => seen === count,
      );
    await idle(2);
    rig.proxy.delay(20, "toClient");
    await Promise.all(Array.from({ length: 6 }, (_, i) => rig.cache.get(`k${i}`)));
    expect(await idle(4)).toBe(4);
    rig.proxy.clear();
    rig.proxy.cut();
    expect(await rig.cache.get("k")).toBeUndefined();
    expect(await idle(2)).toBe(2);
  });

  test("closes what is idle too long or too old", async () => {
    await using rig = await open({ poolSize: 4, connMaxIdleTime: "1s", connMaxLifetime: "24h" });
    await Promise.all([rig.cache.get("a"), rig.cache.get("b")]);
    expect(rig.cache.stats().pool.open).toBe(2);
    expect(
      await until(
        () => rig.proxy.open,
        (count) => count === 0,
      ),
    ).toBe(0);
  });

  test("[R120] grows and shrinks while it is in use", async () => {
    const settings = { keyPrefix: `live:${process.pid}:${Date.now()}:`, poolSize: 1, maxIdleConns: 10 };
    await using rig = await open(settings);
    rig.proxy.delay(10, "toClient");
    const load = (): Promise<unknown> => Promise.all(Array.from({ length: 30 }, (_, i) => rig.cache.get(`k${i}`)));
    expect(await mostOpen(rig, load())).toBe(1);
    const growing = load();
    rig.cache.reload(cacheSettingsOf({ ...settings, poolSize: 5 }));
    expect(await mostOpen(rig, growing)).toBe(5);
    const shrinking = load();
    rig.cache.reload(cacheSettingsOf({ ...settings, poolSize: 2 }));
    await shrinking;
    await until(
      () => rig.proxy.open,
      (count) => count <= 2,
    );
    expect(await mostOpen(rig, load())).toBe(2);
    expect(rig.cache.stats().pool).toMatchObject({ limit: 2, open: 2 });
  });

  test("what needs a restart stays as it was opened", async () => {
    const settings = { keyPrefix: `stay:${process.pid}:${Date.now()}:` };
    await using rig = await open(settings);
    await rig.cache.set("k", 1);
    const next = cacheSettingsOf({ keyPrefix: "other:", db: 7, addr: "127.0.0.1:1", poolSize: 20 });
    expect(rig.cache.reload(next)).toEqual({ applied: ["poolSize"], needsRestart: ["addr", "db", "keyPrefix"] });
    rig.proxy.cut();
    expect(await rig.cache.get("k")).toBe(1);
  });
});

describe("[R132] close", () => {
  test("leaves no socket, ends calls under way, refuses later ones, and may be called twice", async () => {
    await using rig = await open({ poolSize: 4, minIdleConns: 3, local: { enabled: true } });
    await until(
      () => rig.cache.stats(),
      ({ pool, local }) => pool.idle === 3 && local.serving,
    );
    rig.proxy.hold("toClient");
    const under = [rig.cache.get("a"), rig.cache.lock("l", 5000 as never, never)].map((call) =>
      call.then(String, caught),
    );
    await until(
      () => rig.cache.stats().pool,
      ({ inUse, idle }) => inUse === 2 && idle === 1,
    );
    await rig.cache.close();
    expect(await Promise.all(under)).toEqual(["UNAVAILABLE Closed", "UNAVAILABLE Closed"]);
    expect(await rig.cache.get("a").catch(caught)).toBe("UNAVAILABLE Closed");
    expect((await rig.cache.check(never)).status).toBe("unhealthy");
    await rig.cache.close();
    expect(
      await until(
        () => rig.proxy.open,
        (count) => count === 0,
      ),
    ).toBe(0);
    expect(rig.cache.stats().pool).toMatchObject({ open: 0, inUse: 0, waiting: 0 });
  });
});

describe("[R145] faults", () => {
  test("[redis/lost] what may be repeated is repeated; what may have been done is not", async () => {
    await using rig = await open({ retryBackoff: { min: "1ms", max: "5ms" } });
    await rig.cache.set("k", 1);
    await rig.cache.increment("n", 1);
    rig.proxy.cutAfter(0, "toClient");
    const reading = rig.cache.get("k");
    await until(
      () => rig.proxy.accepted,
      (count) => count >= 2,
    );
    rig.proxy.clear();
    expect(await reading).toBe(1);
    // The connection is a new one, and has to know the script before the count is sent on it.
    expect(await rig.cache.increment("n", 0)).toBe(1);
    rig.proxy.cutAfter(0, "toClient");
    expect(await rig.cache.increment("n", 1).catch(caught)).toBe("CONNECTION ConnectionLost");
    rig.proxy.clear();
    expect(await rig.cache.increment("n", 0)).toBe(2);
  });

  test("[redis/silent] no answer in time is a timeout, and the connection is not used again", async () => {
    await using rig = await open({ readTimeout: "50ms", writeTimeout: "50ms", maxRetries: 0 });
    await rig.cache.set("k", "first");
    rig.proxy.hold("toClient");
    expect(await rig.cache.get("k").catch(caught)).toBe("TIMEOUT CommandTimeout");
    rig.proxy.clear();
    expect(await rig.cache.get("k")).toBe("first");
    expect(rig.proxy.accepted).toBe(2);
  });

  test("[redis/down] after ten silences in a row calls are held back at once, until one try succeeds", async () => {
    // Time stands still until the test says so: twelve calls may take longer than the rest on a slow machine.
    let passed = 0;
    const clock = { ...systemClock, monotonic: () => millisOf(passed) };
    await using rig = await open({ maxRetries: 0 }, { deps: { clock } });
    rig.proxy.refuse();
    const ends: string[] = [];
    for (let i = 0; i < 12; i += 1) ends.push(await rig.cache.get("k").then(String, caught));
    const tried = rig.proxy.accepted;
    expect(ends.slice(0, 10).every((end) => end.startsWith("CONNECTION"))).toBe(true);
    expect(ends.slice(10)).toEqual(["UNAVAILABLE BreakerOpen", "UNAVAILABLE BreakerOpen"]);
    expect(tried).toBe(10);
    rig.proxy.clear();
    expect(await rig.cache.get("k").then(String, caught)).toBe("UNAVAILABLE BreakerOpen");
    passed = 1000;
    expect(await rig.cache.get("k")).toBeUndefined();
    expect((await rig.cache.check(never)).status).toBe("healthy");
  });

  test("[redis/denied] a wrong password is the settings' fault, is not tried again, and is never shown", async () => {
    const credentials = async (): Promise<{ username: null; password: string }> => ({
      username: null,
      password: "hunter2",
    });
    await using rig = await open({}, { deps: { credentials } });
    const error = await rig.cache.get("k").then(String, (e: unknown) => e as InfraError);
    expect(error).toMatchObject({ type: "CONFIG", code: "AuthRefused", retryable: false });
    expect(rig.proxy.accepted).toBe(1);
    expect(JSON.stringify(error) + String(error)).not.toContain("hunter2");
    const health = await rig.cache.check(never);
    expect(health).toMatchObject({ status: "unhealthy" });
    expect(JSON.stringify(health)).not.toContain("hunter2");
  });

  test("[redis/hostile] an answer that is none ends the connection", async () => {
    await using rig = await open({ maxRetries: 0 });
    await rig.cache.set("k", "value");
    rig.proxy.flip(0, "toClient");
    expect(await rig.cache.get("k").catch(caught)).toBe("VALIDATION ReplyRefused");
    rig.proxy.clear();
    expect(await rig.cache.get("k")).toBe("value");
  });

  test("a caller that gives up gets its own reason", async () => {
    await using rig = await open();
    await rig.cache.get("k");
    rig.proxy.hold("toClient");
    const leaving = new AbortController();
    const reading = rig.cache.get("k", { signal: leaving.signal });
    leaving.abort(new Error("the request is gone"));
    await expect(reading).rejects.toThrow("the request is gone");
    rig.proxy.clear();
    expect(await rig.cache.get("k")).toBeUndefined();
  });
});

describe("[R130][R134] what it shows", () => {
  test("slow commands are logged and counted; reads, errors and the pool are numbers", async () => {
    const lines: string[] = [];
    const log = openLog({ level: "info", clock: systemClock, destination: { write: (line) => void lines.push(line) } });
    const metrics = openMetrics();
    // A minute passes when the test says so, and never by a slow machine.
    let passed = 0;
    const clock = { ...systemClock, monotonic: () => millisOf(systemClock.monotonic() + passed) };
    await using rig = await open(
      { slowThreshold: "1m", maxRetries: 0 },
      { deps: { log: log.module("cache"), metrics, clock } },
    );
    await rig.cache.set("fast", 1);
    expect(lines).toEqual([]);
    rig.proxy.hold("toClient");
    const slow = rig.cache.get("k");
    await until(
      () => rig.proxy.held.toClient,
      (bytes) => bytes > 0,
    );
    passed = 60_000;
    rig.proxy.clear();
    await slow;
    await rig.cache.get("fast");
    await rig.cache.sets.add("fast", ["x"]).catch(caught);
    expect(lines.map((line) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({
        level: "warn",
        module: "cache",
        message: "slow command",
        command: "GET",
        outcome: "ok",
      }),
    ]);
    const text = await metrics.text();
    for (const line of [
      'infra_slow_total{component="cache"} 1',
      'infra_cache_reads_total{layer="redis",result="miss"} 1',
      'infra_cache_reads_total{layer="redis",result="hit"} 1',
      'infra_errors_total{component="cache",type="CONFLICT"} 1',
      'infra_command_duration_seconds_count{component="cache",outcome="ok"} 3',
      'infra_pool_limit{component="cache"} 10',
      'infra_pool_connections{component="cache",state="idle"} 1',
      'infra_breaker_open{component="cache"} 0',
    ])
      expect(text).toContain(line);
  });

  test("[R135] health follows Redis, and says what the local layer lacks", async () => {
    await using rig = await open({ maxRetries: 0, local: { enabled: true } });
    await until(
      () => rig.cache.check(never),
      ({ status }) => status === "healthy",
    );
    rig.proxy.refuse();
    rig.proxy.cut();
    expect(
      await until(
        () => rig.cache.check(never),
        ({ status }) => status === "unhealthy",
      ),
    ).toMatchObject({ message: expect.stringMatching(/^cache: PING/), details: { limit: 10 } });
    rig.proxy.clear();
    expect(
      await until(
        () => rig.cache.check(never),
        ({ status }) => status === "healthy",
      ),
    ).toMatchObject({ message: "Redis answers" });
  });
});

describe("[R120] a pool that is resized while it opens its idle connections", () => {
  test("loses none of them: each is idle or closed, and none outlives the cache", async () => {
    const settings = { poolSize: 8, maxIdleConns: 8, minIdleConns: 3 };
    await using rig = await open(settings);
    for (let round = 0; round < 5; round += 1) {
      rig.proxy.hold("toClient");
      rig.proxy.cut();
      await until(
        () => rig.proxy.held.toClient,
        (bytes) => bytes > 0,
      );
      // It waits for the answer to its log-in.
      rig.cache.reload(cacheSettingsOf({ ...settings, poolSize: 8 - (round % 2) }));
      rig.proxy.release();
      await until(
        () => rig.cache.stats().pool.idle,
        (idle) => idle === 3,
      );
      expect(rig.proxy.open).toBe(3);
    }
    await rig.cache.close();
    await until(
      () => rig.proxy.open,
      (count) => count === 0,
    );
  });

  test("keeps no more than it may now", async () => {
    await using rig = await open({ poolSize: 8, maxIdleConns: 8, minIdleConns: 3 });
    rig.proxy.hold("toClient");
    rig.proxy.cut();
    await until(
      () => rig.proxy.held.toClient,
      (bytes) => bytes > 0,
    );
    rig.cache.reload(cacheSettingsOf({ poolSize: 1, maxIdleConns: 0, minIdleConns: 0 }));
    rig.proxy.release();
    await until(
      () => rig.proxy.open,
      (count) => count === 0,
    );
    expect(rig.cache.stats().pool).toMatchObject({ open: 0, idle: 0 });
  });
});
