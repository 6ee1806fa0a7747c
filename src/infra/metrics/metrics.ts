import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { FAILURES, type FailureType, type Fault } from "../../lib/failures.ts";
import type { InfraErrorType, InfraFailure } from "../../lib/infra-error.ts";
import { never } from "../../lib/never.ts";
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelName,
  type Labels,
  type Metric,
  type MetricName,
  METRICS,
} from "./metric-table.ts";

export interface Metrics {
  count<N extends CounterName>(name: N, labels: Labels<N>, by?: number): void;
  observe<N extends HistogramName>(name: N, labels: Labels<N>, value: number): void;
  set<N extends GaugeName>(name: N, labels: Labels<N>, value: number): void;
  /** `infra_errors_total` of this component, with the type that the failure catalogue gives the code. */
  failed(component: string, fault: Fault): void;
  /** `infra_errors_total` for what a component of the kit threw. */
  infraFailed(error: Pick<InfraFailure, "component" | "type">): void;
  /** Prometheus text format. */
  text(): Promise<string>;
  /** Called before each scrape, to set gauges that are read rather than kept. */
  onScrape(fill: () => void): void;
}

export interface MetricsOptions {
  /** Closed sets of label values; anything else becomes `other`. Without one, the first {@link MOST_VALUES} plain words count. */
  readonly values?: Partial<Readonly<Record<LabelName, readonly string[]>>>;
}

/** SEC-40. A histogram is one series per bucket, and three more. */
export const MOST_SERIES = 2000;
const MOST_VALUES = 32;
const OTHER = "other";
const PLAIN = /^[\w.:/-]{1,64}$/;


const ERROR_TYPE: Readonly<Record<FailureType, InfraErrorType>> = {
  Network: "CONNECTION",
  Timeout: "TIMEOUT",
  Validation: "VALIDATION",
  Conflict: "CONFLICT",
  Fenced: "CONFLICT",
  Unavailable: "UNAVAILABLE",
  Rejected: "UNAVAILABLE",
  Business: "UNAVAILABLE",
  Permission: "CONFIG",
  System: "INTERNAL",
};

export const noMetrics: Metrics = {
  count: () => undefined,
  observe: () => undefined,
  set: () => undefined,
  failed: () => undefined,
  infraFailed: () => undefined,
  text: () => Promise.resolve(""),
  onScrape: () => undefined,
};

/** Its own registry: nothing of the process-wide default one is touched. Bounded in series whatever callers pass as labels. */
export function openMetrics({ values = {} }: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const instruments = new Map(
    Object.entries(METRICS).map(([name, metric]) => [name, instrument(name, metric, registry)]),
  );
  const admit = seriesGuard(values);
  const fills: (() => void)[] = [];
  const apply = (name: MetricName, labels: Readonly<Record<string, string>>, value: number): void => {
    const admitted = admit(name, labels);
    if (admitted === null || !Number.isFinite(value)) {
      instruments.get("infra_errors_total")?.({ component: "metrics", type: "VALIDATION" }, 1);
      return;
    }
    instruments.get(name)?.(admitted, value);
  };
  const metrics: Metrics = {
    count: (name, labels, by = 1) => apply(name, labels, by),
    observe: (name, labels, value) => apply(name, labels, value),
    set: (name, labels, value) => apply(name, labels, value),
    failed: (component, { code }) =>
      apply("infra_errors_total", { component, type: ERROR_TYPE[FAILURES[code].type] }, 1),
    infraFailed: ({ component, type }) => apply("infra_errors_total", { component, type }, 1),
    text: async () => {
      for (const fill of fills) fill();
      return registry.metrics();
    },
    onScrape: (fill) => void fills.push(fill),
  };
  return metrics;
}

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

/** Labels as they may be used; null where they would exceed the bound on series. */
function seriesGuard(
  values: NonNullable<MetricsOptions["values"]>,
): (name: MetricName, labels: Readonly<Record<string, string>>) => Readonly<Record<string, string>> | null {
  const closed: Readonly<Record<string, readonly string[] | undefined>> = values;
  const seen = new Map<string, Set<string>>();
  const known = new Set<string>();
  // The unlabelled ones exist from the start, and the series that counts refusals must always fit.
  let series = Object.values(METRICS).reduce((sum, metric) => sum + (metric.labels.length === 0 ? cost(metric) : 0), 1);

  const valueOf = (metric: MetricName, label: string, value: string): string => {
    const set = closed[label];
    if (set !== undefined) return set.includes(value) ? value : OTHER;
    const place = `${metric}/${label}`;
    const taken = seen.get(place) ?? new Set<string>();
    seen.set(place, taken);
    if (!taken.has(value) && (taken.size >= MOST_VALUES || !PLAIN.test(value))) return OTHER;
    taken.add(value);
    return value;
  };
  return (name, labels) => {
    const admitted = Object.fromEntries(
      METRICS[name].labels.map((label) => [label, valueOf(name, label, lookUp(labels, label))]),
    );
    const id = `${name} ${Object.values(admitted).join(" ")}`;
    if (known.has(id) || METRICS[name].labels.length === 0) return admitted;
    if (series + cost(METRICS[name]) > MOST_SERIES) return null;
    series += cost(METRICS[name]);
    known.add(id);
    return admitted;
  };
}

const lookUp = (labels: Readonly<Record<string, string>>, label: string): string => labels[label] ?? OTHER;

const cost = (metric: Metric): number => (metric.kind === "histogram" ? metric.buckets.length + 3 : 1);
