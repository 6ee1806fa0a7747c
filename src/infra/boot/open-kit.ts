import { InfraError } from "../../lib/infra-error.ts";
import type { Clock, Resolve, Rng } from "../../lib/seams.ts";
import { seconds } from "../../lib/time.ts";
import type { Cache } from "../cache/cache.ts";
import { openCache } from "../cache/open-cache.ts";
import { logContext, withLogContext } from "../clog/log-context.ts";
import { type Log, type LogDestination, openLog } from "../clog/log.ts";
import { openClog } from "../clog/open-clog.ts";
import { openConfig } from "../config/open-config.ts";
import type { Environment, Service } from "../config/services.ts";
import type { Coord } from "../coord/coord.ts";
import type { Db } from "../db/db.ts";
import { openDb } from "../db/open-db.ts";
import { type Checker, type HealthBoard, openHealth } from "../health/health.ts";
import { openHealthServer } from "../health/health-server.ts";
import { type OpenedMetrics, openMetrics } from "../metrics/metrics.ts";
import type { Mq } from "../mq/mq.ts";
import { openMq } from "../mq/open-mq.ts";
import { type Boot, bootAll, type Started, type Step } from "./boot-all.ts";
import { closeKitConfig, environmentOf, type KitConfig, openKitConfig } from "./kit-config.ts";
import { coordOf } from "./kit-coord.ts";
import { type Network, openNetwork } from "./kit-network.ts";
import { relayLog, type RelayLog } from "./relay-log.ts";

/** required: no start without it, and unhealthy without it later. optional: the process goes on, degraded. */
export type Need = "required" | "optional";

export interface KitOptions {
  readonly service: Service;
  readonly version: string;
  /** Told apart from other processes of the service, such as the pod's name. */
  readonly instance: string;
  /** Root of the configuration tree; null where there is none. */
  readonly files: string | null;
  /** Folder for the last good values of the centre; null where they are not kept. */
  readonly snapshots: string | null;
  readonly secretRoots?: readonly string[];
  /** Stores that the service uses; one that its configuration does not know is a bug. */
  readonly stores: Partial<Readonly<Record<"cache" | "db" | "mq", Need>>>;
  /** What answers requests, opened in order once everything else stands, closed first. */
  readonly servers: (kit: Kit) => readonly KitServer[];
}
export interface KitServer {
  readonly name: string;
  open(signal: AbortSignal): Promise<{ close(): Promise<void> }>;
}

export interface KitSeams {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly resolve: Resolve;
  /** APP_ENV, COORD_ENDPOINTS and secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: LogDestination;
  readonly stderr: LogDestination;
  /** Ends a start under way. */
  readonly signal: AbortSignal;
}

/** What a service is built from. Stores are null where they are optional and did not open, or are not used. */
export interface Kit {
  readonly env: Environment;
  readonly log: Log;
  readonly metrics: OpenedMetrics;
  readonly health: HealthBoard;
  readonly network: Network;
  readonly config: KitConfig;
  /** Null where no centre is configured: COORD_ENDPOINTS is `none`. */
  readonly coord: Coord | null;
  readonly cache: Cache | null;
  readonly db: Db<Record<string, Record<string, unknown>>> | null;
  readonly mq: Mq | null;
  /** Where /metrics and the probes are shown. */
  readonly shownAt: { readonly host: string; readonly port: number };
}

/** Starts a process in two phases (R131) and gives what it is built from; or says why not, with everything closed again. */
export function openKit(options: KitOptions, seams: KitSeams): Promise<Started<Kit>> {
  const { clock, stdout } = seams;
  const { service, version } = options;
  const bootstrap = openLog({ level: "info", destination: stdout, clock, initialFields: { service, version } });
  const relay = relayLog(bootstrap);
  const metrics = openMetrics();
  const health = openHealth({ clock, metrics, log: relay.log.module("health") });
  const about = { options, seams, relay, metrics, health };
  const compose = async (boot: Boot): Promise<Kit> => {
    await boot.required({
      ...PHASE_1,
      name: "log",
      todo: "see stdout",
      open: () => bootstrap,
      close: (log) => log.close(),
    });
    const first = await openFirst(boot, about);
    const kit = await openStores(boot, about, await openSecond(boot, about, first));
    for (const server of options.servers(kit)) {
      const todo = "see its address and its log";
      await boot.required({
        ...PHASE_2,
        name: server.name,
        todo,
        open: (s) => server.open(s),
        close: (it) => it.close(),
      });
    }
    return kit;
  };
  return bootAll(compose, { clock, log: relay.log.module("boot"), health, signal: seams.signal });
}

