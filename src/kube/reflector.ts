import { backoffAfter } from "../lib/backoff.ts";
import { untilAborted } from "../lib/deadline.ts";
import type { Clock, Rng } from "../lib/seams.ts";
import { never } from "../lib/never.ts";
import { type Millis, millisOf, minutes, seconds } from "../lib/time.ts";
import type { KubeClient } from "./client.ts";
import { fromStatusObject, isGone, isInvalid, KubeError } from "./errors.ts";
import { openTurns, type Turns } from "./list-decoder.ts";
import type { KubeLog } from "./log.ts";
import { Mirror, type ReflectorHandlers, type Verdict } from "./mirror.ts";
import { nameOf, type Resource } from "./resource.ts";
import type { Store } from "./store.ts";
import { openLineCutter } from "../lib/line-cutter.ts";
import { decodeWatchLine } from "./watch-lines.ts";

export interface ReflectorLimits {
  /** kube-apiserver sends a bookmark about once a minute; a stream without a byte for this long is dead. */
  readonly silence: Millis;
  /** L4: with every event lost, a change is seen this long after it, plus one list. */
  readonly relistEvery: Millis;
  /** Longest wait before the next attempt. */
  readonly maxBackoff: Millis;
  readonly lineBytes: number;
}

export const REFLECTOR_LIMITS: ReflectorLimits = {
  silence: seconds(90),
  relistEvery: minutes(5),
  maxBackoff: seconds(30),
  lineBytes: 4 * 1024 * 1024,
};

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly resource: Resource;
  /** null: all namespaces. */
  readonly namespace: string | null;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly store: Store;
  readonly on: ReflectorHandlers;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: KubeLog;
  readonly limits?: Partial<ReflectorLimits>;
}

/** Keeps a store equal to what a selection of the API server holds, for ever, whatever happens to connections and servers. */
export interface Reflector {
  readonly resource: Resource;
  readonly isSynced: boolean;
  /** Resolves when the first list is complete. @throws the signal's reason, or Error when the reflector is closed before. */
  whenSynced(signal: AbortSignal): Promise<void>;
  /** Time since the watch last gave a sign of life: metric `watch_age_seconds`. */
  age(): Millis;
  readonly counts: ReflectorCounts;
  close(): Promise<void>;
}

export interface ReflectorCounts {
  /** Events and list items that were older than what was known. */
  readonly stale: number;
  /** Lines that could not be decoded; each led to a new list. */
  readonly unreadable: number;
  /** Attempts that ended with an error. */
  readonly failures: number;
  /** Periodic lists that were completed. */
  readonly relists: number;
}

export const openReflector = (options: ReflectorOptions): Reflector => new RunningReflector(options);

/** An attempt that lived this long counts as good: the next one waits as if nothing had failed. */
const HEALTHY_AFTER = seconds(5);
const FIRST_BACKOFF = seconds(1);
/** The server ends a watch after this, plus up to as much again, so that connections spread over API servers. */
const WATCH_ENDS_AFTER = minutes(5);

/** The watch cannot go on from where it is. */
class BrokenWatch extends Error {
  override readonly name = "BrokenWatch";
}

