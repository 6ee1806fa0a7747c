import type { Clock } from "./seams.ts";
import type { Millis } from "./time.ts";

export interface Bound {
  readonly clock: Clock;
  readonly timeout: Millis;
  /** The caller's own end. */
  readonly signal: AbortSignal;
}

/** Runs `work` under a signal that ends with the caller's, or after `timeout`. Afterwards no timer is left. */
export async function withDeadline<T>(
  { clock, timeout, signal }: Bound,
  work: (ended: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const done = new AbortController();
  const timer = clock.sleep(timeout, done.signal).then(
    () => late.abort(),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, late.signal]));
  } finally {
    done.abort(OVER);
    await timer;
  }
}

/** Without a reason of its own an abort makes one with a stack trace: 2 % of the operator's CPU. Nobody sees this one. */
const OVER = new Error("over");

/** Resolves once the signal is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

/** The promise's end, or the signal's reason if that comes first. The work itself is not stopped. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
