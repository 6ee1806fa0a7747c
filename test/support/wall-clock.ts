import type { Clock } from "../../src/lib/seams.ts";
import { instantOf, type Millis, millisOf } from "../../src/lib/time.ts";

/** Real time, for tests whose other side is a real server. */
export const wallClock: Clock = {
  now: () => instantOf(Date.now()),
  monotonic: () => millisOf(performance.now()),
  sleep: (after: Millis, signal?: AbortSignal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error);
        return;
      }
      const abort = (): void => {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", abort);
        resolve();
      }, after);
      signal?.addEventListener("abort", abort, { once: true });
    }),
};
