import { millisOf, type Millis } from "./time.ts";

export interface Backoff {
  readonly initial: Millis;
  readonly factor: number;
  readonly max: Millis;
}

/**
 * Wait before attempt `failures + 1`, with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): uniform in
 * [0, initial × factor^(failures-1)], capped at `max`. `random` is uniform in [0, 1); `failures` ≥ 1.
 */
export function backoffAfter(failures: number, { initial, factor, max }: Backoff, random: number): Millis {
  const ceiling = Math.min(max, initial * factor ** Math.min(failures - 1, 64));
  return millisOf(Math.round(random * ceiling));
}
