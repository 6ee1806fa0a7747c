import { describe, expect, inject, test } from "vitest";
import type { Started } from "../../src/infra/boot/boot-all.ts";
import type { Kit } from "../../src/infra/boot/kit.ts";
import type { Centre } from "../../src/infra/coord/coord.ts";
import { coordAt } from "../support/coord-rig.ts";
import { until } from "../support/egress/until.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";

const { COORD_ENDPOINTS = "", REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const [first = ""] = COORD_ENDPOINTS.split(",");
const open = (): Promise<KitRig> => openKitRig({ etcd: first, redis: REDIS_ADDRESS, password: REDIS_PASSWORD });
const never = new AbortController().signal;

function mustStart(started: Started<Kit>): Extract<Started<Kit>, { ok: true }> {
  if (!started.ok) throw new Error(`${started.failure.step}: ${started.failure.cause}`);
  return started;
}

/** The centre as somebody else writes it; what was written goes afterwards. */
async function inCentre(work: (centre: Centre, key: (component: string) => string) => Promise<void>): Promise<void> {
  await using coord = coordAt({ endpoints: [new URL(first).host] });
  const key = (component: string): string => `/config/test/im-repo/${component}`;
  try {
    await work(coord.centre, key);
  } finally {
    for (const component of ["clog", "cache"]) await coord.centre.delete(key(component));
  }
}

describe("[R131][R144] a service starts with the kit", () => {
  test("in two phases and in order, shows itself, and closes in reverse leaving nothing open", async () => {
    await using rig = await open();
    const { value: kit, close, took } = mustStart(await rig.start());
    const order = ["log", "coord", "config", "clog", "metrics", "cache", "db", "web"];
    const opened = rig.said().filter(({ message }) => String(message).endsWith(" is open"));
    expect(opened.map(({ step, phase }) => [phase, step])).toEqual(
      order.map((name) => [name === "log" || name === "coord" ? 1 : 2, name]),
    );
    expect(took).toBeLessThan(10_000);

    await kit.cache?.set("k", { unit: "green" });
    expect(await kit.cache?.get("k")).toEqual({ unit: "green" });
    expect((await kit.db?.check(never))?.status).toBe("healthy");
    expect((await rig.page("/startupz")).status).toBe(200);
    expect((await rig.page("/readyz")).status).toBe(200);
    const report = JSON.parse((await rig.page("/health")).body) as { status: string; components: object };
    expect(report.status).toBe("healthy");
    expect(Object.keys(report.components).toSorted()).toEqual(
      [
        "cache",
        "clog",
        "config cache",
        "config clog",
        "config coord",
        "config db",
        "config metrics",
        "config mq",
        "coord",
        "db",
      ].toSorted(),
    );
    expect((await rig.page("/metrics")).body).toContain('infra_pool_limit{component="cache"} 10');

    expect(await close()).toEqual({ stuck: [] });
    const closes = rig.said().filter(({ message }) => String(message).endsWith(" is closed"));
    expect(closes.map(({ step }) => step)).toEqual(order.toReversed());
    await expect(rig.page("/livez")).rejects.toThrow("fetch failed");
    await until(
      () => rig.etcd.open + rig.redis.open,
      (count) => count === 0,
    );
  });

  test("[R120] what the centre changes is in force at once; what needs a restart is named", async () => {
    await using rig = await open();
    await inCentre(async (centre, key) => {
      const { value: kit, close } = mustStart(await rig.start());
      kit.log.debug({}, "not yet");
      await centre.put(key("clog"), JSON.stringify({ level: "debug" }));
      await centre.put(key("cache"), JSON.stringify({ poolSize: 3, minIdleConns: 0, db: 3 }));
      await until(
        () => kit.cache?.stats().pool.limit,
        (limit) => limit === 3,
      );
      await until(
        () => kit.config.clog.current().level,
        (level) => level === "debug",
      );
      kit.log.debug({}, "now");
      const { components } = await kit.health.report();
      expect(components["config cache"]).toMatchObject({ details: { restartNeeded: "db" } });
      expect(rig.said().map(({ message }) => message)).toContain("now");
      expect(rig.said().map(({ message }) => message)).not.toContain("not yet");
      await close();
    });
  });
});

describe("[R115] the centre is down", () => {
  test("[etcd/down] it starts on its files, says so in health, metric and log, and switches over when the centre is back", async () => {
    await using rig = await open();
    await inCentre(async (centre, key) => {
      await centre.put(key("cache"), JSON.stringify({ poolSize: 4, minIdleConns: 0 }));
      rig.etcd.refuse();
      const { value: kit, close, took } = mustStart(await rig.start());
      expect(took).toBeLessThan(10_000);
      expect(kit.cache?.stats().pool.limit).toBe(10);
      const report = await kit.health.report();
      expect(report.status).toBe("degraded");
      expect(report.components["config cache"]).toMatchObject({
        status: "degraded",
        message: expect.stringContaining("configuration centre not heard"),
      });
      expect((await rig.page("/readyz")).status).toBe(200);
      expect((await rig.page("/metrics")).body).toContain('turnout_config_degraded{component="cache"} 1');
      expect(rig.said()).toContainEqual(expect.objectContaining({ message: "configuration is degraded" }));
      rig.etcd.clear();
      expect(
        await until(
          () => kit.cache?.stats().pool.limit,
          (limit) => limit === 4,
        ),
      ).toBe(4);
      expect(kit.config.cache?.status().cause).toBeUndefined();
      await close();
    });
  });
});

describe("[R131][R145] a store is down", () => {
  test("[redis/down] required: it names itself, cause and way out, and nothing stays open", async () => {
    await using rig = await open();
    rig.redis.refuse();
    const started = await rig.start();
    expect(started).toMatchObject({
      ok: false,
      failure: { step: "cache", phase: 2, type: "UNAVAILABLE", todo: "see addr, password and Redis" },
      closed: { stuck: [] },
    });
    const closes = rig.said().filter(({ message }) => String(message).endsWith(" is closed"));
    expect(closes.map(({ step }) => step)).toEqual(["metrics", "clog", "config", "coord", "log"]);
    await expect(rig.page("/livez")).rejects.toThrow("fetch failed");
    // Whatever of the first start still lived would hold a connection again by the time that the second's pool has filled up twice.
    rig.redis.clear();
    const { value: kit, close } = mustStart(await rig.start());
    for (let round = 0; round < 2; round += 1) {
      rig.redis.cut();
      await until(
        () => rig.redis.open,
        (count) => count === 0,
      );
      await until(
        () => kit.cache?.stats().pool.idle === 1 && rig.redis.open >= 1,
        (full) => full,
      );
    }
    await close();
    await until(
      () => rig.etcd.open + rig.redis.open,
      (count) => count === 0,
    );
  });

  test("[redis/down] optional: it starts, is degraded, and is well again when Redis comes", async () => {
    await using rig = await open();
    rig.redis.refuse();
    const { value: kit, close } = mustStart(await rig.start({ stores: { cache: "optional" } }));
    expect(await kit.health.report()).toMatchObject({
      status: "degraded",
      components: { cache: { status: "unhealthy" } },
    });
    expect(await kit.cache?.getOrLoad("k", async () => "from the database")).toBe("from the database");
    rig.redis.clear();
    await until(
      () => kit.health.report(),
      ({ status }) => status === "healthy",
    );
    await close();
  });

  test("[R135] later, a required one makes the whole unhealthy, and it recovers by itself", async () => {
    await using rig = await open();
    const { value: kit, close } = mustStart(await rig.start());
    rig.redis.refuse();
    rig.redis.cut();
    await until(
      async () => (await rig.page("/readyz")).status,
      (status) => status === 503,
    );
    expect(await kit.health.report()).toMatchObject({ status: "unhealthy", components: { db: { status: "healthy" } } });
    expect((await rig.page("/livez")).status).toBe(200);
    rig.redis.clear();
    await until(
      async () => (await rig.page("/readyz")).status,
      (status) => status === 200,
    );
    await close();
  });
});

describe("what people wrote wrong", () => {
  const ROWS: readonly (readonly [what: string, component: string, value: unknown, cause: RegExp])[] = [
    ["an unknown field", "cache", { poolsize: 3 }, /poolsize.*did you mean poolSize/],
    ["no JSON", "clog", '{ "level": ', /clog\.json:1:\d+/],
    ["a duration without unit", "cache", { dialTimeout: "5" }, /cache\.dialTimeout|dialTimeout.*5s or 10m/],
  ];
  test.each(ROWS)("%s: the start names file, place and what is allowed", async (_what, component, value, cause) => {
    await using rig = await open();
    await rig.put(component, value);
    const started = await rig.start();
    expect(started).toMatchObject({ ok: false, failure: { step: "config", type: "CONFIG" }, closed: { stuck: [] } });
    expect(started.ok ? "" : started.failure.cause).toMatch(cause);
  });

  test("a secret that is not there is named, and a server that cannot listen too", async () => {
    await using rig = await open();
    await rig.put("cache", {
      addr: `127.0.0.1:${rig.redis.port}`,
      tls: "None",
      password: { env: "TURNOUT_SECRET_NONE" },
    });
    expect(await rig.start()).toMatchObject({
      ok: false,
      failure: { step: "cache", cause: expect.stringContaining("TURNOUT_SECRET_NONE cannot be read (not set)") },
    });
    await rig.put("metrics", { listenAddr: `127.0.0.1:${rig.redis.port}` });
    expect(await rig.start()).toMatchObject({
      ok: false,
      failure: { step: "metrics", cause: expect.stringMatching(/^cannot listen on .*: another process has it/) },
    });
  });

  test("[R132] a signal during the start closes what is open", async () => {
    await using rig = await open();
    rig.redis.hold("toClient");
    const starting = rig.start();
    await until(
      () => rig.redis.held.toClient + rig.redis.open,
      (seen) => seen > 0,
    );
    rig.stop.abort(new Error("stopped by SIGTERM"));
    expect(await starting).toMatchObject({ ok: false, failure: { step: "cache" }, closed: { stuck: [] } });
    await until(
      () => rig.etcd.open + rig.redis.open,
      (count) => count === 0,
    );
  });
});
