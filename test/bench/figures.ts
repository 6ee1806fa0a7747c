/** Nearest-rank quantile of a non-empty list. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

/** Of an even number of values the middle of the two in the middle: neither the better nor the worse one. */
export const median = (values: readonly number[]): number =>
  (quantile(values, 0.5) + quantile(values, 0.5 + 1 / (2 * values.length))) / 2;

export interface Figure {
  readonly id: string;
  readonly what: string;
  readonly goal: string;
  /** One value per repetition. */
  readonly values: readonly number[];
  readonly unit: string;
  readonly holds: boolean | null;
}

export const shown = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);

export const spread = (values: readonly number[]): string =>
  `${shown(median(values))} (${shown(Math.min(...values))}–${shown(Math.max(...values))})`;