class RunningReflector implements Reflector {
  readonly #options: ReflectorOptions;
  readonly #limits: ReflectorLimits;
  readonly #on: ReflectorHandlers;
  readonly #mirror: Mirror;
  readonly #stop = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  readonly #counts = { unreadable: 0, failures: 0, relists: 0 };
  readonly #loops: Promise<unknown>;
  #isSynced = false;
  /** The connection was lost: whoever answers next may have another history. */
  #isLost = false;
  /** Streaming lists: until the server refuses one. */
  #mayStream = true;
  #attempt = new AbortController();
  #lastLife: Millis;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#limits = { ...REFLECTOR_LIMITS, ...options.limits };
    this.#on = guarded(options);
    this.#mirror = new Mirror(options.store, this.#on);
    this.#lastLife = options.clock.monotonic();
    this.#synced.promise.catch(() => undefined); // nobody need be waiting
    this.#loops = Promise.all([this.#follow(), this.#relistForEver()]);
  }

  get resource(): Resource {
    return this.#options.resource;
  }
  get isSynced(): boolean {
    return this.#isSynced;
  }
  get counts(): ReflectorCounts {
    return { ...this.#counts, stale: this.#mirror.stale };
  }

  whenSynced(signal: AbortSignal): Promise<void> {
    return untilAborted(this.#synced.promise, signal);
  }

  age(): Millis {
    return millisOf(this.#options.clock.monotonic() - this.#lastLife);
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("the reflector is closed"));
    this.#attempt.abort(this.#stop.signal.reason);
    this.#synced.reject(this.#stop.signal.reason);
    await this.#loops;
  }

  /** List and watch, again and again. */
  async #follow(): Promise<void> {
    const { clock } = this.#options;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const since = clock.monotonic();
      this.#attempt = new AbortController();
      const error = await this.#listAndWatch(this.#attempt.signal).then(
        () => null,
        (reason: unknown) => reason,
      );
      if (this.#stop.signal.aborted) return;
      const isHealthy = clock.monotonic() - since >= HEALTHY_AFTER;
      failures = isHealthy ? 0 : failures + 1;
      if (error !== null) this.#report(error);
      this.#isLost ||= error !== null && isLoss(error);
      if (error !== null || !isHealthy) await this.#pause(Math.max(failures, 1), error);
    }
  }

  async #listAndWatch(signal: AbortSignal): Promise<void> {
    if (this.#mirror.cursor === null && !this.#mayStream) await this.#listPages(signal);
    try {
      await this.#watch(signal);
    } catch (error) {
      // 410 as status, as ERROR event, or a line that nobody can read: what was missed is unknown.
      if (isGone(error) || error instanceof BrokenWatch) this.#mirror.restart();
      throw error;
    }
  }

  async #listPages(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const turns = openTurns(this.#options.clock);
    this.#mirror.restart();
    let version = "0";
    for await (const page of client.listAll(resource, { ...this.#selection, signal })) {
      if (page.restarted) this.#mirror.restart();
      for (const item of page.items) {
        this.#mirror.list(item);
        await turns();
      }
      version = page.resourceVersion;
      this.#live();
    }
    await this.#endList(version, turns);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const { client, resource, rng } = this.#options;
    const { cursor } = this.#mirror;
    if (cursor === null) this.#mirror.restart();
    const endsAfter = millisOf(WATCH_ENDS_AFTER * (1 + rng.float()));
    let silence: Promise<void> | null = null;
    try {
      if (cursor !== null && this.#isLost) await this.#askHistory(signal);
      const { chunks } = await client.watch(resource, {
        ...this.#selection,
        resourceVersion: cursor,
        endsAfter,
        signal,
      });
      this.#live();
      silence = this.#endWhenSilent(this.#attempt);
      await this.#read(chunks, signal);
    } catch (error) {
      if (cursor === null && isInvalid(error)) this.#mayStream = false;
      throw signal.aborted ? signal.reason : error;
    } finally {
      this.#attempt.abort();
      await silence;
    }
  }

  /** A watch from a version that a restored API server does not have yet is silent, and not refused, until it has (S30). */
  async #askHistory(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const { resourceVersion } = await client.list(resource, { ...this.#selection, limit: 1, signal });
    const verdict = this.#mirror.endQuestion(resourceVersion);
    if (verdict !== "good") throw new BrokenWatch(complaintOf(verdict, resourceVersion));
    this.#isLost = false;
  }

  async #read(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const cutter = openLineCutter(this.#limits.lineBytes);
    const turns = openTurns(this.#options.clock);
    for await (const chunk of chunks) {
      this.#live();
      try {
        for (const line of cutter.push(chunk)) {
          await (this.#take(line, turns) ?? turns());
          signal.throwIfAborted();
        }
      } catch (error) {
        throw error instanceof RangeError ? this.#unreadable(error.message) : error;
      }
    }
  }

  /** A promise where the line ends the first list, which takes its time. */
  #take(line: Uint8Array, turns: Turns): Promise<void> | undefined {
    const event = decodeWatchLine(line);
    switch (event.type) {
      case "upsert":
        this.#mirror.upsert(event.object);
        return undefined;
      case "delete":
        this.#mirror.remove(event.object);
        return undefined;
      case "bookmark":
        return this.#bookmark(event, turns);
      case "error":
        throw fromStatusObject({ verb: "watch", resource: nameOf(this.resource), target: "" }, event.status);
      case "unreadable":
        throw this.#unreadable(event.reason);
      default:
        return never(event);
    }
  }

  #bookmark(mark: { resourceVersion: string; isInitialEnd: boolean }, turns: Turns): Promise<void> | undefined {
    if (this.#mirror.cursor === null) {
      if (mark.isInitialEnd) return this.#endList(mark.resourceVersion, turns);
      this.#mayStream = false;
      throw new BrokenWatch("the server does not mark the end of the initial events");
    }
    this.#mirror.bookmark(mark.resourceVersion);
    return undefined;
  }

  async #endList(version: string, turns: Turns): Promise<void> {
    const verdict = await this.#mirror.endList(version, turns);
    if (verdict !== "good") throw new BrokenWatch(complaintOf(verdict, version));
    this.#isLost = false;
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#synced.resolve();
    this.#on.synced();
  }

  #unreadable(reason: string): BrokenWatch {
    this.#counts.unreadable += 1;
    return new BrokenWatch(`a line cannot be read (${reason})`);
  }

  /** Aborts the attempt once nothing came for too long; ends with it. */
  async #endWhenSilent(attempt: AbortController): Promise<void> {
    const { silence } = this.#limits;
    while (!attempt.signal.aborted) {
      const left = silence - this.age();
      if (left <= 0) attempt.abort(this.#silent(`no byte for ${silence / 1000} s`));
      else await this.#options.clock.sleep(millisOf(left), attempt.signal).catch(() => undefined);
    }
  }

  /** A streaming list that falls silent before its end would do so again: the next one comes in pages. */
  #silent(what: string): Error {
    if (this.#mirror.cursor !== null) return new Error(what);
    this.#mayStream = false;
    return new BrokenWatch(`the server does not mark the end of the initial events: ${what}`);
  }

  /** Beside the watch, which goes on: so that no lost event is lost for longer than this (L4). */
  async #relistForEver(): Promise<void> {
    const { signal } = this.#stop;
    const { clock, rng } = this.#options;
    try {
      await this.#synced.promise;
      for (;;) {
        await clock.sleep(millisOf(this.#limits.relistEvery * (1 - rng.float() / 10)), signal);
        for (let failures = 1; !(await this.#relist(signal)); failures += 1) await this.#pause(failures, null);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** False: it must be tried again. */
  async #relist(signal: AbortSignal): Promise<boolean> {
    const { client, resource, clock } = this.#options;
    const turns = openTurns(clock);
    try {
      this.#mirror.beginRelist();
      let version = "0";
      for await (const page of client.listAll(resource, { ...this.#selection, signal })) {
        if (page.restarted) return false;
        for (const item of page.items) {
          this.#mirror.relist(item);
          await turns();
        }
        version = page.resourceVersion;
      }
      const verdict = await this.#mirror.endRelist(version, turns);
      if (verdict === "rewound") this.#attempt.abort(new BrokenWatch(complaintOf(verdict, version)));
      this.#counts.relists += 1;
      return verdict !== "doubtful";
    } catch (error) {
      if (!signal.aborted) this.#report(error);
      return false;
    } finally {
      this.#mirror.abandonRelist();
    }
  }

  async #pause(failures: number, error: unknown): Promise<void> {
    const { clock, rng } = this.#options;
    const policy = { initial: FIRST_BACKOFF, factor: 2, max: this.#limits.maxBackoff };
    const asked = error instanceof KubeError ? (error.retryAfter ?? 0) : 0;
    const after = Math.min(Math.max(backoffAfter(failures, policy, rng.float()), asked), this.#limits.maxBackoff);
    await clock.sleep(millisOf(after), this.#stop.signal).catch(() => undefined);
  }

  #report(error: unknown): void {
    this.#counts.failures += 1;
    const { resource, namespace, log } = this.#options;
    const message = error instanceof Error ? error.message : "unknown";
    log.warn(
      { resource: nameOf(resource), namespace, age: this.age() },
      `the watch ended (${message}); it is begun again`,
    );
  }

  #live(): void {
    this.#lastLife = this.#options.clock.monotonic();
  }

  get #selection(): { namespace: string | null; labelSelector?: string; fieldSelector?: string } {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return {
      namespace,
      ...(labelSelector === undefined ? {} : { labelSelector }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    };
  }
}

/** Nobody answered, or somebody on the way: it need not be the same API server when it does. */
const isLoss = (error: unknown): boolean =>
  !(error instanceof KubeError) || error.status === null || error.status >= 500;

const complaintOf = (verdict: Verdict, version: string): string =>
  verdict === "rewound" ? `history went back to ${version}` : `the list of ${version} is older than what is known`;

/** A handler that throws is a bug of its own; it must not look like a broken watch. */
function guarded({ on, log, resource }: ReflectorOptions): ReflectorHandlers {
  const safely =
    <A extends readonly unknown[]>(name: string, run: (...args: A) => void) =>
    (...args: A): void => {
      try {
        run(...args);
      } catch (error) {
        log.error(
          { resource: nameOf(resource), handler: name, error },
          `a handler of the cache failed: ${String(error)}`,
        );
      }
    };
  return {
    upsert: safely("upsert", (...args) => on.upsert(...args)),
    gone: safely("gone", (...args) => on.gone(...args)),
    synced: safely("synced", () => on.synced()),
    rewound: safely("rewound", (...args) => on.rewound(...args)),
  };
}
