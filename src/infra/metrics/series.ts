import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { never } from "../../lib/never.ts";
import type { Metric } from "./metric-table.ts";

/** SEC-40. A histogram is one series per bucket, and three more. */
export const MOST_SERIES = 2000;
const MOST_VALUES = 32;
const OTHER = "other";
const PLAIN = /^[\w.:/-]{1,64}$/;
const NAME = /^[a-z][a-z0-9_]{0,127}$/;
/** The series that counts refusals must always fit. */
const KEPT = 1;

type LabelSet = Readonly<Record<string, string>>;

export interface Point {
  readonly labels: LabelSet;
  readonly value: number;
}
export interface HistogramPoint {
  readonly labels: LabelSet;
  /** Observations in each bucket, and one more for those beyond the last. */
  readonly counts: readonly number[];
  readonly sum: number;
}
/** One metric and all its series, as they stand. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly kind: "counter" | "gauge"; readonly points: readonly Point[] }
  | { readonly kind: "histogram"; readonly buckets: readonly number[]; readonly points: readonly HistogramPoint[] }
);
type ClosedSets = Readonly<Record<string, readonly string[] | undefined>>;

/** Declared metrics and their series, bounded in number. */
export class Series {
  readonly #registry = new Registry();
  readonly #metrics = new Map<string, { readonly metric: Metric; readonly feed: Instrument }>();
  readonly #closed: ClosedSets;
  /** Values taken so far, per metric and label. */
  readonly #seen = new Map<string, Set<string>>();
  readonly #known = new Set<string>();
  #count = KEPT;

  constructor(closed: ClosedSets) {
    this.#closed = closed;
  }

  /** @throws Error for a name that is taken or none */
  add(table: Readonly<Record<string, Metric>>): void {
    for (const [name, metric] of Object.entries(table)) {
      if (this.#metrics.has(name) || !NAME.test(name)) throw new Error(`${name} is no free name of a metric`);
      this.#metrics.set(name, { metric, feed: instrument(name, metric, this.#registry) });
      // The unlabelled ones exist from the start.
      if (metric.labels.length === 0) this.#count += cost(metric);
    }
  }

  /** False where the value is none, or would be one series too many. */
  apply(name: string, labels: LabelSet, value: number): boolean {
    const found = this.#metrics.get(name);
    if (found === undefined || !Number.isFinite(value)) return false;
    const admitted = this.#admit(name, found.metric, labels);
    if (admitted !== null) found.feed(admitted, value);
    return admitted !== null;
  }

  /** The one that is kept room for: it counts what was refused. */
  applyKept(name: string, labels: LabelSet): void {
    this.#metrics.get(name)?.feed(labels, 1);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** Metrics that have no series yet are left out. */
  async families(): Promise<readonly Family[]> {
    const shown = await this.#registry.getMetricsAsJSON();
    return shown.flatMap(({ name, help, values }) => {
      const metric = this.#metrics.get(name)?.metric;
      return metric === undefined || values.length === 0 ? [] : [familyOf({ name, help }, metric, values)];
    });
  }

  /** Labels as they may be used; null where they would exceed the bound on series. */
  #admit(name: string, metric: Metric, labels: LabelSet): LabelSet | null {
    const admitted = Object.fromEntries(
      metric.labels.map((label) => [label, this.#value({ name, label }, labels[label] ?? OTHER)]),
    );
    const id = `${name} ${Object.values(admitted).join(" ")}`;
    if (this.#known.has(id) || metric.labels.length === 0) return admitted;
    if (this.#count + cost(metric) > MOST_SERIES) return null;
    this.#count += cost(metric);
    this.#known.add(id);
    return admitted;
  }

  #value({ name, label }: { readonly name: string; readonly label: string }, value: string): string {
    const set = this.#closed[label];
    if (set !== undefined) return set.includes(value) ? value : OTHER;
    const place = `${name}/${label}`;
    const taken = this.#seen.get(place) ?? new Set<string>();
    this.#seen.set(place, taken);
    if (!taken.has(value) && (taken.size >= MOST_VALUES || !PLAIN.test(value))) return OTHER;
    taken.add(value);
    return value;
  }
}

interface Shown {
  readonly metricName?: string;
  readonly labels: Partial<Readonly<Record<string, string | number>>>;
  readonly value: number;
}

function familyOf(about: Pick<Family, "name" | "help">, metric: Metric, values: readonly Shown[]): Family {
  if (metric.kind === "histogram")
    return { ...about, kind: "histogram", buckets: metric.buckets, points: histogramsOf(about.name, metric, values) };
  const points = values.map(({ labels, value }) => ({ labels: textsOf(labels), value }));
  return { ...about, kind: metric.kind, points };
}

/** The registry shows each bucket with all smaller ones in it. */
function histogramsOf(
  name: string,
  { buckets }: Extract<Metric, { kind: "histogram" }>,
  values: readonly Shown[],
): readonly HistogramPoint[] {
  const series = Map.groupBy(values, ({ labels: { le: _bucket, ...labels } }) => JSON.stringify(labels));
  return [...series.values()].map((parts) => {
    const upTo = new Map(parts.map(({ labels, value }) => [labels["le"], value]));
    const partOf = (suffix: string): Shown | undefined => parts.find(({ metricName }) => metricName === name + suffix);
    const all = [...buckets.map((bound) => upTo.get(bound) ?? 0), partOf("_count")?.value ?? 0];
    const counts = all.map((count, i) => count - (all[i - 1] ?? 0));
    return { labels: textsOf(partOf("_sum")?.labels ?? {}), counts, sum: partOf("_sum")?.value ?? 0 };
  });
}

const textsOf = (labels: Shown["labels"]): LabelSet =>
  Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));

type Instrument = (labels: Readonly<Record<string, string>>, value: number) => void;

function instrument(name: string, metric: Metric, registry: Registry): Instrument {
  const about = { name, help: metric.help, labelNames: [...metric.labels], registers: [registry] };
  switch (metric.kind) {
    case "counter": {
      const counter = new Counter(about);
      return (labels, value) => counter.inc(labels, Math.max(0, value));
    }
    case "gauge": {
      const gauge = new Gauge(about);
      return (labels, value) => gauge.set(labels, value);
    }
    case "histogram": {
      const histogram = new Histogram({ ...about, buckets: [...metric.buckets] });
      return (labels, value) => histogram.observe(labels, value);
    }
    default:
      return never(metric);
  }
}

const cost = (metric: Metric): number => (metric.kind === "histogram" ? metric.buckets.length + 3 : 1);
