import type { Instant } from "../../lib/time.ts";

export interface ConfigChange<T> {
  /** Key of the service's own layer, whichever layer changed. */
  readonly key: string;
  readonly old: T;
  readonly new: T;
  /** When the new value took force. */
  readonly at: Instant;
}

interface Published<T> {
  readonly value: T;
  readonly count: number;
  readonly at: Instant;
}

/**
 * Hands each reader what changed since it last looked: one change at a time, several put together for a reader that is slow. Nothing
 * is queued, so a reader that stops reading costs nothing.
 */
export class ChangeFeed<T> {
  readonly #readers = new Set<() => void>();
  #last: Published<T>;
  #closed = false;
  readonly #key: string;

  constructor(key: string, first: T, at: Instant) {
    this.#key = key;
    this.#last = { value: first, count: 0, at };
  }

  publish(value: T, at: Instant): void {
    this.#last = { value, count: this.#last.count + 1, at };
    this.#wakeAll();
  }

  close(): void {
    this.#closed = true;
    this.#wakeAll();
  }

  /** Ends with the signal, or when the feed is closed. Begins with the change after the call. */
  read(signal: AbortSignal): AsyncIterable<ConfigChange<T>> {
    return this.#from(this.#last, signal);
  }

  async *#from(start: Published<T>, signal: AbortSignal): AsyncGenerator<ConfigChange<T>> {
    let seen = start;
    while (!signal.aborted && !this.#closed) {
      const now = this.#last;
      if (now.count === seen.count) {
        await this.#next(signal);
        continue;
      }
      const change = { key: this.#key, old: seen.value, new: now.value, at: now.at };
      seen = now;
      yield change;
    }
  }

  #next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#readers.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#readers.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  #wakeAll(): void {
    for (const wake of this.#readers) wake();
  }
}
