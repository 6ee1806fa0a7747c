import { formatDuration, type Millis, millisOf } from "../../src/lib/time.ts";
import type { Tally } from "./vitest-report.ts";

export interface LayerResult extends Tally {
  readonly name: string;
  readonly took: Millis;
}

const ROUND = 100;

/** The table of the layers and, last, the line that counts. */
export function summaryOf(results: readonly LayerResult[]): readonly string[] {
  const rows = results.map(({ name, passed, failed, skipped, took }) =>
    row(name, passed, failed, skipped, formatDuration(millisOf(Math.round(took / ROUND) * ROUND))),
  );
  return ["", row("layer", "passed", "failed", "skipped", "time"), ...rows, "", lastLine(results)];
}

const row = (name: string, ...cells: readonly (string | number)[]): string =>
  name.padEnd(14) + cells.map((cell) => String(cell).padStart(10)).join("");

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Nothing done is a failure: silence is not success. */
export function lastLine(results: readonly Tally[]): string {
  const passed = sum(results.map((result) => result.passed));
  const failed = sum(results.map((result) => result.failed));
  return `${passed} passed, ${passed + failed === 0 ? 1 : failed} failed`;
}

export const isGreen = (results: readonly Tally[]): boolean =>
  results.some(({ passed }) => passed > 0) && results.every(({ failed }) => failed === 0);
