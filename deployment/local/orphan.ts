import { once } from "node:events";

import type { Clock } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";

const LOOK_EVERY = millisOf(500);

/**
 * Resolves when the signal is aborted, or when the npm that started us is gone: a killed `npm run` does not tell its script.
 * Started by anything else, only the signal counts: a shell may end before what it left in the background.
 */
export async function untilOrphaned({ clock, signal }: { clock: Clock; signal: AbortSignal }): Promise<void> {
  const parent = process.ppid;
  const isOfNpm = process.env.npm_lifecycle_event !== undefined && process.env.npm_command !== undefined;
  while (!signal.aborted) {
    await clock.sleep(LOOK_EVERY, signal).catch(() => {});
    if (isOfNpm && process.ppid !== parent) return;
  }
}

export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}
