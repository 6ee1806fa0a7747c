import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { CacheLock } from "./cache.ts";
import { cacheError } from "./cache-failures.ts";
import { EXTEND_LOCK, RELEASE_LOCK, TAKE_LOCK } from "./cache-scripts.ts";

export interface LockDeps {
  /** Runs one of the lock's scripts on the key of this name; whether it answered 1. */
  readonly run: (script: LockScript, args: readonly (string | number)[], signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Aborted when the cache is closed. */
  readonly closed: AbortSignal;
}
export interface LockScript {
  readonly name: string;
  readonly lua: string;
  readonly lock: string;
}
interface Asked {
  readonly name: string;
  readonly ttl: Millis;
  readonly signal: AbortSignal;
}

const SHORTEST = millisOf(100);
/** Of the ttl, kept back: Redis may count a little faster than we do. */
const MARGIN = 0.1;
const ASK_AGAIN: Backoff = { initial: millisOf(20), factor: 1.5, max: seconds(1) };
const RELEASE_WITHIN = seconds(5);

/** Null where somebody else holds it. */
export async function tryCacheLock({ name, ttl, signal }: Asked, deps: LockDeps): Promise<CacheLock | null> {
  if (ttl < SHORTEST) throw cacheError("LockTooShort", name);
  const token = deps.rng.id();
  const since = deps.clock.monotonic();
  const taken = await deps.run({ name: "take", lua: TAKE_LOCK, lock: name }, [token, ttl], signal);
  return taken ? new HeldLock({ name, token, until: endOf(since, ttl) }, deps) : null;
}

/** Waits until the lock is free, asking with growing, jittered waits of a second at most. */
export async function cacheLock(asked: Asked, deps: LockDeps): Promise<CacheLock> {
  for (let refused = 1; ; refused += 1) {
    const lock = await tryCacheLock(asked, deps);
    if (lock !== null) return lock;
    await deps.clock.sleep(backoffAfter(refused, ASK_AGAIN, deps.rng.float()), asked.signal);
  }
}

/** From before it was sent: the lock may have been given at any moment since. */
const endOf = (since: Millis, ttl: Millis): Millis => millisOf(since + ttl * (1 - MARGIN));

class HeldLock implements CacheLock {
  readonly name: string;
  readonly #token: string;
  readonly #deps: LockDeps;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();
  #until: Millis;

  constructor({ name, token, until }: { name: string; token: string; until: Millis }, deps: LockDeps) {
    [this.name, this.#token, this.#until, this.#deps] = [name, token, until, deps];
    void this.#watch();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  held(): boolean {
    return !this.#lost.signal.aborted && !this.#released.signal.aborted && this.#deps.clock.monotonic() < this.#until;
  }

  async extend(ttl: Millis, signal: AbortSignal): Promise<boolean> {
    if (ttl < SHORTEST) throw cacheError("LockTooShort", this.name);
    if (!this.held()) return false;
    const since = this.#deps.clock.monotonic();
    const ours = await this.#run("extend", EXTEND_LOCK, { args: [ttl], signal });
    if (ours) this.#until = millisOf(Math.max(this.#until, endOf(since, ttl)));
    else this.#lose("it was no longer ours");
    return ours && this.held();
  }

  async release(): Promise<boolean> {
    if (this.#released.signal.aborted) return false;
    this.#released.abort();
    const { clock, closed } = this.#deps;
    // Where it cannot be said, it runs out by itself.
    return withDeadline({ clock, timeout: RELEASE_WITHIN, signal: closed }, (ended) =>
      this.#run("release", RELEASE_LOCK, { args: [], signal: ended }),
    ).catch(() => false);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  #run(
    name: string,
    lua: string,
    { args, signal }: { readonly args: readonly number[]; readonly signal: AbortSignal },
  ): Promise<boolean> {
    return this.#deps.run({ name, lua, lock: this.name }, [this.#token, ...args], signal);
  }

  #lose(why: string): void {
    if (!this.#released.signal.aborted) this.#lost.abort(new Error(`lock ${this.name}: ${why}`));
  }

  async #watch(): Promise<void> {
    const { clock, closed } = this.#deps;
    const ended = AbortSignal.any([this.#released.signal, this.#lost.signal, closed]);
    while (!ended.aborted && clock.monotonic() < this.#until) {
      await clock.sleep(millisOf(this.#until - clock.monotonic()), ended).catch(() => undefined);
    }
    this.#lose(closed.aborted ? "the cache was closed" : "its time ran out");
  }
}
