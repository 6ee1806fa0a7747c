import { aborted } from "../../lib/deadline.ts";
import type { Started } from "./boot-all.ts";

/** What of the process is needed; tests bring their own. */
export interface ProcessSeams {
  onSignal(name: "SIGINT" | "SIGTERM", take: () => void): void;
  exit(code: number): void;
}

export const realProcess: ProcessSeams = {
  onSignal: (name, take) => void process.on(name, take),
  exit: (code) => process.exit(code),
};

/** Stopped at once by a second signal: 128 + SIGINT, as shells say it. */
const STOPPED_AT_ONCE = 130;

/** Aborted by the first SIGINT or SIGTERM; a second one ends the process at once. */
export function untilSignalled(seams: ProcessSeams): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    seams.onSignal(name, () => {
      if (stop.signal.aborted) seams.exit(STOPPED_AT_ONCE);
      else stop.abort(new Error(`stopped by ${name}`));
    });
  }
  return stop.signal;
}

/**
 * The life of a process: starts, works until the first signal, closes in reverse order. Gives the exit code: 0 stopped as asked, 1 not
 * started or not closed in time. What did not close keeps no process alive.
 */
export async function runProcess<K>(
  start: (stop: AbortSignal) => Promise<Started<K>>,
  seams: ProcessSeams = realProcess,
): Promise<number> {
  const stop = untilSignalled(seams);
  const started = await start(stop);
  if (!started.ok) {
    const code = stop.aborted ? 0 : 1;
    if (started.closed.stuck.length > 0) seams.exit(code);
    return code;
  }
  await aborted(stop);
  const { stuck } = await started.close();
  if (stuck.length === 0) return 0;
  seams.exit(1);
  return 1;
}
