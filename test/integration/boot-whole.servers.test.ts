import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import type { Kit, KitServer } from "../../src/infra/boot/kit.ts";
import { withLogContext } from "../../src/infra/clog/log-context.ts";
import type { Coord, KeyValue } from "../../src/infra/coord/coord.ts";
import { measured } from "../../src/infra/metrics/http-server.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { until } from "../support/egress/until.ts";
import { startKitChild } from "../support/kit-process.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";
import { aTopic } from "../support/mq-rig.ts";

// Every component of the kit at once, each on its real server.

const {
  COORD_ENDPOINTS = "",
  REDIS_ADDRESS = "",
  REDIS_PASSWORD = "",
  MYSQL_URL = "",
  KAFKA_BROKERS = "",
} = inject("env");
const [first = ""] = COORD_ENDPOINTS.split(",");
const SERVICE = "/services/im-repo/im-repo-0";
/** The reverse of the start; who is registered is taken out first. */
const CLOSES = ["registration", "web", "mq", "db", "cache", "metrics", "clog", "config", "coord", "log"];
const COMPONENTS = ["coord", "clog", "metrics", "cache", "db", "mq"] as const;
const keyOf = (component: string): string => `/config/test/im-repo/${component}`;
const never = new AbortController().signal;

/** What the registry showed when the server began to close. */
let shownAtClose: KeyValue | null = null;
let rig: KitRig;
let coord: Coord;
beforeEach(async () => {
  const stores = { redis: REDIS_ADDRESS, password: REDIS_PASSWORD, mysql: MYSQL_URL, kafka: KAFKA_BROKERS };
  rig = await openKitRig({ etcd: first, ...stores });
  coord = coordAt({ endpoints: addressesOf(first) });
});
afterEach(async () => {
  for (const component of COMPONENTS) await coord.centre.delete(keyOf(component));
  // What was left to its lease is none of the next test's.
  await coord.centre.delete(SERVICE);
  await coord.close();
  await rig[Symbol.asyncDispose]();
});

/** Takes a while to answer, and is counted as slow where the settings call it so. */
const web =
  (kit: Kit): KitServer["open"] =>
  async () => {
    const { log, metrics, config } = kit;
    const listener = measured(
      (_request, response) => void systemClock.sleep(millisOf(20)).then(() => response.end("done")),
      {
        log,
        metrics,
        clock: systemClock,
        rng: systemRng,
        within: withLogContext,
        routeOf: () => "/",
        slow: () => config.metrics.current().slowRequestThreshold,
      },
    );
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = async (): Promise<void> => {
      shownAtClose = await coord.centre.get(SERVICE);
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    };
    return { port: (server.address() as AddressInfo).port, close };
  };

async function start(): Promise<{ readonly kit: Kit; readonly close: () => Promise<{ stuck: readonly string[] }> }> {
  const started = await rig.start({
    stores: { cache: "required", db: "required", mq: "required" },
    registered: { host: "127.0.0.1", labels: { unit: "blue" } },
    servers: (kit) => [{ name: "web", open: web(kit) }],
  });
  if (!started.ok) throw new Error(`${started.failure.step}: ${started.failure.cause}`);
  expect(started.took).toBeLessThan(10_000);
  return { kit: started.value, close: started.close };
}

