import type { Clock, Rng } from "../../src/lib/seams.ts";
import { instantOf, type Instant, type Millis, millisOf } from "../../src/lib/time.ts";

/** 2026-06-01T12:00:00Z: the moment at which every test clock starts. */
export const NOON: Instant = instantOf(Date.UTC(2026, 5, 1, 12));

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

/** A clock that moves only when told. `advance` wakes sleepers in order and lets their continuations run in between. */
export class ManualClock implements Clock {
  #elapsed = 0;
  #sleepers: Sleeper[] = [];
  readonly #start: Instant;

  constructor(start: Instant = NOON) {
    this.#start = start;
  }
  now(): Instant {
    return instantOf(this.#start + this.#elapsed);
  }
  monotonic(): Millis {
    return millisOf(this.#elapsed);
  }
  /** How many sleeps are pending: zero at the end of a test means that nothing was left running. */
  get sleeping(): number {
    return this.#sleepers.length;
  }
  /** Milliseconds until the next sleeper is due; null when nobody sleeps. */
  get nextDue(): number | null {
    return this.#sleepers.length === 0 ? null : Math.min(...this.#sleepers.map((s) => s.due)) - this.#elapsed;
  }
  sleep(after: Millis, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        reject(signal?.reason as Error);
      };
      const sleeper: Sleeper = {
        due: this.#elapsed + after,
        wake: () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }
  async advance(by: Millis): Promise<void> {
    const until = this.#elapsed + by;
    await settle();
    for (;;) {
      const next = this.#sleepers.filter((s) => s.due <= until).toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#sleepers = this.#sleepers.filter((s) => s !== next);
      this.#elapsed = Math.max(this.#elapsed, next.due);
      next.wake();
      await settle();
    }
    this.#elapsed = until;
    await settle();
  }
}

/** Lets every promise that is already due run, I/O callbacks included. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Repeatable randomness (mulberry32). */
export function seededRng(seed = 1): Rng {
  let state = seed >>> 0;
  let issued = 0;
  const float = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    float,
    id: () => {
      issued += 1;
      return `${String(issued).padStart(6, "0")}${Math.floor(float() * 36 ** 8)
        .toString(36)
        .padStart(20, "0")}`;
    },
  };
}
