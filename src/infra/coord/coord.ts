// coord: where processes agree: the configuration centre, who serves what, locks with a fence, instance numbers; on etcd.
// Nothing here knows what a configuration means, and no other folder speaks to etcd.
import type { Backoff } from "../../lib/backoff.ts";
import type { Health } from "../health/health.ts";
import type { Millis } from "../../lib/time.ts";

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** The store's revision at which this value was written. */
  readonly revision: number;
  /** 1 for the first value since the key was created. */
  readonly version: number;
  /** The stored bytes are no UTF-8: `value` shows them with U+FFFD and must not be used as a value. */
  readonly damaged?: true;
}

/** Keys and values as they were at one revision. */
export interface Listing {
  readonly items: readonly KeyValue[];
  readonly revision: number;
}

export type Change =
  (KeyValue & { readonly kind: "put" }) | { readonly kind: "delete"; readonly key: string; readonly revision: number };

/** All changes of one revision, in the order of the store. */
export interface ChangeSet {
  readonly revision: number;
  readonly changes: readonly Change[];
  /**
   * Null for what the store delivered as it happened. Else: history up to {@link revision} was compacted away, or the store was
   * set back to an older state (then `revision` is the smaller one), and `changes` is the difference between what this watch had
   * delivered up to `since` and what stands now.
   */
  readonly compacted: { readonly since: number } | null;
}

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** What the caller knows already; changes after its revision are delivered. Without it, everything that stands is a put. */
  readonly from?: Listing;
  /** Told each time the connection is lost or taken up again; `since` is monotonic. */
  readonly onLink?: (link: WatchLink) => void;
}
export type WatchLink = { readonly up: true } | { readonly up: false; readonly cause: string };

export type Put = { readonly key: string; readonly value: string };

/** One transaction: all of it, or nothing. */
export interface Transaction {
  /** Revision at which each key must stand; 0: the key must not exist. */
  readonly expect: Readonly<Record<string, number>>;
  readonly put: readonly Put[];
  readonly delete: readonly string[];
}
export type Committed =
  | { readonly ok: true; readonly revision: number }
  /** What stands under each key of `expect`; null where nothing does. */
  | { readonly ok: false; readonly found: Readonly<Record<string, KeyValue | null>> };

/** Operations that one transaction may hold: etcd's own default (`--max-txn-ops`). */
export const MOST_OPERATIONS = 128;

/** The configuration centre. Every call is linearizable, bounded by the settings' timeout and rejects with InfraError only. */
export interface Centre {
  get(key: string, signal?: AbortSignal): Promise<KeyValue | null>;
  /** The key as it was at the revision. @throws InfraError NOT_FOUND `Compacted` where history does not reach back that far. */
  getAt(key: string, revision: number, signal?: AbortSignal): Promise<KeyValue | null>;
  /** Everything below the prefix, in the order of the keys, read in pages at one revision. */
  list(prefix: string, signal?: AbortSignal): Promise<Listing>;
  put(key: string, value: string, signal?: AbortSignal): Promise<number>;
  /** Whether there was something to delete. */
  delete(key: string, signal?: AbortSignal): Promise<boolean>;
  /** Writes (or, with null, deletes) only if the key still stands at the revision; 0: only if it does not exist. */
  compareAndSet(key: string, expected: number, value: string | null, signal?: AbortSignal): Promise<Committed>;
  /** @throws InfraError VALIDATION `TooManyOperations` for more than {@link MOST_OPERATIONS}. */
  commit(transaction: Transaction, signal?: AbortSignal): Promise<Committed>;
  /**
   * Every change of the key (or, for a prefix ending in `/`, of what lies below) once and in order, whatever happens to the
   * connection. Ends with the signal only; while there is no connection it waits, and says so through `onLink`.
   */
  watch(range: string, options: WatchOptions): AsyncIterable<ChangeSet>;
}

export interface Instance {
  readonly service: string;
  readonly id: string;
  /** `host:port` */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Registration extends AsyncDisposable {
  readonly instance: Instance;
  /** Whether the registry shows it now, as far as we know. */
  readonly standing: boolean;
  /** Deregisters at once. May be called twice. */
  close(): Promise<void>;
}

export interface Discovery extends AsyncDisposable {
  /** The instances as last known, sorted by id; never waits. */
  current(): readonly Instance[];
  /** Round robin; null where there is none. */
  next(): Instance | null;
  /** Every later state of the list. */
  changes(signal: AbortSignal): AsyncIterable<readonly Instance[]>;
  close(): Promise<void>;
}

export interface Lock extends AsyncDisposable {
  readonly name: string;
  /** Grows from holder to holder: what is written under the lock carries it, and the store refuses a smaller one. */
  readonly fence: number;
  /** Aborted before the lease can end, so before anybody else can hold the lock. */
  readonly lost: AbortSignal;
  /** Whether the lease can still be ours, by the monotonic clock: also right after the process was stopped for a while. */
  held(): boolean;
  release(): Promise<void>;
}

export interface InstanceId extends AsyncDisposable {
  /** The lowest number, from 0, that no living process of the group holds. */
  readonly id: number;
  /** Aborted before anybody else can get the number. */
  readonly lost: AbortSignal;
  held(): boolean;
  release(): Promise<void>;
}

/** What bounds single calls. */
export interface CallLimits {
  /** Of one call, all its tries included. */
  readonly timeout: Millis;
  /** A try asks every address once; further ones after waits with full jitter. */
  readonly retry: Backoff & { readonly maxRetries: number };
}

export interface Coord extends AsyncDisposable {
  readonly centre: Centre;
  /** The signal ends the first showing; later on the registration lives until it is closed. */
  register(instance: Instance, ttl: Millis, signal?: AbortSignal): Promise<Registration>;
  discover(service: string, signal: AbortSignal): Promise<Discovery>;
  /** Waits its turn. @throws InfraError VALIDATION `LeaseTooShort` for a ttl under 1 s. */
  acquire(name: string, ttl: Millis, signal: AbortSignal): Promise<Lock>;
  /** Null where somebody else holds it. */
  tryAcquire(name: string, ttl: Millis, signal: AbortSignal): Promise<Lock | null>;
  instanceId(group: string, ttl: Millis, signal: AbortSignal): Promise<InstanceId>;
  check(signal: AbortSignal): Promise<Health>;
  /** In force from the next call on. */
  limit(limits: CallLimits): void;
  close(): Promise<void>;
}
