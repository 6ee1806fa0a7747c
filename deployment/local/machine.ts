import type { Clock, Rng } from "../../src/lib/seams.ts";
import { localClock, localRng } from "./clock.ts";
import { type Lifeline, openLifeline } from "./lifeline.ts";

export type Print = (line: string) => void;

/** What the environment needs of the computer it runs on. */
export interface Machine extends AsyncDisposable {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Environment variables as this process got them. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Talk for people, one line each. */
  readonly print: Print;
  readonly lifeline: Lifeline;
  /** Aborted when the work is given up. */
  readonly signal: AbortSignal;
}

export async function openMachine({ print, signal }: { print: Print; signal?: AbortSignal }): Promise<Machine> {
  const lifeline = await openLifeline();
  return {
    clock: localClock,
    rng: localRng,
    variables: process.env,
    print,
    lifeline,
    signal: signal ?? new AbortController().signal,
    [Symbol.asyncDispose]: () => lifeline.close(),
  };
}