const PHASE_1 = { phase: 1 } as const;
const PHASE_2 = { phase: 2 } as const;

interface About {
  readonly options: KitOptions;
  readonly seams: KitSeams;
  readonly relay: RelayLog;
  readonly metrics: OpenedMetrics;
  readonly health: HealthBoard;
}
type First = Pick<Kit, "env" | "coord" | "network">;
type Second = Omit<Kit, "cache" | "db" | "mq">;

/** The environment, the ways out, and coord as the files say it. That etcd does not answer is no reason not to start. */
async function openFirst(boot: Boot, { options, seams, relay, metrics, health }: About): Promise<First> {
  const { clock, rng, env: variables } = seams;
  const { log } = relay;
  return boot.required({
    ...PHASE_1,
    name: "coord",
    todo: "correct APP_ENV, COORD_ENDPOINTS or the file coord.json",
    open: async () => {
      const env = environmentOf(variables["APP_ENV"]);
      const { resolve } = seams;
      const network = openNetwork({
        resolve,
        clock,
        env: variables,
        secretRoots: options.secretRoots ?? [],
        metrics,
        log,
      });
      const named = variables["COORD_ENDPOINTS"] ?? "";
      if (named === "none") return { env, network, coord: null };
      const files = { env, service: options.service, files: options.files, snapshots: null };
      await using settings = await openConfig(null, { ...files, clock, rng, log, metrics, component: "coord" });
      const coord = coordOf(settings.current(), named, { network, clock, rng, log, metrics });
      health.add({ component: "coord", critical: false, check: (signal) => coord.check(signal) });
      return { env, network, coord };
    },
    close: ({ coord }) => coord?.close(),
  });
}

/** The full configuration, then the log and the numbers as it says. */
async function openSecond(
  boot: Boot,
  { options, seams, relay, metrics, health }: About,
  first: First,
): Promise<Second> {
  const { clock, rng, stdout, stderr } = seams;
  const { service, version, files, snapshots } = options;
  const { log } = relay;
  const { env, coord } = first;
  const config = await boot.required({
    ...PHASE_2,
    name: "config",
    todo: "correct what is named and start again; config-cli validate shows all of it",
    open: () =>
      openKitConfig(coord?.centre ?? null, { env, service, files, snapshots, clock, rng, log, metrics }, health),
    close: closeKitConfig,
  });
  await boot.required({
    ...PHASE_2,
    name: "clog",
    todo: "see filename and its folder's rights",
    open: async () => {
      const clog = await openClog(config.clog.current(), { service, environment: env, version, clock, stdout, stderr });
      const before = relay.present();
      config.clog.subscribe({ name: "clog", commit: (next) => void clog.reload(next) });
      let counted = 0;
      metrics.onScrape(() => {
        const dropped = clog.dropped();
        metrics.count("turnout_log_dropped_total", {}, dropped - counted);
        counted = dropped;
      });
      health.add({ component: "clog", critical: false, check: async () => clog.check() });
      relay.to(clog);
      return { clog, before };
    },
    close: async ({ clog, before }) => {
      relay.to(before);
      await clog.close();
    },
  });
  const server = await boot.required({
    ...PHASE_2,
    name: "metrics",
    todo: "see listenAddr: is another process there already?",
    open: () => {
      const { listenAddr, exporterEndpoint, enableMetrics } = config.metrics.current();
      const metricsAt = enableMetrics ? exporterEndpoint : null;
      return openHealthServer({ listen: listenOf(listenAddr), health, metrics, log: log.module("metrics"), metricsAt });
    },
    close: (it) => it.close(),
  });
  return { ...first, config, log, metrics, health, shownAt: server.address };
}

