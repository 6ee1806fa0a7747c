import { describe, expect, inject, test } from "vitest";
import type { z } from "zod";
import { openCache } from "../../src/infra/cache/open-cache.ts";
import { liveCoord } from "../../src/infra/boot/live-coord.ts";
import { openLog } from "../../src/infra/clog/log.ts";
import { openClog } from "../../src/infra/clog/open-clog.ts";
import {
  COMPONENT_NAMES,
  type ComponentName,
  componentOf,
  isReloadable,
  lies,
  type SettingsOf,
} from "../../src/infra/config/components.ts";
import { type FieldDoc, fieldsOf } from "../../src/infra/config/field-docs.ts";
import { openMq } from "../../src/infra/mq/open-mq.ts";
import { openDb } from "../../src/infra/db/open-db.ts";
import { openTelemetry } from "../../src/infra/metrics/open-telemetry.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import type { Reloaded } from "../../src/lib/reloaded.ts";
import { dialTo } from "../support/cache-rig.ts";
import { coordAt } from "../support/coord-rig.ts";

// What the table of components calls reloadable is what each component says of itself, field by field, and nothing else is.

const { REDIS_ADDRESS = "", REDIS_PASSWORD = "", KAFKA_BROKERS = "" } = inject("env");

type Kit = "clog" | "metrics" | "coord" | "cache" | "db" | "mq";
type Opened<C extends ComponentName> = AsyncDisposable & { reload(next: SettingsOf<C>): Reloaded };

interface Tried<C extends ComponentName> {
  /** What the component is opened with, as a file would say it. */
  readonly base: JsonObject;
  /** Another value for each field of the schema. */
  readonly other: Readonly<Record<string, Json>>;
  /** Fields that take one value only. */
  readonly fixed: readonly string[];
  open(settings: SettingsOf<C>): Opened<C> | Promise<Opened<C>>;
}

const SECRET = { env: "TURNOUT_SECRET_X" };
const SECURED = { ca: { file: "/etc/ca.pem" } };
const tried: { readonly [C in Kit]: Tried<C> } = {
  clog: {
    base: {},
    other: {
      level: "debug",
      format: "pretty",
      output: "stderr",
      filename: "/tmp/turnout.log",
      maxSize: "2MiB",
      maxBackups: 4,
      maxAge: "1d",
      compress: true,
      enableCaller: true,
      enableStacktrace: false,
      errorOutput: "stdout",
      "initialFields.service": "s",
      "initialFields.environment": "e",
      "initialFields.version": "v",
    },
    fixed: [],
    open: async (settings) => {
      const write = (): void => undefined;
      const about = { service: "s", environment: "test", version: "1", clock: systemClock };
      const clog = await openClog(settings, { ...about, stdout: { write }, stderr: { write } });
      return { reload: (next) => clog.reload(next), [Symbol.asyncDispose]: () => clog.close() };
    },
  },
  metrics: {
    base: { enableTracing: true, otlpEndpoint: "127.0.0.1:1", samplerType: "ratio", samplerRatio: 1 },
    other: {
      serviceName: "other",
      enableMetrics: false,
      exporterType: "otlp",
      exporterEndpoint: "/other",
      listenAddr: "127.0.0.1:1",
      namespace: "other",
      subsystem: "other",
      slowRequestThreshold: "1s",
      enableTracing: false,
      samplerType: "const",
      samplerRatio: 0.5,
      otlpEndpoint: "127.0.0.1:2",
      otlpTls: SECURED,
    },
    fixed: [],
    open: async (settings) => {
      const log = openLog({ level: "error", clock: systemClock, destination: { write: () => undefined } });
      const telemetry = await openTelemetry(settings, {
        dial: () => Promise.reject(new Error("there is no collector")),
        clock: systemClock,
        rng: systemRng,
        metrics: openMetrics(),
        log,
        bind: (_context, work) => work(),
        about: { service: "s", instance: "s-0", version: "1", environment: "test" },
      });
      if (telemetry === null) throw new Error("nothing is sent to a collector");
      return telemetry;
    },
  },
  coord: {
    base: { username: "u", password: SECRET },
    other: {
      endpoints: ["127.0.0.1:1"],
      tls: "None",
      username: "other",
      password: { env: "TURNOUT_SECRET_Y" },
      timeout: "1s",
      "retry.maxRetries": 1,
      "retry.initialInterval": "2s",
      "retry.maxInterval": "20s",
      "retry.multiplier": 3,
      enableMetrics: false,
      enableTracing: true,
      serviceName: "other",
      serviceVersion: "2",
      servicePort: 1,
      healthCheckInterval: "1s",
      ttl: "10s",
    },
    fixed: [],
    open: async (settings) => {
      const coord = coordAt({ endpoints: ["127.0.0.1:1"] });
      const live = liveCoord(coord, settings, systemClock);
      return { reload: (next) => live.reload(next), [Symbol.asyncDispose]: () => coord.close() };
    },
  },
  cache: {
    base: { password: SECRET },
    other: {
      addr: "127.0.0.1:1",
      tls: "None",
      username: "u",
      password: { env: "TURNOUT_SECRET_Y" },
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
      "retryBackoff.min": "9ms",
      "retryBackoff.max": "1s",
      "compression.enabled": true,
      "compression.above": "2KiB",
      defaultTtl: "2h",
      ttlJitter: 0.2,
      "local.enabled": true,
      "local.ttl": "1m",
      "local.maxEntries": 10,
      slowThreshold: "1s",
      enableMetrics: false,
      enableTracing: true,
    },
    fixed: ["serializer"],
    open: (settings) => {
      const [host = "", port = ""] = REDIS_ADDRESS.split(":");
      return openCache(settings, {
        dial: dialTo({ host, port: Number(port) }),
        credentials: async () => ({ username: null, password: REDIS_PASSWORD }),
        clock: systemClock,
        rng: systemRng,
      });
    },
  },
  db: {
    base: { driver: "sqlite", password: SECRET },
    other: {
      driver: "mysql",
      dsn: SECRET,
      addr: "127.0.0.1:1",
      tls: "None",
      database: "other",
      username: "other",
      password: { env: "TURNOUT_SECRET_Y" },
      file: "/tmp/other.db",
      maxOpenConns: 20,
      maxIdleConns: 9,
      connMaxLifetime: "2h",
      connMaxIdleTime: "1h",
      dialTimeout: "1s",
      queryTimeout: "1s",
      poolTimeout: "1s",
      maxRetries: 1,
      logLevel: "info",
      slowThreshold: "1s",
      tablePrefix: "p_",
      shards: 2,
      enableMetrics: false,
      enableTracing: true,
    },
    fixed: [],
    open: (settings) =>
      openDb(settings, {
        clock: systemClock,
        rng: systemRng,
        tls: null,
        dial: () => Promise.reject(new Error("sqlite dials nobody")),
        secret: () => Promise.reject(new Error("sqlite has no secret")),
      }),
  },
  mq: {
    // An idempotent producer would take no other acks.
    base: { brokers: KAFKA_BROKERS.split(","), tls: "None", producer: { idempotent: false } },
    other: {
      brokers: ["127.0.0.1:1"],
      tls: SECURED,
      username: "u",
      password: SECRET,
      dialTimeout: "1s",
      requestTimeout: "1s",
      "producer.clientId": "p",
      "producer.acks": "1",
      "producer.retries": 1,
      "producer.batchSize": "1KiB",
      "producer.linger": "1ms",
      "producer.bufferMemory": "2MiB",
      "producer.compression": "gzip",
      "producer.maxRequestSize": "2MiB",
      "producer.idempotent": true,
      "consumer.groupId": "g",
      "consumer.clientId": "c",
      "consumer.autoOffsetReset": "latest",
      "consumer.sessionTimeout": "1m",
      "consumer.heartbeat": "1s",
      "consumer.maxPollRecords": 1,
      "consumer.fetchMin": 2,
      "consumer.fetchWait": "1s",
      "consumer.maxRetries": 1,
      "consumer.retryBackoff.min": "1ms",
      "consumer.retryBackoff.max": "20ms",
      topics: { word: "topic" },
      codec: "protobuf",
      enableMetrics: false,
      enableTracing: true,
    },
    fixed: ["consumer.autoCommit"],
    open: (settings) =>
      openMq(settings, {
        clock: systemClock,
        rng: systemRng,
        service: "im-test",
        instance: "im-test-0",
        secret: () => Promise.resolve(""),
        tls: null,
      }),
  },
};

