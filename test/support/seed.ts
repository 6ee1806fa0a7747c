import type { Parameters } from "fast-check";

/** As in vitest.config.ts: the commit's, or what the failing run printed. */
export const SEED = Number.parseInt(process.env["TURNOUT_TEST_SEED"] ?? "1", 16) % 2_147_483_647;

/** So many cases from the run's seed. A failure prints seed and path; `TURNOUT_TEST_SEED` in hex repeats it. */
export const cases = (numRuns: number): Parameters<unknown> => ({ seed: SEED, numRuns });
