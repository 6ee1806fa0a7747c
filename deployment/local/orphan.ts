import { once } from "node:events";

import type { Clock } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";
import { commandLineOf, identify, isAlive, parentOf, type ProcessIdentity } from "./process-identity.ts";

const LOOK_EVERY = millisOf(500);

/**
 * Resolves when the signal is aborted, or when the npm that started us is gone: a killed `npm run` does not tell its script.
 * Started by anything else, only the signal counts: a shell may end before what it left in the background.
 */
export async function untilOrphaned({ clock, signal }: { clock: Clock; signal: AbortSignal }): Promise<void> {
  const above = npmAbove();
  while (!signal.aborted) {
    await clock.sleep(LOOK_EVERY, signal).catch(() => {});
    if (above.some((one) => !isAlive(one))) return;
  }
}

/** npm and the shell that it runs scripts with; none where npm did not start us. */
function npmAbove(): readonly ProcessIdentity[] {
  const above: ProcessIdentity[] = [];
  for (let pid = process.ppid; above.length < 2 && pid > 1; pid = parentOf(pid)) {
    const known = identify(pid);
    if (known === null) return [];
    above.push(known);
    if (/^npm\b|npm-cli\.js/.test(commandLineOf(pid))) return above;
  }
  return [];
}

export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}