describe("[R124][R131][R151] the whole kit", () => {
  test("is healthy, is found in the registry with its metadata, and is gone from there before its servers close", async () => {
    const { kit, close } = await start();
    const report = await kit.health.report();
    expect(report).toMatchObject({ status: "healthy" });
    expect(Object.keys(report.components)).toEqual(
      expect.arrayContaining(["cache", "clog", "coord", "db", "mq", "registration", "config coord"]),
    );
    const discovery = await coord.discover("im-repo", never);
    const [found] = discovery.current();
    expect(found).toEqual({
      service: "im-repo",
      id: "im-repo-0",
      address: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      labels: { unit: "blue", version: "1.2.3", environment: "test" },
    });
    expect(await (await fetch(`http://${found?.address}/`, { headers: { connection: "close" } })).text()).toBe("done");
    expect(await close()).toEqual({ stuck: [] });
    const closes = rig.said().filter(({ message }) => String(message).endsWith(" is closed"));
    expect(closes.map(({ step }) => step)).toEqual(CLOSES);
    expect(shownAtClose).toBeNull();
    await discovery.close();
    expect([rig.etcd.open, rig.redis.open, rig.mysql?.open]).toEqual([0, 0, 0]);
  });

  test("[R120] follows the centre: one live field of each component, seen in force", async () => {
    const { kit, close } = await start();
    const { address = "" } = (await coord.discover("im-repo", never)).next() ?? {};
    const put = (component: string, value: object): Promise<number> =>
      coord.centre.put(keyOf(component), JSON.stringify(value));
    const slow = async (): Promise<string | undefined> => {
      await (await fetch(`http://${address}/`, { headers: { connection: "close" } })).text();
      return /^infra_slow_total\{component="http"\} (\d+)$/m.exec((await rig.page("/metrics")).body)?.[1];
    };
    expect(await slow()).toBeUndefined();
    expect([kit.cache?.stats().pool.limit, kit.db?.pool().limit]).toEqual([10, 25]);

    await put("clog", { level: "debug" });
    await put("metrics", { slowRequestThreshold: "1ms" });
    await put("cache", { poolSize: 3, minIdleConns: 0 });
    await put("db", { maxOpenConns: 2, maxIdleConns: 1 });
    await put("mq", { consumer: { maxRetries: 1 } });
    await put("coord", { timeout: "300ms", serviceName: "im-other" });

    await until(
      () => kit.cache?.stats().pool.limit,
      (limit) => limit === 3,
    );
    await until(
      () => kit.db?.pool().limit,
      (limit) => limit === 2,
    );
    await until(slow, (count) => count !== undefined);
    await until(
      () => {
        kit.log.debug({}, "now");
        return rig.said().some(({ message }) => message === "now");
      },
      (said) => said,
    );
    await until(
      () => kit.config.mq?.current().consumer.maxRetries,
      (retries) => retries === 1,
    );
    expect(await attempts(kit)).toBe(2);
    await until(
      async () => (await kit.health.report()).components["coord"]?.details?.["restartNeeded"],
      (named) => named === "serviceName",
    );
    // 5 s before.
    rig.etcd.hold("toClient");
    const asked = performance.now();
    await expect(kit.coord?.centre.get("/a")).rejects.toMatchObject({ component: "coord", retryable: true });
    expect(performance.now() - asked).toBeLessThan(3000);
    rig.etcd.clear();
    await close();
  });

  test("[etcd/down] starts unregistered, says so, and is registered when etcd comes", async () => {
    rig.etcd.refuse();
    const { kit, close } = await start();
    expect(await kit.health.report()).toMatchObject({
      status: "degraded",
      components: { registration: { status: "degraded", message: expect.stringContaining("not registered: ") } },
    });
    rig.etcd.clear();
    await until(
      () => coord.centre.get(SERVICE),
      (found) => found !== null,
      20_000,
    );
    await until(
      async () => (await kit.health.report()).components["registration"]?.status,
      (now) => now === "healthy",
    );
    await close();
  });

  test("[etcd/silent] closes in time although etcd hears no farewell; the lease ends what it shows", async () => {
    const { kit, close } = await start();
    for (const name of ["a", "b"]) await kit.coord?.acquire(`silent/${rig.port}/${name}`, seconds(10), never);
    rig.etcd.hold("toServer", "toClient");
    expect(await close()).toEqual({ stuck: [] });
    expect([rig.redis.open, rig.mysql?.open]).toEqual([0, 0]);
  });

  test("[R132] as a process: SIGTERM ends it by itself with 0, so that no socket, timer or handle was left", async () => {
    await using service = await startKitChild(rig, { KIT_WHOLE: "1" });
    const lines = await service.says(/^started in /);
    expect(lines.filter((line) => line.endsWith(" is open"))).toHaveLength(10);
    expect(await coord.centre.get(SERVICE)).not.toBeNull();
    service.send("SIGTERM");
    expect(await service.ended).toEqual([0, null]);
    const closes = service.said().filter(({ message }) => String(message).endsWith(" is closed"));
    expect(closes.map(({ step }) => step)).toEqual(CLOSES);
    expect(await coord.centre.get(SERVICE)).toBeNull();
  });
});

/** How often a message is tried that cannot be handled. */
async function attempts({ mq }: Kit): Promise<number> {
  if (mq === null) throw new Error("there is no queue");
  const topic = await aTopic(mq);
  let tried = 0;
  await using subscription = await mq.subscribe(topic, async () => {
    tried += 1;
    throw new Error("cannot");
  });
  await mq.send(topic, [{ key: null, value: 1 }]);
  await until(
    () => subscription.view().setAside,
    (count) => count === 1,
    20_000,
  );
  return tried;
}
