import { infraErrorOf } from "../../lib/infra-error.ts";
import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { CacheSettings } from "../config/cache-settings.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";
import type { Cache, CacheLock, CacheScript, CacheStats, ScriptDefinition, ScriptValue } from "./cache.ts";
import { CachedValues } from "./cached-values.ts";
import { cacheError } from "./cache-failures.ts";
import { keyNames } from "./cache-keys.ts";
import { cacheLock, type LockDeps, tryCacheLock } from "./cache-lock.ts";
import { INCREMENT } from "./cache-scripts.ts";
import { openSender, type Sender } from "./cache-sender.ts";
import { type Codec, count, openHashes, openSets, openSortedSets } from "./collections.ts";
import { CommandRunner } from "./command-runner.ts";
import { followInvalidations } from "./invalidation.ts";
import { LocalLayer } from "./local-layer.ts";
import type { RawValue } from "./redis-client.ts";
import { type Dial, login, type LoginDeps, type RedisCredentials } from "./redis-login.ts";
import { RedisPool } from "./redis-pool.ts";
import { decodeValue, encodeValue, frozen, LARGEST_VALUE } from "./value-codec.ts";

export interface CacheDeps {
  /** One guarded socket to the settings' `addr`, secured as they say. */
  readonly dial: Dial;
  /** Null where the settings name no password. */
  readonly credentials: (() => Promise<RedisCredentials>) | null;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics?: Metrics;
  readonly log?: Log;
  /** Used where the settings' `enableTracing` says so. */
  readonly tracer?: Tracer;
}

/** A whole hash or set in one answer. */
const REPLY_LIMITS = { bytes: LARGEST_VALUE * 2, elements: 200_000, unasked: false } as const;
const MESSAGE_LIMITS = { bytes: LARGEST_VALUE, elements: 200_000, unasked: true } as const;
const MOST_SCRIPTS = 256;

/** Looked at anew for each command or connection; the rest once, at the start. */
const LIVE: ReadonlySet<string> = new Set([
  "poolSize",
  "minIdleConns",
  "maxIdleConns",
  "connMaxIdleTime",
  "connMaxLifetime",
  "poolTimeout",
  "compression",
  "defaultTtl",
  "ttlJitter",
  "local",
  "slowThreshold",
] satisfies readonly (keyof CacheSettings)[]);
const isLive = (field: string): boolean => LIVE.has(field);

/** Connects in the background: it opens whether or not Redis is there, and {@link Cache.check} says which. */
export function openCache(settings: CacheSettings, deps: CacheDeps): Cache {
  return new RedisCache(settings, deps);
}

class RedisCache implements Cache {
  readonly hashes: Cache["hashes"];
  readonly sets: Cache["sets"];
  readonly sorted: Cache["sorted"];
  readonly #deps: CacheDeps;
  readonly #pool: RedisPool;
  readonly #runner: CommandRunner;
  readonly #sender: Sender;
  readonly #values: CachedValues;
  readonly #layer: LocalLayer;
  readonly #names: ReturnType<typeof keyNames>;
  readonly #scripts = new Map<string, string>();
  readonly #closed = new AbortController();
  #settings: CacheSettings;
  #following: AbortController | null = null;
  #followed: Promise<void> = Promise.resolve();

