import { InfraError } from "../../lib/infra-error.ts";
import { seconds } from "../../lib/time.ts";
import type { Cache } from "../cache/cache.ts";
import { openCache } from "../cache/open-cache.ts";
import { openDb } from "../db/open-db.ts";
import type { Checker } from "../health/health.ts";
import type { Mq } from "../mq/mq.ts";
import { openMq } from "../mq/open-mq.ts";
import type { Boot, Step } from "./boot-all.ts";
import { type About, type Kit, PHASE_2, type Second } from "./kit.ts";

/** Cache, database and queue: those that the service uses. */
export async function openStores(boot: Boot, about: About, kit: Second): Promise<Kit> {
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

async function cacheOf({ seams, metrics, tracing }: About, { config, network, log }: Second): Promise<Cache> {
  const manager = mustHave(config.cache, "cache");
  const settings = manager.current();
  const { addr, tls, username, password } = settings;
  const cache = openCache(settings, {
    ...seams,
    metrics,
    tracer: tracing.tracer,
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
  { seams, metrics, tracing }: About,
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
    tracer: tracing.tracer,
    log: log.module("db"),
    tls,
    secret: (reference) => network.secret("db", reference),
    dial: (address, ended) => network.connect("db", { address, tls: null }, ended),
  });
  manager.subscribe({ name: "db", commit: (next) => void db.reload(next) });
  return db;
}

async function mqOf({ options, seams, metrics, tracing }: About, { config, network, log }: Second): Promise<Mq> {
  const manager = mustHave(config.mq, "mq");
  const settings = manager.current();
  const { clock, rng } = seams;
  const mq = await openMq(settings, {
    clock,
    rng,
    service: options.service,
    instance: options.instance,
    metrics,
    tracer: tracing.tracer,
    log: log.module("mq"),
    tls: await network.tls("mq", settings.tls, { address: settings.brokers[0] ?? "", alpn: [] }),
    secret: (reference) => network.secret("mq", reference),
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
