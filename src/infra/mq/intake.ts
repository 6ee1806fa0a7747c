import { untilAborted } from "../../lib/deadline.ts";

/** How many messages are in work at once, and whether others may come. */
export class Intake {
  readonly #most: () => number;
  #held = 0;
  #paused = false;
  readonly #waiting = new Set<() => void>();

  constructor(most: () => number) {
    this.#most = most;
  }
  get held(): number {
    return this.#held;
  }
  get paused(): boolean {
    return this.#paused;
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  /** Resolves with what gives the place back. @throws the signal's reason */
  async admit(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    while (this.#paused || this.#held >= this.#most()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await untilAborted(promise, signal).finally(() => this.#waiting.delete(resolve));
    }
    this.#held += 1;
    return () => {
      this.#held -= 1;
      this.#wake();
    };
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
