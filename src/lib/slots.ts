/** A bounded number of holders; the others wait in order, and no more than `queue` of them. */
export class Slots {
  #held = 0;
  readonly #waiting: (() => void)[] = [];
  #most: number;
  readonly #queue: number;

  constructor(most: number, queue: number) {
    this.#most = most;
    this.#queue = queue;
  }

  get held(): number {
    return this.#held;
  }
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes force at once: more lets the next in line in, fewer takes nothing away from who holds one. */
  resize(most: number): void {
    this.#most = most;
    while (this.#held < this.#most) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#held += 1;
      next();
    }
  }

  /** What gives the slot back, as {@link Slots.take} does; null where there is none free now. */
  tryTake(): (() => void) | null {
    if (this.#held >= this.#most) return null;
    this.#held += 1;
    return this.#giver();
  }

  /** Resolves with what gives the slot back (safe to call twice). @throws the signal's reason, or Error where the queue is full. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#held < this.#most) this.#held += 1;
    else await this.#wait(signal);
    return this.#giver();
  }

  #giver(): () => void {
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#give();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    if (this.#waiting.length >= this.#queue) return Promise.reject(new Error("too many wait"));
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(wake);
    });
  }

  /** The slot goes straight to the next in line, so nobody overtakes. */
  #give(): void {
    const next = this.#held > this.#most ? undefined : this.#waiting.shift();
    if (next === undefined) this.#held -= 1;
    else next();
  }
}
