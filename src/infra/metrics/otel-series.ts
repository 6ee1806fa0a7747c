import { ValueType } from "@opentelemetry/api";
import { ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer";
import {
  AggregationTemporality,
  DataPointType,
  type DataPoint,
  type Histogram,
  type MetricData,
  MeterProvider,
  type MetricProducer,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import { never } from "../../lib/never.ts";
import type { Clock } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import type { EpochTime } from "./epoch-time.ts";
import { epochTimeOf } from "./epoch-time.ts";
import type { OpenedMetrics } from "./metrics.ts";
import { resourceOf } from "./otel-resource.ts";
import { BATCH_TIMEOUT, type OtlpSender } from "./otlp-sender.ts";
import type { Family, HistogramPoint, Point } from "./series.ts";

export interface PushDeps {
  readonly clock: Clock;
  readonly metrics: OpenedMetrics;
  readonly sender: OtlpSender;
  readonly about: Readonly<Record<string, string>>;
  readonly every: Millis;
}

export interface Push {
  /** Pushes once more, within `timeout`. */
  close(timeout: Millis): Promise<void>;
}

/** Pushes every series of the registry at intervals, as it is shown. The interval is a timer of the SDK, which takes no clock. */
export function openPush({ clock, metrics, sender, about, every }: PushDeps): Push {
  const given = new AbortController();
  const resource = resourceOf(about);
  const reader = new PeriodicExportingMetricReader({
    exporter: exporterTo(sender, given.signal),
    exportIntervalMillis: every,
    exportTimeoutMillis: Math.min(every, BATCH_TIMEOUT),
    metricProducers: [producerOf(metrics, epochTimeOf(clock), resource)],
  });
  const provider = new MeterProvider({ resource, readers: [reader] });
  return {
    close: async (timeout) => {
      const sent = new AbortController();
      const late = clock.sleep(timeout, sent.signal).then(
        () => given.abort(),
        () => undefined,
      );
      await provider.shutdown();
      sent.abort(SENT);
      await late;
    },
  };
}
const SENT = new Error("sent");

function producerOf(metrics: OpenedMetrics, now: EpochTime, resource: ResourceMetrics["resource"]): MetricProducer {
  const startTime = now();
  return {
    collect: async () => {
      const times = { startTime, endTime: now() };
      const families = await metrics.families();
      const scopeMetrics = [{ scope: SCOPE, metrics: families.map((family) => dataOf(family, times)) }];
      return { resourceMetrics: { resource, scopeMetrics }, errors: [] };
    },
  };
}
const SCOPE = { name: "turnout-kit" } as const;

type Times = Pick<DataPoint<number>, "startTime" | "endTime">;

function dataOf(family: Family, times: Times): MetricData {
  const { name, help } = family;
  const common = {
    descriptor: { name, description: help, unit: unitOf(name), valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  const values = (points: readonly Point[]): DataPoint<number>[] =>
    points.map(({ labels, value }) => ({ ...times, attributes: { ...labels }, value }));
  switch (family.kind) {
    case "counter":
      return { ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints: values(family.points) };
    case "gauge":
      return { ...common, dataPointType: DataPointType.GAUGE, dataPoints: values(family.points) };
    case "histogram": {
      const dataPoints = family.points.map((point) => ({
        ...times,
        attributes: { ...point.labels },
        value: histogramOf(point, family.buckets),
      }));
      return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
    }
    default:
      return never(family);
  }
}

const histogramOf = ({ counts, sum }: HistogramPoint, boundaries: readonly number[]): Histogram => ({
  buckets: { boundaries: [...boundaries], counts: [...counts] },
  sum,
  count: counts.reduce((all, count) => all + count, 0),
});

/** As the names say it (Prometheus, "Base units"). */
const unitOf = (name: string): string => (/_seconds(?:_total)?$/.test(name) ? "s" : "");

function exporterTo(sender: OtlpSender, given: AbortSignal): PushMetricExporter {
  return {
    export: (metrics, done) => {
      const all = metrics.scopeMetrics.flatMap((scope) => scope.metrics);
      const batch = {
        signal: "metrics" as const,
        items: all.reduce((sum, { dataPoints }) => sum + dataPoints.length, 0),
        body: ProtobufMetricsSerializer.serializeRequest(metrics) ?? new Uint8Array(),
        rejected: (answer: Uint8Array): number =>
          ProtobufMetricsSerializer.deserializeResponse(answer).partialSuccess?.rejectedDataPoints ?? 0,
      };
      const push = async (): Promise<void> => {
        // Whether it was taken is the sender's to count and to say: to the reader it is done either way.
        await sender.send(batch, given);
        done({ code: 0 });
      };
      void push();
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
    selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
  };
}
