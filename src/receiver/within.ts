import type { Clock } from "../lib/seams.ts";
import type { Millis } from "../lib/time.ts";

export interface Bound {
  readonly timeout: Millis;
  readonly clock: Clock;
  /** Ends the wait early, as if the time had passed. */
  readonly signal?: AbortSignal;
}

/** What `work` comes to, or `late` once the time has passed. `work` itself goes on; the timer does not. */
export async function within<T, L>(work: Promise<T>, { timeout, clock, signal }: Bound, late: L): Promise<T | L> {
  const timer = new AbortController();
  const ends = signal === undefined ? timer.signal : AbortSignal.any([signal, timer.signal]);
  const passed = clock.sleep(timeout, ends).then(
    (): T | L => late,
    (): T | L | Promise<T | L> => (timer.signal.aborted ? work : late),
  );
  try {
    return await Promise.race([work, passed]);
  } finally {
    timer.abort();
  }
}