  constructor(settings: CacheSettings, deps: CacheDeps) {
    const { clock, rng } = deps;
    const metrics = settings.enableMetrics ? (deps.metrics ?? null) : null;
    const log = deps.log ?? null;
    const tracer = settings.enableTracing ? (deps.tracer ?? null) : null;
    this.#settings = settings;
    this.#deps = deps;
    this.#names = keyNames(settings.keyPrefix);
    const entering = loginOf(settings, deps);
    this.#pool = new RedisPool({
      connect: (signal) => login({ ...entering, limits: REPLY_LIMITS }, signal),
      clock,
      limits: settings,
    });
    const now = (): CacheSettings => this.#settings;
    this.#runner = new CommandRunner({ pool: this.#pool, settings: now, clock, rng, metrics, log, tracer });
    this.#sender = openSender({ runner: this.#runner, settings: now, rng });
    this.#layer = new LocalLayer(settings.local);
    const codec = codecOf(now);
    const layer = (): LocalLayer | null => (this.#settings.local.enabled ? this.#layer : null);
    this.#values = new CachedValues({
      sender: this.#sender,
      names: this.#names,
      codec,
      layer,
      clock,
      rng,
      metrics,
      log,
    });
    this.hashes = openHashes(this.#sender, codec);
    this.sets = openSets(this.#sender);
    this.sorted = openSortedSets(this.#sender);
    metrics?.onScrape(() => this.#fill(metrics));
    this.#follow();
  }

  get: Cache["get"] = (key, options) => this.#values.get(key, options);
  set: Cache["set"] = (key, value, options) => this.#values.set(key, value, options);
  delete: Cache["delete"] = (keys, options) => this.#values.delete(keys, options);
  getOrLoad: Cache["getOrLoad"] = async (key, load, options) => {
    const value = await this.#values.getOrLoad(key, load, options);
    return value === undefined ? undefined : frozen(value);
  };
  increment: Cache["increment"] = async (key, by, options) => {
    const args = [by, this.#sender.life(options)];
    const keys = [this.#names.value(key)];
    const call = { name: "INCRBY", lua: INCREMENT, keys, args, repeatable: false };
    const after = await this.#sender.script(call, options);
    this.#values.invalidated(key);
    return count(after);
  };

  script({ name, lua, repeatable }: ScriptDefinition): CacheScript {
    const known = this.#scripts.get(name);
    if ((known !== undefined && known !== lua) || (known === undefined && this.#scripts.size >= MOST_SCRIPTS))
      throw cacheError("ScriptClash", name);
    this.#scripts.set(name, lua);
    return {
      run: async (keys, args, options) => {
        const full = keys.map((key) => this.#names.value(key));
        const reply = await this.#sender.script({ name, lua, keys: full, args, repeatable }, options);
        for (const key of keys) this.#values.invalidated(key);
        return textsOf(reply);
      },
    };
  }

  lock = (name: string, ttl: Millis, signal: AbortSignal): Promise<CacheLock> =>
    cacheLock({ name, ttl, signal }, this.#locking());
  tryLock = (name: string, ttl: Millis, signal: AbortSignal): Promise<CacheLock | null> =>
    tryCacheLock({ name, ttl, signal }, this.#locking());

  stats(): CacheStats {
    const { enabled } = this.#settings.local;
    return {
      pool: this.#pool.stats(),
      local: { enabled, serving: this.#layer.serving, entries: this.#layer.size },
    };
  }

  reload(next: CacheSettings): Reloaded {
    const said = reloaded(this.#settings, next, isLive);
    const live = Object.fromEntries(Object.entries(next).filter(([field]) => isLive(field)));
    this.#settings = { ...this.#settings, ...live };
    this.#pool.resize(this.#settings);
    this.#layer.resize(this.#settings.local);
    this.#follow();
    return said;
  }

  async check(signal: AbortSignal): Promise<Health> {
    const { pool, local } = this.stats();
    const details = {
      open: pool.open,
      inUse: pool.inUse,
      waiting: pool.waiting,
      limit: pool.limit,
      local: local.entries,
    };
    try {
      const call = { name: "PING", key: "", repeatable: false, signal };
      await this.#runner.run({ ...call, send: (client) => client.sendRaw(["PING"]) });
    } catch (error) {
      return { status: "unhealthy", message: infraErrorOf("cache", error).message, details };
    }
    if (local.enabled && !local.serving)
      return {
        status: "degraded",
        message: "the local layer is off: Redis does not say what becomes invalid",
        details,
      };
    return { status: "healthy", message: "Redis answers", details };
  }

  async close(): Promise<void> {
    this.#closed.abort(cacheError("Closed", "cache"));
    this.#following?.abort();
    await Promise.all([this.#pool.close(), this.#followed]);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #locking(): LockDeps {
    const { clock, rng } = this.#deps;
    return {
      clock,
      rng,
      closed: this.#closed.signal,
      run: async ({ name, lua, lock }, args, signal) => {
        const keys = [this.#names.lock(lock)];
        return (
          count(await this.#sender.script({ name: `lock ${name}`, lua, keys, args, repeatable: true }, { signal })) ===
          1
        );
      },
    };
  }

  /** Starts or ends the line that tells what becomes invalid, as the settings now say. */
  #follow(): void {
    const { enabled } = this.#settings.local;
    if (!enabled || this.#closed.signal.aborted) {
      this.#following?.abort();
      this.#following = null;
      return;
    }
    if (this.#following !== null) return;
    const { clock, rng, log } = this.#deps;
    const stop = new AbortController();
    const entering = loginOf(this.#settings, this.#deps);
    // One after the other: the one that ends switches the layer off.
    const follow = (): Promise<void> =>
      followInvalidations(
        {
          connect: (signal) => login({ ...entering, limits: MESSAGE_LIMITS }, signal),
          prefix: this.#settings.keyPrefix,
          layer: this.#layer,
          onInvalid: (key) => this.#values.invalidated(key),
          clock,
          rng,
          log: log ?? null,
        },
        stop.signal,
      );
    this.#followed = this.#followed.then(follow);
    this.#following = stop;
  }

  #fill(metrics: Metrics): void {
    const { limit, idle, inUse, waiting } = this.#pool.stats();
    const component = "cache";
    metrics.set("infra_pool_limit", { component }, limit);
    metrics.set("infra_pool_connections", { component, state: "idle" }, idle);
    metrics.set("infra_pool_connections", { component, state: "used" }, inUse);
    metrics.set("infra_pool_waiting", { component }, waiting);
    metrics.set("infra_breaker_open", { component }, this.#runner.resting ? 1 : 0);
  }
}

const loginOf = (
  { db, dialTimeout }: CacheSettings,
  { dial, credentials, clock }: CacheDeps,
): Omit<LoginDeps, "limits"> => ({
  dial,
  credentials,
  db,
  dialTimeout,
  clock,
});

const codecOf = (settings: () => CacheSettings): Codec => ({
  encode: (value, at) => {
    const { enabled, above } = settings().compression;
    return encodeValue(value, enabled ? above : null, at);
  },
  decode: decodeValue,
});

function textsOf(reply: RawValue): ScriptValue {
  if (Buffer.isBuffer(reply)) return reply.toString();
  return Array.isArray(reply) ? (reply as readonly RawValue[]).map(textsOf) : (reply as number | null);
}
