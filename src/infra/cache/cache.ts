import type { Json } from "../../lib/json.ts";
import type { Reloaded } from "../../lib/reloaded.ts";
import type { Millis } from "../../lib/time.ts";
import type { CacheSettings } from "../config/cache-settings.ts";
import type { Health } from "../health/health.ts";
import type { PoolStats } from "./redis-pool.ts";

/** 1 to 512 characters without controls, not beginning with `~`; the settings' `keyPrefix` comes before it. */
export type CacheKey = string;

export interface ReadOptions {
  readonly signal?: AbortSignal;
}
export interface WriteOptions extends ReadOptions {
  /** Life of the value at most; a random share of it, `ttlJitter`, is taken off. Left out, `defaultTtl`. */
  readonly ttl?: Millis;
}

/**
 * Redis as a cache: nothing in it may be the only copy. Values are JSON; every key has a life. All calls are bounded and reject
 * with InfraError of component `cache`, or with the signal's reason.
 */
export interface Cache extends AsyncDisposable {
  /** The value, frozen; undefined where there is none. */
  get(key: CacheKey, options?: ReadOptions): Promise<Json | undefined>;
  set(key: CacheKey, value: Json, options?: WriteOptions): Promise<void>;
  /** How many of the keys held something. After this, no load that began before it can store what it found. */
  delete(keys: readonly CacheKey[], options?: ReadOptions): Promise<number>;
  /**
   * Cache-aside: what is stored, else what `load` finds, which is stored. Callers of one key at once share one load. A value
   * that was loaded before the key was deleted or set is not stored after it, by whichever process. While Redis fails, every
   * call loads. `load` gives undefined for what does not exist: that is not stored.
   */
  getOrLoad(key: CacheKey, load: Load, options?: WriteOptions): Promise<Json | undefined>;
  /** The number after it; a key that holds none begins at 0. */
  increment(key: CacheKey, by: number, options?: WriteOptions): Promise<number>;
  readonly hashes: Hashes;
  readonly sets: Sets;
  readonly sorted: SortedSets;
  /** Declares a script once; run by digest, loaded where Redis has forgotten it. @throws InfraError `ScriptClash` */
  script(definition: ScriptDefinition): CacheScript;
  /** Waits its turn. For saving work: who must be alone for correctness takes a lock of `coord`, which has a fence. */
  lock(name: string, ttl: Millis, signal: AbortSignal): Promise<CacheLock>;
  /** Null where somebody else holds it. */
  tryLock(name: string, ttl: Millis, signal: AbortSignal): Promise<CacheLock | null>;
  stats(): CacheStats;
  /** Puts in force what can be changed while it runs. */
  reload(next: CacheSettings): Reloaded;
  check(signal: AbortSignal): Promise<Health>;
  /** Ends every connection; calls under way reject. May be called twice. */
  close(): Promise<void>;
}

export type Load = (signal: AbortSignal) => Promise<Json | undefined>;

/** Fields with JSON values. Each write begins the key's life anew. */
export interface Hashes {
  get(key: CacheKey, field: string, options?: ReadOptions): Promise<Json | undefined>;
  all(key: CacheKey, options?: ReadOptions): Promise<ReadonlyMap<string, Json>>;
  set(key: CacheKey, fields: Readonly<Record<string, Json>>, options?: WriteOptions): Promise<void>;
  /** How many of the fields were there. */
  delete(key: CacheKey, fields: readonly string[], options?: ReadOptions): Promise<number>;
}

/** Members are texts. Each addition begins the key's life anew. */
export interface Sets {
  /** How many were new. */
  add(key: CacheKey, members: readonly string[], options?: WriteOptions): Promise<number>;
  remove(key: CacheKey, members: readonly string[], options?: ReadOptions): Promise<number>;
  has(key: CacheKey, member: string, options?: ReadOptions): Promise<boolean>;
  members(key: CacheKey, options?: ReadOptions): Promise<readonly string[]>;
  size(key: CacheKey, options?: ReadOptions): Promise<number>;
}

export interface Scored {
  readonly member: string;
  /** Finite. */
  readonly score: number;
}
/** Members in the order of their scores. Each addition begins the key's life anew. */
export interface SortedSets {
  /** How many were new; others get the new score. */
  add(key: CacheKey, members: readonly Scored[], options?: WriteOptions): Promise<number>;
  remove(key: CacheKey, members: readonly string[], options?: ReadOptions): Promise<number>;
  score(key: CacheKey, member: string, options?: ReadOptions): Promise<number | undefined>;
  /** By place, both ends included; -1 is the last. */
  range(
    key: CacheKey,
    places: { readonly from: number; readonly to: number },
    options?: ReadOptions,
  ): Promise<readonly Scored[]>;
  /** Drops what has a score up to this one; how many. */
  removeUpTo(key: CacheKey, score: number, options?: ReadOptions): Promise<number>;
  size(key: CacheKey, options?: ReadOptions): Promise<number>;
}

export interface ScriptDefinition {
  readonly name: string;
  readonly lua: string;
  /** Whether running it twice is the same as once: only then it is sent again when its answer was lost. */
  readonly repeatable: boolean;
}
export type ScriptValue = string | number | null | readonly ScriptValue[];
export interface CacheScript {
  run(keys: readonly CacheKey[], args: readonly (string | number)[], options?: ReadOptions): Promise<ScriptValue>;
}

export interface CacheLock extends AsyncDisposable {
  readonly name: string;
  /** Aborted before the lock can have run out. */
  readonly lost: AbortSignal;
  /** Whether it can still be ours, by the monotonic clock. */
  held(): boolean;
  /** At least another `ttl` from now; false where it is no longer ours. */
  extend(ttl: Millis, signal: AbortSignal): Promise<boolean>;
  /** Deletes it if it is still ours; whether it was. May be called twice. */
  release(): Promise<boolean>;
}

export interface CacheStats {
  readonly pool: PoolStats;
  readonly local: { readonly enabled: boolean; readonly serving: boolean; readonly entries: number };
}
