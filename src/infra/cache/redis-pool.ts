import { withDeadline } from "../../lib/deadline.ts";
import type { Clock } from "../../lib/seams.ts";
import { Slots } from "../../lib/slots.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import { cacheError } from "./cache-failures.ts";
import type { RedisClient } from "./redis-client.ts";

/** All of it may change while the pool is in use. */
export interface PoolLimits {
  /** Connections at most, idle ones and those being opened included. */
  readonly poolSize: number;
  readonly minIdleConns: number;
  readonly maxIdleConns: number;
  readonly connMaxIdleTime: Millis;
  readonly connMaxLifetime: Millis;
  readonly poolTimeout: Millis;
}

export interface PoolStats {
  readonly limit: number;
  readonly open: number;
  readonly idle: number;
  readonly inUse: number;
  readonly waiting: number;
}

export interface PoolDeps {
  /** A connection that is logged in. @throws InfraError */
  readonly connect: (signal: AbortSignal) => Promise<RedisClient>;
  readonly clock: Clock;
  readonly limits: PoolLimits;
}

/** Callers that may wait for a connection; more are refused at once. */
const MOST_WAITING = 10_000;
const SWEEP_EVERY = seconds(1);

interface Pooled {
  readonly client: RedisClient;
  readonly bornAt: Millis;
  idleSince: Millis;
}

/**
 * Connections for exclusive use, one command at a time on each. Never more than `poolSize` exist: whoever holds a slot has a
 * connection or opens one, and idle ones are used before another is opened.
 */
export class RedisPool {
  readonly #deps: PoolDeps;
  readonly #slots: Slots;
  #limits: PoolLimits;
  /** The one used last is at the end and is used next, so that the others can age. */
  #idle: Pooled[] = [];
  readonly #busy = new Set<RedisClient>();
  readonly #closed = new AbortController();
  readonly #keeping: Promise<void>;

  constructor(deps: PoolDeps) {
    this.#deps = deps;
    this.#limits = deps.limits;
    this.#slots = new Slots(deps.limits.poolSize, MOST_WAITING);
    this.#keeping = this.#keep();
  }

  stats(): PoolStats {
    const [held, idle] = [this.#slots.held, this.#idle.length];
    return { limit: this.#limits.poolSize, open: held + idle, idle, inUse: held, waiting: this.#slots.waiting };
  }

  /** Takes force at once; connections in use beyond a smaller size end when they are given back. */
  resize(limits: PoolLimits): void {
    this.#limits = limits;
    this.#slots.resize(limits.poolSize);
    this.#sweep();
  }

  /** Runs `work` with a connection that nobody else uses. @throws InfraError where there is none, or what `work` throws. */
  async use<T>(at: string, signal: AbortSignal, work: (client: RedisClient) => Promise<T>): Promise<T> {
    const give = await this.#slot(at, signal);
    try {
      const pooled = this.#takeIdle() ?? (await this.#open(signal));
      this.#busy.add(pooled.client);
      try {
        return await work(pooled.client);
      } finally {
        this.#busy.delete(pooled.client);
        this.#giveBack(pooled);
      }
    } finally {
      give();
    }
  }

  /** Ends every connection, those in use too: whoever waits for an answer learns that it is lost. */
  async close(): Promise<void> {
    this.#closed.abort(cacheError("Closed", "pool"));
    for (const client of this.#busy) client.destroy();
    for (const { client } of this.#idle.splice(0)) client.destroy();
    await this.#keeping;
  }

  async #slot(at: string, signal: AbortSignal): Promise<() => void> {
    const { clock } = this.#deps;
    this.#mustBeOpen(at);
    const either = AbortSignal.any([signal, this.#closed.signal]);
    try {
      const bound = { clock, timeout: this.#limits.poolTimeout, signal: either };
      return this.#slots.tryTake() ?? (await withDeadline(bound, (ended) => this.#slots.take(ended)));
    } catch (error) {
      this.#mustBeOpen(at);
      signal.throwIfAborted();
      throw cacheError("PoolExhausted", at, error);
    }
  }

  #mustBeOpen(at: string): void {
    if (this.#closed.signal.aborted) throw cacheError("Closed", at);
  }

  #takeIdle(): Pooled | null {
    for (let found = this.#idle.pop(); found !== undefined; found = this.#idle.pop()) {
      if (found.client.alive) return found;
      found.client.destroy();
    }
    return null;
  }

  async #open(signal: AbortSignal): Promise<Pooled> {
    const client = await this.#deps.connect(AbortSignal.any([signal, this.#closed.signal]));
    if (this.#closed.signal.aborted) {
      client.destroy();
      throw cacheError("Closed", "connect");
    }
    const now = this.#deps.clock.monotonic();
    return { client, bornAt: now, idleSince: now };
  }

  /** Called while the slot is still held, so the connection counts until it is idle or gone. */
  #giveBack(pooled: Pooled): void {
    pooled.idleSince = this.#deps.clock.monotonic();
    const { poolSize, maxIdleConns } = this.#limits;
    const shrunk = this.#slots.held + this.#idle.length > poolSize;
    const spare = this.#idle.length >= maxIdleConns && this.#slots.waiting === 0;
    if (this.#closed.signal.aborted || shrunk || spare || !this.#fresh(pooled)) pooled.client.destroy();
    else this.#idle.push(pooled);
  }

  #fresh({ client, bornAt, idleSince }: Pooled): boolean {
    const now = this.#deps.clock.monotonic();
    const { connMaxIdleTime, connMaxLifetime } = this.#limits;
    return client.alive && now - bornAt < connMaxLifetime && now - idleSince < connMaxIdleTime;
  }

  /** Closes what is too old, dead, or more than may be kept. */
  #sweep(): void {
    const { poolSize, maxIdleConns } = this.#limits;
    const fresh = this.#idle.filter((pooled) => this.#fresh(pooled));
    const keep = Math.max(0, Math.min(maxIdleConns, poolSize - this.#slots.held));
    const kept = new Set(fresh.slice(Math.max(0, fresh.length - keep)));
    for (const pooled of this.#idle) if (!kept.has(pooled)) pooled.client.destroy();
    this.#idle = [...kept];
  }

  async #keep(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#closed.signal.aborted) {
      this.#sweep();
      await this.#fill();
      await clock.sleep(SWEEP_EVERY, this.#closed.signal).catch(() => undefined);
    }
  }

  /** Opens until `minIdleConns` are idle, or one cannot be opened or kept. */
  async #fill(): Promise<void> {
    for (;;) {
      const { minIdleConns, maxIdleConns, poolSize } = this.#limits;
      if (this.#idle.length >= Math.min(minIdleConns, maxIdleConns)) return;
      if (this.#slots.held + this.#idle.length >= poolSize) return;
      const give = this.#slots.tryTake();
      if (give === null) return;
      try {
        const opened = await this.#open(this.#closed.signal);
        // Meanwhile the list of idle ones was made anew, or fewer may be kept.
        this.#giveBack(opened);
        if (!this.#idle.includes(opened)) return;
      } catch {
        // Whoever needs a connection will meet the same and say it.
        return;
      } finally {
        give();
      }
    }
  }
}
