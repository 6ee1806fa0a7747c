import { withLogContext } from "../../src/infra/clog/log-context.ts";
import { type Log, openLog } from "../../src/infra/clog/log.ts";
import { type MetricsSettings, metricsSettings } from "../../src/infra/config/metrics-settings.ts";
import { type OpenedMetrics, openMetrics } from "../../src/infra/metrics/metrics.ts";
import { openTelemetry, type Telemetry, type TelemetryDeps } from "../../src/infra/metrics/open-telemetry.ts";
import { passingTracer, type Tracer } from "../../src/infra/metrics/tracer.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { openGuard } from "../../src/infra/egress/connect.ts";
import { configuredServerPolicy } from "../../src/infra/egress/policy.ts";
import { parseAddress } from "../../src/lib/address.ts";
import type { Clock } from "../../src/lib/seams.ts";

export interface Traced extends AsyncDisposable {
  readonly telemetry: Telemetry;
  readonly tracer: Tracer;
  readonly metrics: OpenedMetrics;
  readonly log: Log;
  said(): readonly Readonly<Record<string, unknown>>[];
}

export const settingsFor = (address: string, about: Readonly<Record<string, unknown>> = {}): MetricsSettings =>
  metricsSettings.parse({ enableTracing: true, otlpEndpoint: address, otlpTls: "None", ...about });

/** Telemetry as the kit opens it, over sockets of the guard. */
export async function openTraced(
  settings: MetricsSettings,
  clock: Clock = systemClock,
  more: Pick<TelemetryDeps, "pushEvery"> = {},
): Promise<Traced> {
  const lines: string[] = [];
  const log = openLog({ level: "debug", clock, destination: { write: (line) => void lines.push(line) } });
  const metrics = openMetrics();
  const resolve = (): Promise<never> => Promise.reject(new Error("no names here"));
  const sockets = { perAddress: 8, perNamespace: 8 };
  const guard = openGuard({ resolve, clock: systemClock, sockets, reserved: () => [] });
  const address = settings.otlpEndpoint ?? "";
  const policy = configuredServerPolicy("otlp", parseAddress(address)?.port ?? 0);
  const telemetry = await openTelemetry(settings, {
    clock,
    rng: systemRng,
    metrics,
    log: log.module("otlp"),
    bind,
    dial: (signal) => guard.connect({ policy, namespace: "", address, tls: null }, signal),
    ...more,
    about: { service: "im-test", instance: "im-test-0", version: "1.2.3", environment: "test" },
  });
  if (telemetry === null) throw new Error("the settings send nothing");
  return {
    telemetry,
    tracer: telemetry.tracer ?? passingTracer(systemRng, bind),
    metrics,
    log,
    said: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    [Symbol.asyncDispose]: () => telemetry.close(),
  };
}

const bind = <T>(trace_id: string, work: () => T): T => withLogContext({ trace_id }, work);
