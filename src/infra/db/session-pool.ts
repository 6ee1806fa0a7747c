import { withDeadline } from "../../lib/deadline.ts";
import { type InfraError, infraErrorOf } from "../../lib/infra-error.ts";
import type { Clock } from "../../lib/seams.ts";
import { type Millis, millisOf, minutes, seconds } from "../../lib/time.ts";
import type { PoolView } from "./db.ts";
import { dbError } from "./db-failures.ts";
import type { OpenSession, Session } from "./session.ts";

export interface PoolLimits {
  /** Connections at most, lent and idle. */
  readonly open: number;
  readonly idle: number;
  /** Age at which a connection is replaced. */
  readonly lifetime: Millis;
  readonly idleTime: Millis;
  /** Longest wait for a connection. */
  readonly wait: Millis;
}

export interface PoolDeps {
  readonly open: OpenSession;
  readonly clock: Clock;
  readonly limits: PoolLimits;
  /** Told of each connection that could not be lent. */
  readonly onRefused?: (error: InfraError) => void;
}

interface Idle {
  readonly session: Session;
  readonly born: Millis;
  readonly since: Millis;
}

const MOST_WAITING = 1024;
const CLOSES_WITHIN = seconds(5);

/** Connections that are lent to one caller at a time. The limit holds for connections that stand and those that are being made. */
export class SessionPool {
  readonly #deps: PoolDeps;
  #limits: PoolLimits;
  #lentCount = 0;
  /** Ages of lent ones; a connection that is still being made is only counted. */
  readonly #lent = new Map<Session, Millis>();
  #idle: Idle[] = [];
  /** Each takes over a connection that came back, or (null) makes one. */
  readonly #waiting: ((idle: Idle | null) => void)[] = [];
  readonly #closed = new AbortController();
  readonly #reaping: Promise<void>;
  #emptied: (() => void) | null = null;

  constructor(deps: PoolDeps) {
    this.#deps = deps;
    this.#limits = deps.limits;
    this.#reaping = this.#reap();
  }

  view(): PoolView {
    const idle = this.#idle.length;
    return { limit: this.#limits.open, open: this.#lentCount + idle, idle, waiting: this.#waiting.length };
  }

  /** From now on; connections beyond them end as they come back. */
  limit(limits: PoolLimits): void {
    this.#limits = limits;
    while (this.#waiting.length > 0 && this.#lentCount < limits.open) this.#hand(this.#fittest());
    this.#trim();
  }

  /** @throws InfraError */
  async lend(signal: AbortSignal): Promise<Session> {
    try {
      return await this.#lend(signal);
    } catch (error) {
      const known = infraErrorOf("db", error);
      this.#deps.onRefused?.(known);
      throw known;
    }
  }

  async #lend(signal: AbortSignal): Promise<Session> {
    if (this.#closed.signal.aborted) throw dbError("Closed", "");
    const either = AbortSignal.any([signal, this.#closed.signal]);
    return withDeadline({ clock: this.#deps.clock, timeout: this.#limits.wait, signal: either }, async (ended) => {
      const taken = await this.#place(ended);
      try {
        const { session, born } = taken ?? { session: await this.#deps.open(ended), born: this.#now() };
        this.#lent.set(session, born);
        return session;
      } catch (error) {
        this.#leave();
        throw error;
      }
    });
  }

  /** Takes it back; a dead one is forgotten. */
  restore(session: Session): void {
    const born = this.#lent.get(session);
    if (born === undefined) return;
    this.#lent.delete(session);
    const mayStay = session.alive && !this.#closed.signal.aborted && this.#now() - born < this.#limits.lifetime;
    if (mayStay) this.#idle.push({ session, born, since: this.#now() });
    else session.destroy();
    this.#leave();
    this.#trim();
  }

  /** Waits a few seconds for lent ones, then ends them too. */
  async close(): Promise<void> {
    if (!this.#closed.signal.aborted) {
      this.#closed.abort();
      for (const { session } of this.#idle.splice(0)) session.destroy();
      await this.#returned();
      for (const session of this.#lent.keys()) session.destroy();
    }
    await this.#reaping;
  }

  /** A place among the lent ones, in the order of asking, with a connection where one is idle. */
  async #place(ended: AbortSignal): Promise<Idle | null> {
    if (ended.aborted) throw this.#noneFree();
    if (this.#lentCount < this.#limits.open) {
      this.#lentCount += 1;
      return this.#fittest();
    }
    if (this.#waiting.length >= MOST_WAITING) throw dbError("PoolFull", `${MOST_WAITING} wait`);
    return new Promise((resolve, reject) => {
      const wake = (idle: Idle | null): void => {
        ended.removeEventListener("abort", leave);
        resolve(idle);
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        reject(this.#noneFree());
      };
      ended.addEventListener("abort", leave, { once: true });
      this.#waiting.push(wake);
    });
  }

  #noneFree(): Error {
    if (this.#closed.signal.aborted) return dbError("Closed", "");
    return dbError("PoolTimeout", `${this.#lentCount} of ${this.#limits.open} in use, ${this.#waiting.length} wait`);
  }

  /** The place goes straight to the next in line, and with it the connection. */
  #leave(): void {
    this.#lentCount -= 1;
    if (this.#waiting.length > 0 && this.#lentCount < this.#limits.open) this.#hand(this.#fittest());
    if (this.#lentCount === 0) this.#emptied?.();
  }
  #hand(idle: Idle | null): void {
    this.#lentCount += 1;
    this.#waiting.shift()?.(idle);
  }

  /** The one that came back last: the others grow old and end. */
  #fittest(): Idle | null {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (this.#isFit(idle)) return idle;
      idle.session.destroy();
    }
    return null;
  }

  #isFit({ session, born, since }: Idle): boolean {
    const now = this.#now();
    return session.alive && now - born < this.#limits.lifetime && now - since < this.#limits.idleTime;
  }

  #trim(): void {
    const most = Math.max(0, Math.min(this.#limits.idle, this.#limits.open - this.#lentCount));
    for (const { session } of this.#idle.splice(0, Math.max(0, this.#idle.length - most))) session.destroy();
  }

  async #reap(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      const every = Math.min(this.#limits.idleTime, this.#limits.lifetime) / 2;
      const next = millisOf(Math.min(minutes(1), Math.max(seconds(0.5), every)));
      await this.#deps.clock.sleep(next, signal).catch(() => undefined);
      const [fit, unfit] = [
        this.#idle.filter((idle) => this.#isFit(idle)),
        this.#idle.filter((idle) => !this.#isFit(idle)),
      ];
      this.#idle = fit;
      for (const { session } of unfit) session.destroy();
    }
  }

  async #returned(): Promise<void> {
    if (this.#lentCount === 0) return;
    const enough = new AbortController();
    const empty = new Promise<void>((resolve) => (this.#emptied = resolve));
    await Promise.race([empty, this.#deps.clock.sleep(CLOSES_WITHIN, enough.signal).catch(() => undefined)]);
    enough.abort();
  }

  #now(): Millis {
    return this.#deps.clock.monotonic();
  }
}
