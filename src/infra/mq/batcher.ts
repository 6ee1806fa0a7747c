import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import type { Clock } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import { mqError } from "./mq-failures.ts";

export interface BatchLimits {
  /** Bytes at which a batch is sent without waiting longer. */
  readonly size: number;
  readonly linger: Millis;
  /** Bytes that may wait altogether; beyond them adding waits. */
  readonly buffer: number;
  /** Bytes of one batch at most. */
  readonly most: number;
  /** Longest wait for room in the buffer. */
  readonly patience: Millis;
}

export interface BatcherDeps<R> {
  readonly clock: Clock;
  readonly limits: BatchLimits;
  /** Sends them all. One batch at a time, so that none overtakes another. @throws InfraError */
  readonly send: (records: readonly R[]) => Promise<void>;
}

interface Waiting<R> {
  readonly record: R;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers records into batches: what comes while one is on its way goes with the next. */
export class Batcher<R> {
  readonly #deps: BatcherDeps<R>;
  #waiting: Waiting<R>[] = [];
  #bytes = 0;
  readonly #full = new Set<() => void>();
  readonly #closed = new AbortController();
  #running: Promise<void> | null = null;
  #enough = new AbortController();

  constructor(deps: BatcherDeps<R>) {
    this.#deps = deps;
  }

  /** Bytes that wait or are on their way. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves when it was sent; taken at once where there is room. @throws InfraError */
  async add(record: R, bytes: number): Promise<void> {
    const { limits } = this.#deps;
    if (bytes > limits.most) throw mqError("TooLarge", `${bytes} bytes`);
    if (this.#closed.signal.aborted) throw mqError("Closed", "");
    if (!this.#reserve(bytes)) await this.#room(bytes);
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push({ record, bytes, resolve, reject });
      if (this.#bytes >= limits.size) this.#enough.abort();
      this.#running ??= this.#run();
    });
  }

  /** Sends what waits, and takes nothing more. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#enough.abort();
    for (const wake of this.#full) wake();
    await this.#running;
  }

  #reserve(bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#deps.limits.buffer) return false;
    this.#bytes += bytes;
    return true;
  }

  async #room(bytes: number): Promise<void> {
    const { clock, limits } = this.#deps;
    await withDeadline({ clock, timeout: limits.patience, signal: this.#closed.signal }, async (ended) => {
      do {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#full.add(resolve);
        await untilAborted(promise, ended).catch(() => undefined);
        this.#full.delete(resolve);
        if (this.#closed.signal.aborted) throw mqError("Closed", "");
        if (ended.aborted) throw mqError("BufferFull", `${this.#bytes} bytes wait`);
      } while (!this.#reserve(bytes));
    });
  }

  async #run(): Promise<void> {
    const { clock, limits, send } = this.#deps;
    while (this.#waiting.length > 0) {
      this.#enough = new AbortController();
      if (this.#bytes < limits.size && !this.#closed.signal.aborted)
        await clock.sleep(limits.linger, this.#enough.signal).catch(() => undefined);
      const batch = this.#next();
      try {
        await send(batch.map(({ record }) => record));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      this.#bytes -= batch.reduce((sum, { bytes }) => sum + bytes, 0);
      for (const wake of this.#full) wake();
    }
    this.#running = null;
  }

  /** As many as fit into one request, in order. */
  #next(): readonly Waiting<R>[] {
    let [count, bytes] = [0, 0];
    for (const waiting of this.#waiting) {
      if (count > 0 && bytes + waiting.bytes > this.#deps.limits.most) break;
      bytes += waiting.bytes;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }
}
