export interface ConfigChange<T> {
  /** Key of the service's own layer, whichever layer changed. */
  readonly key: string;
  readonly old: T;
  readonly new: T;
  /** Monotonic count of values since the process started. */
  readonly at: number;
}

/**
 * Hands each reader what changed since it last looked: one change at a time, several put together for a reader that is slow. Nothing
 * is queued, so a reader that stops reading costs nothing.
 */
export class ChangeFeed<T> {
  readonly #readers = new Set<() => void>();
  #last: { readonly value: T; readonly at: number };
  #closed = false;
  readonly #key: string;

  constructor(key: string, first: T) {
    this.#key = key;
    this.#last = { value: first, at: 0 };
  }

  publish(value: T): void {
    this.#last = { value, at: this.#last.at + 1 };
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

  async *#from(
    start: { readonly value: T; readonly at: number },
    signal: AbortSignal,
  ): AsyncGenerator<ConfigChange<T>> {
    let seen = start;
    while (!signal.aborted && !this.#closed) {
      const now = this.#last;
      if (now.at === seen.at) {
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
