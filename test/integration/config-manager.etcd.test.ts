import { describe, expect, inject, test } from "vitest";
import type { ComponentName, SettingsOf } from "../../src/infra/config/components.ts";
import type { ConfigManager } from "../../src/infra/config/config-manager.ts";
import { type ConfigOptions, openConfig } from "../../src/infra/config/open-config.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { aFolder, aLog } from "../support/config-rig.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const [host = "", port = ""] = ADDRESS.split(":");
// Other suites use other environments: all of them share one etcd.
const KEY = "/config/test/im-repo/cache";
const GLOBAL = "/config/test/global/cache";
const json = JSON.stringify;

interface World extends AsyncDisposable {
  readonly writer: Coord;
  /** The line of the service under test. */
  readonly proxy: TcpProxy;
  readonly lines: ReturnType<typeof aLog>["lines"];
  open(options?: Partial<ConfigOptions<"cache">>): Promise<ConfigManager<SettingsOf<"cache">>>;
  metric(name: string): Promise<string>;
}

async function aWorld(): Promise<World> {
  const proxy = await openTcpProxy({ host, port: Number(port) });
  const writer = coordAt({ endpoints: [ADDRESS] });
  const reader = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`] });
  const metrics = openMetrics();
  const { log, lines } = aLog();
  const managers: ConfigManager<SettingsOf<ComponentName>>[] = [];
  for (const key of [KEY, GLOBAL]) await writer.centre.delete(key);
  return {
    writer,
    proxy,
    lines,
    async open(options) {
      const manager = await openConfig(reader.centre, {
        env: "test",
        service: "im-repo",
        component: "cache",
        files: null,
        snapshots: null,
        clock: systemClock,
        rng: systemRng,
        log,
        metrics,
        ...options,
      });
      managers.push(manager);
      return manager;
    },
    async metric(name) {
      return (await metrics.text()).split("\n").find((line) => line.startsWith(name)) ?? "";
    },
    async [Symbol.asyncDispose]() {
      for (const manager of managers) await manager.close();
      await reader.close();
      await writer.close();
      await proxy[Symbol.asyncDispose]();
    },
  };
}
const within = (timeout: number): { timeout: number; interval: number } => ({ timeout, interval: 20 });

describe("[R113] [R115] [R117] [R120] [F31] the configuration of a service, on etcd", () => {
  test("with the centre down it starts in less than 10 s on its files, says so, and switches over within 5 s of the return", async () => {
    await using folder = await aFolder();
    await folder.put("test/im-repo/cache.json", json({ db: 1 }));
    await using world = await aWorld();
    await world.writer.centre.put(KEY, json({ db: 2 }));
    world.proxy.refuse();
    const since = systemClock.monotonic();
    const manager = await world.open({ files: folder.path });
    expect(systemClock.monotonic() - since).toBeLessThan(10_000);
    expect([manager.current().db, manager.status().source]).toEqual([1, "file"]);
    expect(manager.check()).toMatchObject({
      status: "degraded",
      message: expect.stringMatching(/not heard \(coord: 127\.0\.0\.1:\d+: /) as string,
    });
    expect(await world.metric("turnout_config_degraded")).toMatch(/ 1$/);
    expect(world.lines.some(({ level, message }) => level === "warn" && message === "configuration is degraded")).toBe(
      true,
    );
    world.proxy.clear();
    await expect.poll(() => manager.current().db, within(5000)).toBe(2);
    await expect.poll(() => manager.check().status, within(5000)).toBe("healthy");
    expect(await world.metric("turnout_config_degraded")).toMatch(/ 0$/);
  });

  test("a line that is cut later keeps the last values and their age, and what was written meanwhile comes", async () => {
    await using world = await aWorld();
    await world.writer.centre.put(GLOBAL, json({ poolSize: 3, minIdleConns: 1 }));
    await world.writer.centre.put(KEY, json({ db: 2 }));
    const manager = await world.open();
    world.proxy.refuse();
    world.proxy.cut();
    await expect.poll(() => manager.check().status, within(10_000)).toBe("degraded");
    await expect.poll(() => manager.status().stale, within(5000)).toBeGreaterThan(300);
    expect([manager.current().db, manager.current().poolSize, manager.status().source]).toEqual([2, 3, "centre"]);
    await world.writer.centre.put(KEY, json({ db: 3 }));
    await world.writer.centre.delete(GLOBAL);
    world.proxy.clear();
    await expect.poll(() => [manager.current().db, manager.current().poolSize], within(5000)).toEqual([3, 10]);
    await expect.poll(() => manager.status().stale, within(5000)).toBe(0);
  });

  test("what was compacted while the line was frozen comes as the difference", async () => {
    await using world = await aWorld();
    await world.writer.centre.put(GLOBAL, json({ keyPrefix: "g:" }));
    await world.writer.centre.put(KEY, json({ db: 1 }));
    const manager = await world.open();
    world.proxy.hold("toClient");
    for (const db of [2, 3, 4]) await world.writer.centre.put(KEY, json({ db }));
    await world.writer.centre.delete(GLOBAL);
    const revision = await world.writer.centre.put(KEY, json({ db: 5 }));
    const body = json({ revision: String(revision), physical: true });
    expect((await fetch(`http://${ADDRESS}/v3/kv/compaction`, { method: "POST", body })).ok).toBe(true);
    world.proxy.cut();
    world.proxy.clear();
    await expect.poll(() => [manager.current().db, manager.current().keyPrefix], within(15_000)).toEqual([5, ""]);
  });

  test("no write is lost between the load and the watch: 20 starts under a stream of writes", async () => {
    await using world = await aWorld();
    const stop = new AbortController();
    let written = 0;
    const writing = (async () => {
      while (!stop.signal.aborted) await world.writer.centre.put(KEY, json({ defaultTtl: `${(written += 1)}s` }));
    })();
    const managers: ConfigManager<SettingsOf<"cache">>[] = [];
    for (let i = 0; i < 20; i += 1) managers.push(await world.open());
    stop.abort();
    await writing;
    const last = written * 1000;
    await expect
      .poll(() => managers.map((one) => one.current().defaultTtl), within(10_000))
      .toEqual(managers.map(() => last));
  });

  test("every value that is no value keeps the last good one; the next good one takes force", async () => {
    await using world = await aWorld();
    await world.writer.centre.put(KEY, json({ db: 1 }));
    const manager = await world.open();
    for (const bad of [
      '{"dialTimeout":"5x"}',
      '{"polSize":1}',
      '{"db":"one"}',
      "{",
      '{"db":1,"db":2}',
      '{"__proto__":{}}',
    ]) {
      const revision = await world.writer.centre.put(KEY, bad);
      await expect.poll(() => manager.status().rejected.length, within(5000)).toBeGreaterThan(0);
      expect([manager.current().db, manager.check().status]).toEqual([1, "degraded"]);
      expect(manager.status().revision).toBeLessThan(revision);
      await world.writer.centre.put(KEY, json({ db: 1 }));
      await expect.poll(() => manager.check().status, within(5000)).toBe("healthy");
    }
    expect(await world.metric('turnout_config_rejected_total{component="cache"}')).toMatch(/ 6$/);
  });

  test("the pool's size and the log's level change live, through the subscriber that owns them", async () => {
    await using world = await aWorld();
    const manager = await world.open();
    const sizes: number[] = [];
    manager.subscribe({
      name: "pool",
      prepare: (_old, { poolSize }) => {
        if (poolSize > 100) throw new Error("this machine has no room for so many");
      },
      commit: ({ poolSize }) => void sizes.push(poolSize),
    });
    await world.writer.centre.put(KEY, json({ poolSize: 20 }));
    await expect.poll(() => sizes, within(5000)).toEqual([20]);
    await world.writer.centre.put(KEY, json({ poolSize: 200 }));
    await expect.poll(() => manager.check().message, within(5000)).toContain("pool refuses it");
    expect([manager.current().poolSize, sizes]).toEqual([20, [20]]);
  });

  test("closed, it leaves no connection behind", async () => {
    const world = await aWorld();
    const manager = await world.open();
    await manager.close();
    await world[Symbol.asyncDispose]();
    await expect.poll(() => world.proxy.open, within(5000)).toBe(0);
  });
});
