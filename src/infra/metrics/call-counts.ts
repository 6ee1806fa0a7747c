import type { Rng } from "../../lib/seams.ts";
import type { GaugeName, Labels } from "./metric-table.ts";
import type { Metrics } from "./metrics.ts";

// What every measured server and client of the kit does alike, whatever it speaks.

/** Shows how many are under way, from 0 on; the result is called with each that begins and ends. */
export function countInFlight<N extends GaugeName>(
  metrics: Metrics,
  name: N,
  labels: Labels<N>,
): (change: 1 | -1) => void {
  let inFlight = 0;
  const show = (): void => metrics.set(name, labels, inFlight);
  show();
  return (change) => {
    inFlight += change;
    show();
  };
}

const PLAIN_ID = /^[\w.-]{1,64}$/;

/** The caller's, where it is a plain word, else a new one. */
export const requestIdOf = (given: unknown, rng: Rng): string =>
  typeof given === "string" && PLAIN_ID.test(given) ? given : rng.id();