async function openStores(boot: Boot, about: About, kit: Second): Promise<Kit> {
  const cache = await openNeeded(boot, about, {
    name: "cache",
    todo: "see addr, password and Redis",
    open: () => cacheOf(about, kit),
  });
  const db = await openNeeded(boot, about, {
    name: "db",
    todo: "see dsn, its user and the server",
    open: (s) => dbOf(about, kit, s),
  });
  const mq = await openNeeded(boot, about, {
    name: "mq",
    todo: "see brokers and their log",
    open: () => mqOf(about, kit),
  });
  return { ...kit, cache, db, mq };
}

interface Store {
  check(signal: AbortSignal): Promise<Awaited<ReturnType<Checker["check"]>>>;
  close(): Promise<void>;
}
interface NeededStore<T extends Store> {
  readonly name: "cache" | "db" | "mq";
  readonly todo: string;
  readonly open: (signal: AbortSignal) => Promise<T>;
}

/** A store that says of itself that it is not well has not opened. */
async function openNeeded<T extends Store>(
  boot: Boot,
  { options, health }: About,
  { name, todo, open }: NeededStore<T>,
): Promise<T | null> {
  const need = options.stores[name];
  if (need === undefined) return null;
  const step: Step<T> = {
    ...PHASE_2,
    name,
    todo,
    open: async (signal) => {
      const store = await open(signal);
      const { status, message } = need === "required" ? await store.check(signal) : { status: "healthy", message: "" };
      if (status === "unhealthy") {
        await store.close();
        throw new InfraError({ component: name, type: "UNAVAILABLE", code: "NotThere", message, retryable: true });
      }
      health.add({ component: name, critical: need === "required", check: (asked) => store.check(asked) });
      return store;
    },
    close: (store) => store.close(),
    closeWithin: seconds(12),
  };
  return need === "required" ? boot.required(step) : boot.optional(step);
}

async function cacheOf({ seams, metrics }: About, { config, network, log }: Second): Promise<Cache> {
  const manager = mustHave(config.cache, "cache");
  const settings = manager.current();
  const { addr, tls, username, password } = settings;
  const cache = openCache(settings, {
    ...seams,
    metrics,
    log: log.module("cache"),
    dial: async (signal) =>
      network.connect(
        "cache",
        { address: addr, tls: await network.tls("cache", tls, { address: addr, alpn: [] }) },
        signal,
      ),
    credentials:
      password === undefined
        ? null
        : async () => ({ username: username ?? null, password: await network.secret("cache", password) }),
  });
  manager.subscribe({ name: "cache", commit: (next) => void cache.reload(next) });
  return cache;
}

async function dbOf(
  { seams, metrics }: About,
  { config, network, log }: Second,
  signal: AbortSignal,
): Promise<NonNullable<Kit["db"]>> {
  const manager = mustHave(config.db, "db");
  const settings = manager.current();
  const tls = await network.tls("db", settings.tls, { address: settings.addr, alpn: [] });
  const { clock, rng } = seams;
  const db = await openDb<Record<string, Record<string, unknown>>>(settings, {
    clock,
    rng,
    signal,
    metrics,
    log: log.module("db"),
    tls,
    secret: (reference) => network.secret("db", reference),
    dial: (address, ended) => network.connect("db", { address, tls: null }, ended),
  });
  manager.subscribe({ name: "db", commit: (next) => void db.reload(next) });
  return db;
}

async function mqOf({ options, seams, metrics }: About, { config, network, log }: Second): Promise<Mq> {
  const manager = mustHave(config.mq, "mq");
  const settings = manager.current();
  const { clock, rng } = seams;
  const mq = await openMq(settings, {
    clock,
    rng,
    service: options.service,
    instance: options.instance,
    metrics,
    log: log.module("mq"),
    tls: await network.tls("mq", settings.tls, { address: settings.brokers[0] ?? "", alpn: [] }),
    secret: (reference) => network.secret("mq", reference),
    trace: {
      current: () => logContext().trace_id ?? null,
      within: (trace_id, work) => withLogContext({ trace_id }, work),
    },
  });
  manager.subscribe({ name: "mq", commit: (next) => void mq.reload(next) });
  return mq;
}

function mustHave<T>(manager: T | null, component: string): T {
  if (manager !== null) return manager;
  throw new InfraError({
    component: "boot",
    type: "CONFIG",
    code: "NoSuchComponent",
    message: `${component} is not configured for this service; see the table of components`,
    retryable: false,
  });
}

function listenOf(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) };
}
