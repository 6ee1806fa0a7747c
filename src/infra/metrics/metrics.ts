import { FAILURES, type FailureType, type Fault } from "../../lib/failures.ts";
import type { InfraErrorType, InfraFailure } from "../../lib/infra-error.ts";
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type LabelName,
  type Labels,
  METRICS,
} from "./metric-table.ts";
import { type Declared, declaredOf, fullName, type MetricTable, type Names } from "./own-metrics.ts";
import { type Family, Series } from "./series.ts";

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

export interface OpenedMetrics extends Metrics {
  /** Every series as it stands, read as for a scrape. */
  families(): Promise<readonly Family[]>;
  /** A service's own metrics, declared in one table, shown with the others and under the same bound. @throws Error for a name that is taken or none */
  declare<T extends MetricTable>(table: T, names: Names): Declared<T>;
}

export interface MetricsOptions {
  /** Closed sets of label values; anything else becomes `other`. Without one, the first 32 plain words count. */
  readonly values?: Partial<Readonly<Record<LabelName, readonly string[]>>>;
}

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
export function openMetrics({ values = {} }: MetricsOptions = {}): OpenedMetrics {
  const series = new Series(values);
  series.add(METRICS);
  const fills: (() => void)[] = [];
  const apply = (name: string, labels: Readonly<Record<string, string>>, value: number): void => {
    if (!series.apply(name, labels, value))
      series.applyKept("infra_errors_total", { component: "metrics", type: "VALIDATION" });
  };
  return {
    count: (name, labels, by = 1) => apply(name, labels, by),
    observe: (name, labels, value) => apply(name, labels, value),
    set: (name, labels, value) => apply(name, labels, value),
    failed: (component, { code }) =>
      apply("infra_errors_total", { component, type: ERROR_TYPE[FAILURES[code].type] }, 1),
    infraFailed: ({ component, type }) => apply("infra_errors_total", { component, type }, 1),
    declare: (table, names) => {
      series.add(Object.fromEntries(Object.entries(table).map(([name, metric]) => [fullName(names, name), metric])));
      return declaredOf((name, labels, value) => apply(fullName(names, name), labels, value));
    },
    text: async () => {
      for (const fill of fills) fill();
      return series.text();
    },
    families: async () => {
      for (const fill of fills) fill();
      return series.families();
    },
    onScrape: (fill) => void fills.push(fill),
  };
}
