import type { Clock } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";

export interface QueueLimits {
  /** Items that wait at most; further ones are lost. */
  readonly most: number;
  /** Items that are sent at once. */
  readonly batch: number;
  /** Longest wait for a batch to fill. */
  readonly linger: Millis;
}

export interface QueueDeps<T> {
  readonly clock: Clock;
  readonly limits: QueueLimits;
  /** Never rejects. */
  readonly send: (items: readonly T[], ended: AbortSignal) => Promise<unknown>;
  readonly onLost: (count: number) => void;
}

/** Items on their way out, a batch after the other. Adding never waits: what does not fit is lost, and told. */
export class PushQueue<T> {
  readonly #deps: QueueDeps<T>;
  readonly #given = new AbortController();
  #waiting: T[] = [];
  #enough = new AbortController();
  #closing = false;
  #running: Promise<void> | null = null;

  constructor(deps: QueueDeps<T>) {
    this.#deps = deps;
  }

  get length(): number {
    return this.#waiting.length;
  }

  add(item: T): void {
    const { limits, onLost } = this.#deps;
    if (this.#closing || this.#waiting.length >= limits.most) {
      onLost(1);
      return;
    }
    this.#waiting.push(item);
    if (this.#waiting.length >= limits.batch) this.#enough.abort(ENOUGH);
    this.#running ??= this.#run();
  }

  /** Sends what waits within `timeout`; the rest is lost. May be called twice. */
  async close(timeout: Millis): Promise<void> {
    this.#closing = true;
    this.#enough.abort(ENOUGH);
    const sent = new AbortController();
    const late = this.#deps.clock.sleep(timeout, sent.signal).then(
      () => this.#given.abort(),
      () => undefined,
    );
    await this.#running;
    sent.abort(ENOUGH);
    await late;
  }

  async #run(): Promise<void> {
    const { clock, limits, send, onLost } = this.#deps;
    while (this.#waiting.length > 0 && !this.#given.signal.aborted) {
      if (this.#waiting.length < limits.batch && !this.#closing) {
        this.#enough = new AbortController();
        await clock.sleep(limits.linger, this.#enough.signal).catch(() => undefined);
      }
      await send(this.#waiting.splice(0, limits.batch), this.#given.signal);
    }
    this.#running = null;
    if (this.#waiting.length > 0) onLost(this.#waiting.splice(0).length);
  }
}

/** Without a reason of its own an abort makes one with a stack trace. */
const ENOUGH = new Error("enough");