const leaves = (fields: readonly FieldDoc[]): readonly string[] =>
  fields.flatMap(({ path, inner }) => (inner.length === 0 ? [path] : leaves(inner)));

/** The base with another value at the path. */
function changed(base: JsonObject, path: string, value: Json): JsonObject {
  const [first = "", ...rest] = path.split(".");
  if (rest.length === 0) return { ...base, [first]: value };
  return { ...base, [first]: changed((base[first] ?? {}) as JsonObject, rest.join("."), value) };
}

const parsed = <C extends Kit>(component: C, raw: JsonObject): SettingsOf<C> => {
  const schema: z.ZodType = componentOf(component).schema;
  return schema.parse(raw) as SettingsOf<C>;
};

/** What the component says when this field alone becomes another. */
async function said<C extends Kit>(component: C, path: string, row: Tried<C>): Promise<Reloaded> {
  const { base, other } = row;
  await using opened = await row.open(parsed(component, base));
  expect(opened.reload(parsed(component, base))).toEqual({ applied: [], needsRestart: [] });
  const next = parsed(component, changed(base, path, other[path] ?? null));
  const first = opened.reload(next);
  // What is in force now is no change the second time; what needs a restart still does.
  expect(opened.reload(next)).toEqual({ applied: [], needsRestart: first.needsRestart });
  return first;
}

const ROWS = (Object.keys(tried) as readonly Kit[]).flatMap((component) =>
  Object.keys(tried[component].other).map((path) => [component, path] as const),
);

describe("[R120] what the table of components calls reloadable is what the component applies", () => {
  test.each(ROWS)("%s.%s", async (component, path) => {
    const { applied, needsRestart } = await said(component, path, tried[component]);
    const [yes, no] = isReloadable(component, path) ? [applied, needsRestart] : [needsRestart, applied];
    expect(no).toEqual([]);
    expect(yes).toHaveLength(1);
    expect(lies(path, yes[0] ?? "none")).toBe(true);
  });

  test.each(Object.keys(tried) as readonly Kit[])("%s: no field of the schema is left out", (component) => {
    const { other, fixed } = tried[component];
    const paths = leaves(fieldsOf(componentOf(component).schema));
    expect([...Object.keys(other), ...fixed].toSorted()).toEqual(paths.toSorted());
    for (const reloadable of componentOf(component).reloadable)
      expect(Object.keys(other).filter((path) => lies(path, reloadable)).length).toBeGreaterThan(0);
  });

  test("no component of the kit is left out", () => {
    // What the operator takes of its own two has its own test: test/e2e/config-reload.e2e.test.ts.
    const kit = COMPONENT_NAMES.filter((name) => name !== "operator" && name !== "endpoints");
    expect(Object.keys(tried).toSorted()).toEqual(kit.toSorted());
    expect(ROWS.length).toBeGreaterThan(100);
  });
});
