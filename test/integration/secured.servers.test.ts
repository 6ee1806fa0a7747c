import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { type Network, openNetwork } from "../../src/infra/boot/kit-network.ts";
import { openCache } from "../../src/infra/cache/open-cache.ts";
import { openLog } from "../../src/infra/clog/log.ts";
import { cacheSettings } from "../../src/infra/config/cache-settings.ts";
import { dbSettings } from "../../src/infra/config/db-settings.ts";
import { mqSettings } from "../../src/infra/config/mq-settings.ts";
import { openDb } from "../../src/infra/db/open-db.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { openMq } from "../../src/infra/mq/open-mq.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import { openAuthority } from "../support/egress/certificate.ts";
import { until } from "../support/egress/until.ts";
import { aTopic } from "../support/mq-rig.ts";

// Redis, MariaDB and Kafka of this file's own that speak TLS, reached as the kit reaches them: settings, secrets, guard.

const never = new AbortController().signal;
const NAME = "stores.internal";

let folder: string;
let servers: Environment;
let network: Network;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "turnout-secured-"));
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const ours = openAuthority("our authority");
  const shown = ours.issue({ names: [NAME], ips: ["127.0.0.1"] });
  const identity = {
    ca: await file("ca.pem", ours.cert),
    cert: await file("cert.pem", shown.cert),
    key: await file("key.pem", shown.key),
  };
  await file("other-ca.pem", openAuthority("somebody else's authority").cert);
  const print = (): void => undefined;
  servers = await openEnvironment({ with: ["redis", "mariadb", "kafka"], controlPlane: false, identity, print });
  const { env } = servers;
  network = openNetwork({
    resolve: () => Promise.reject(new Error("no names here")),
    clock: systemClock,
    env: {
      TURNOUT_SECRET_REDIS: env["REDIS_PASSWORD"],
      TURNOUT_SECRET_DB: decodeURIComponent(new URL(env["MYSQL_URL"] ?? "").password),
      TURNOUT_SECRET_MQ: env["KAFKA_PASSWORD"],
      TURNOUT_SECRET_WRONG: "wrong",
    },
    secretRoots: [folder],
    metrics: openMetrics(),
    log: openLog({ level: "error", clock: systemClock, destination: { write: () => undefined } }),
  });
}, 120_000);
afterAll(async () => {
  await servers.close();
  await rm(folder, { recursive: true });
});

type Tls = "None" | { readonly ca?: { readonly file: string }; readonly serverName?: string };
const trusting = (ca: string): Tls => ({ ca: { file: join(folder, ca) } });

interface Secured {
  /** Opens it, does what it is for, and closes it. @throws what a person is told */
  use(tls: Tls, secret?: string): Promise<unknown>;
}

const STORES: Readonly<Record<string, Secured>> = {
  cache: {
    use: async (tls, secret = "TURNOUT_SECRET_REDIS") => {
      const address = servers.env["REDIS_TLS_ADDRESS"] ?? "";
      const settings = cacheSettings.parse({ addr: address, tls, password: { env: secret }, maxRetries: 0 });
      await using cache = openCache(settings, {
        clock: systemClock,
        rng: systemRng,
        dial: async (signal) => {
          const material = await network.tls("cache", settings.tls, { address, alpn: [] });
          return network.connect("cache", { address, tls: material }, signal);
        },
        credentials: async () => ({ username: null, password: await network.secret("cache", { env: secret }) }),
      });
      await cache.set("secured", 1);
      return await cache.get("secured");
    },
  },
  db: {
    use: async (tls, secret = "TURNOUT_SECRET_DB") => {
      const address = new URL(servers.env["MYSQL_URL"] ?? "").host;
      const about = { addr: address, tls, username: "root", password: { env: secret }, database: "im_dev" };
      const settings = dbSettings.parse(about);
      await using db = await openDb(settings, {
        clock: systemClock,
        rng: systemRng,
        tls: await network.tls("db", settings.tls, { address, alpn: [] }),
        secret: (reference) => network.secret("db", reference),
        dial: (to, signal) => network.connect("db", { address: to, tls: null }, signal),
      });
      return (await db.check(never)).status === "healthy" ? 1 : 0;
    },
  },
  mq: {
    use: async (tls, secret = "TURNOUT_SECRET_MQ") => {
      const address = servers.env["KAFKA_TLS_BROKERS"] ?? "";
      const settings = mqSettings.parse({
        brokers: [address],
        tls,
        username: servers.env["KAFKA_USERNAME"],
        password: { env: secret },
        requestTimeout: "5s",
        consumer: { sessionTimeout: "3s", heartbeat: "300ms", fetchWait: "50ms" },
      });
      await using mq = await openMq(settings, {
        clock: systemClock,
        rng: systemRng,
        service: "im-test",
        instance: "im-test-0",
        secret: (reference) => network.secret("mq", reference),
        tls: await network.tls("mq", settings.tls, { address, alpn: [] }),
      });
      const topic = await aTopic(mq);
      const got: unknown[] = [];
      await using _subscription = await mq.subscribe(topic, async ({ value }) => void got.push(value));
      await mq.send(topic, [{ key: null, value: 1 }]);
      await until(
        () => got.length,
        (count) => count === 1,
        20_000,
      );
      return got[0];
    },
  },
};

/** What a person is told. */
const said = (store: string, tls: Tls, secret?: string): Promise<unknown> =>
  (STORES[store]?.use(tls, secret) ?? Promise.resolve("no such store")).then(
    (value) => `worked: ${JSON.stringify(value)}`,
    (error: unknown) => (error instanceof InfraError ? `${error.type} ${error.code}: ${error.message}` : error),
  );

describe.each(Object.keys(STORES))("[SEC-27] %s with TLS", (store) => {
  test("works with our authority, by address and by the name that the settings give", async () => {
    expect(await said(store, trusting("ca.pem"))).toBe("worked: 1");
    expect(await said(store, { ...(trusting("ca.pem") as object), serverName: NAME })).toBe("worked: 1");
  });

  const TLS_FAILED = new RegExp(
    `^CONFIG TlsFailed: ${store}: .*TLS failed; correct the CA or the certificate in the ${store} settings`,
  );
  const ROWS: readonly (readonly [what: string, tls: () => Tls])[] = [
    ["another authority", () => trusting("other-ca.pem")],
    ["the system's authorities", () => ({})],
    ["another name", () => ({ ...(trusting("ca.pem") as object), serverName: "other.internal" })],
  ];
  test.each(ROWS)("%s is refused, and said what to correct", async (_what, tls) => {
    expect(await said(store, tls())).toMatch(TLS_FAILED);
  });

  test("a wrong password is refused, and said what to correct", async () => {
    expect(await said(store, trusting("ca.pem"), "TURNOUT_SECRET_WRONG")).toMatch(
      new RegExp(`^CONFIG AuthRefused: ${store}: .*(?:password is wrong; correct them in|see username, password)`),
    );
  });

  const IN_CLEAR: Readonly<Record<string, RegExp>> = {
    cache: /^CONNECTION ConnectFailed: cache: AUTH: Redis cannot be reached; see addr, tls and its log$/,
    db: /^CONFIG AuthRefused: db: \S+ \(without TLS, which the server may demand\)/,
    mq: /^CONNECTION ConnectFailed: mq: no connection; check the brokers' addresses, tls and the network path$/,
  };
  test("in the clear nothing works, and tls is among what is said to look at", async () => {
    expect(await said(store, "None")).toMatch(IN_CLEAR[store] ?? /never/);
  });
});

test("no store is left out", () => expect(Object.keys(STORES)).toEqual(["cache", "db", "mq"]));
