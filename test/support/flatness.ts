/** A value over time, in milliseconds. */
export interface Sample {
  readonly at: number;
  readonly value: number;
}

/** What a series does in the end, and what it may. */
export interface Series {
  readonly name: string;
  readonly samples: readonly Sample[];
  /** Growth from the quietest moment of the second third to that of the last third that counts as none. */
  readonly slack: number;
  readonly unit: "MiB" | "";
}

/** Least squares, per minute. */
export function slopeOf(samples: readonly Sample[]): number {
  const n = samples.length;
  if (n < 2) return 0;
  const mean = (of: (sample: Sample) => number): number => samples.reduce((sum, sample) => sum + of(sample), 0) / n;
  const [at, value] = [mean((sample) => sample.at), mean((sample) => sample.value)];
  const covered = samples.reduce((sum, sample) => sum + (sample.at - at) * (sample.value - value), 0);
  const spread = samples.reduce((sum, sample) => sum + (sample.at - at) ** 2, 0);
  return spread === 0 ? 0 : (covered / spread) * 60_000;
}

export interface Verdict {
  readonly line: string;
  readonly isFlat: boolean;
}

/** The first third is warm-up. Quietest moments are compared: what is under way at one moment is no leak. */
export function judge({ name, samples, slack, unit }: Series): Verdict {
  const third = Math.floor(samples.length / 3);
  const [middle, last] = [samples.slice(third, 2 * third), samples.slice(2 * third)];
  const least = (of: readonly Sample[]): number => Math.min(...of.map(({ value }) => value));
  const growth = least(last) - least(middle);
  const shown = (value: number): string =>
    unit === "MiB" ? `${(value / 1024 / 1024).toFixed(2)} MiB` : value.toFixed(1);
  const slope = slopeOf([...middle, ...last]);
  const isFlat = samples.length >= 9 && growth <= slack;
  const line = `${name}: ${shown(least(middle))} → ${shown(least(last))}, slope ${shown(slope)} a minute, ${samples.length} samples`;
  return { line, isFlat };
}
