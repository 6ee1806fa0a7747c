import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { openClog } from "../../src/infra/clog/open-clog.ts";
import { COMPONENTS as COMPONENTS_TABLE } from "../../src/infra/config/components.ts";
import { clogSettings } from "../../src/infra/config/clog-settings.ts";
import { dbSettings } from "../../src/infra/config/db-settings.ts";
import { openDb } from "../../src/infra/db/open-db.ts";
import type { Health } from "../../src/infra/health/health.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import type { Reloaded } from "../../src/lib/reloaded.ts";
import { cacheSettingsOf, openCacheRig } from "../support/cache-rig.ts";
import { coordAt } from "../support/coord-rig.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/egress/until.ts";

const { COORD_ENDPOINTS = "", REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const never = new AbortController().signal;

/** A component of the kit, opened with what it cannot do without: no log, no metrics. */
interface Opened {
  check(signal: AbortSignal): Promise<Health>;
  /** Null where nothing of it can be changed while it runs. */
  readonly reload: (() => Reloaded) | null;
  /** Does what it is for. */
  use(): Promise<unknown>;
  close(): Promise<void>;
  /** Connections that it holds. */
  sockets(): number;
  /** What `use` comes to after the end: an error of the component; or nothing, for a log takes lines as long as the process lives. */
  readonly afterClose: string | null;
}

let etcd: TcpProxy;
beforeAll(async () => {
  const { hostname, port } = new URL(COORD_ENDPOINTS.split(",")[0] ?? "");
  etcd = await openTcpProxy({ host: hostname, port: Number(port) });
});
afterAll(() => etcd[Symbol.asyncDispose]());

const COMPONENTS: Readonly<Record<string, () => Promise<Opened>>> = {
  cache: async () => {
    const { cache, proxy } = await openCacheRig({ address: REDIS_ADDRESS, password: REDIS_PASSWORD });
    return {
      check: (signal) => cache.check(signal),
      reload: () => cache.reload(cacheSettingsOf({})),
      use: () => cache.get("components"),
      close: () => cache.close(),
      sockets: () => proxy.open,
      afterClose: "cache",
    };
  },
  coord: async () => {
    const coord = coordAt({ endpoints: [`${etcd.host}:${etcd.port}`] });
    return {
      check: (signal) => coord.check(signal),
      reload: null,
      use: () => coord.centre.get("/components"),
      close: () => coord.close(),
      sockets: () => etcd.open,
      afterClose: "coord",
    };
  },
  db: async () => {
    const settings = dbSettings.parse({ driver: "sqlite" });
    const db = await openDb(settings, {
      clock: systemClock,
      rng: systemRng,
      tls: null,
      dial: () => Promise.reject(new Error("sqlite dials nobody")),
      secret: () => Promise.reject(new Error("sqlite has no secret")),
    });
    return {
      check: (signal) => db.check(signal),
      reload: () => db.reload(settings),
      use: () => db.ping(),
      close: () => db.close(),
      sockets: () => 0,
      afterClose: "db",
    };
  },
  clog: async () => {
    const settings = clogSettings.parse({});
    const lines: string[] = [];
    const write = (line: string): void => void lines.push(line);
    const about = { service: "s", environment: "test", version: "1", clock: systemClock };
    const clog = await openClog(settings, { ...about, stdout: { write }, stderr: { write } });
    return {
      check: async () => clog.check(),
      reload: () => clog.reload(settings),
      use: async () => clog.info({}, "line"),
      close: () => clog.close(),
      sockets: () => 0,
      afterClose: null,
    };
  },
};

describe.each(Object.entries(COMPONENTS))("[R118][R145] %s", (_name, open) => {
  test("opens without log and metrics, does its work, and says that it is healthy", async () => {
    const component = await open();
    await component.use();
    expect(await component.check(never)).toMatchObject({ status: "healthy", message: expect.any(String) });
    await component.close();
  });

  test("the same settings again change nothing", async () => {
    const component = await open();
    expect(component.reload?.() ?? { applied: [], needsRestart: [] }).toEqual({ applied: [], needsRestart: [] });
    await component.use();
    await component.close();
  });

  test("closes twice, holds no connection then, and later calls fail by name instead of waiting", async () => {
    const component = await open();
    await component.use();
    await Promise.all([component.close(), component.close()]);
    await component.close();
    expect(
      await until(
        () => component.sockets(),
        (count) => count === 0,
      ),
    ).toBe(0);
    const later = await component.use().then(
      () => null,
      (error: unknown) => (error instanceof InfraError ? error.component : error),
    );
    expect(later).toBe(component.afterClose);
  });
});

test("[R120] the cache changes while it runs exactly what the table of components calls reloadable, and so does the log", async () => {
  const settings = cacheSettingsOf({});
  const other = cacheSettingsOf({
    addr: "127.0.0.1:1",
    username: "u",
    db: 1,
    keyPrefix: "p:",
    poolSize: 11,
    minIdleConns: 1,
    maxIdleConns: 11,
    connMaxIdleTime: "1m",
    connMaxLifetime: "1m",
    dialTimeout: "1s",
    readTimeout: "1s",
    writeTimeout: "1s",
    poolTimeout: "1s",
    maxRetries: 1,
    retryBackoff: { max: "1s" },
    compression: { enabled: true },
    defaultTtl: "2h",
    ttlJitter: 0.2,
    local: { ttl: "1m" },
    slowThreshold: "1s",
    enableMetrics: false,
    enableTracing: true,
  });
  await using rig = await openCacheRig({ address: REDIS_ADDRESS, password: REDIS_PASSWORD });
  const { applied, needsRestart } = rig.cache.reload(other);
  expect(applied.toSorted()).toEqual(COMPONENTS_TABLE.cache.reloadable.toSorted());
  const alike = new Set(["tls", "password", "serializer"]);
  expect([...applied, ...needsRestart].toSorted()).toEqual(
    [...Object.keys(settings), "username"].filter((field) => !alike.has(field)).toSorted(),
  );
  expect(COMPONENTS_TABLE.clog.reloadable).toEqual(["level"]);
});

test("no component is lost", () => expect(Object.keys(COMPONENTS)).toHaveLength(4));
