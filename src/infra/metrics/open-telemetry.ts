import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { MetricsSettings } from "../config/metrics-settings.ts";
import type { Health } from "../health/health.ts";
import type { OpenedMetrics } from "./metrics.ts";
import { type DialCollector, OtlpSender } from "./otlp-sender.ts";
import type { Push } from "./otel-series.ts";
import type { Spans } from "./otel-spans.ts";
import type { Bind, Tracer } from "./tracer.ts";

export interface TelemetryDeps {
  /** One guarded socket to the settings' `otlpEndpoint`, secured as they say. */
  readonly dial: DialCollector;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: OpenedMetrics;
  readonly log: Log;
  readonly bind: Bind;
  readonly about: SentBy;
  /** Between two pushes of all series; 15 s unless said otherwise. */
  readonly pushEvery?: Millis;
}
/** Where the settings name no service, and beside it. */
export interface SentBy {
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  readonly environment: string;
}

/** What is sent to a collector: traces, pushed series, or both. */
export interface Telemetry extends AsyncDisposable {
  /** Null where the settings make no traces. */
  readonly tracer: Tracer | null;
  /** Puts in force what can be changed while it runs. */
  reload(next: MetricsSettings): Reloaded;
  check(): Health;
  /** Sends what waits, within 5 s. May be called twice. */
  close(): Promise<void>;
}

const LIVE: readonly string[] = [
  "slowRequestThreshold",
  "samplerType",
  "samplerRatio",
] satisfies readonly (keyof MetricsSettings)[];
/** A collector that hangs must not hold up the end of a process. */
const FLUSH = seconds(3);
const PUSH_EVERY = seconds(15);

/** Null where the settings send nothing to a collector. Then nothing of OpenTelemetry is loaded. */
export async function openTelemetry(settings: MetricsSettings, deps: TelemetryDeps): Promise<Telemetry | null> {
  const { enableTracing, enableMetrics, exporterType, otlpEndpoint } = settings;
  const pushes = enableMetrics && exporterType === "otlp";
  if (otlpEndpoint === undefined || !(enableTracing || pushes)) return null;
  const sender = new OtlpSender({ ...deps, address: otlpEndpoint });
  const about = attributesOf(deps.about, settings);
  const spans = enableTracing
    ? (await import("./otel-spans.ts")).openSpans(settings, { ...deps, sender, about })
    : null;
  const every = deps.pushEvery ?? PUSH_EVERY;
  const push = pushes ? (await import("./otel-series.ts")).openPush({ ...deps, sender, about, every }) : null;
  return new OpenTelemetry(settings, { sender, spans, push });
}

const attributesOf = (
  { service, instance, version, environment }: SentBy,
  { serviceName }: MetricsSettings,
): Readonly<Record<string, string>> => ({
  // Names of OpenTelemetry's semantic conventions, "Service" and "Deployment".
  "service.name": serviceName ?? service,
  "service.instance.id": instance,
  "service.version": version,
  "deployment.environment.name": environment,
});

interface Parts {
  readonly sender: OtlpSender;
  readonly spans: Spans | null;
  readonly push: Push | null;
}

class OpenTelemetry implements Telemetry {
  readonly #parts: Parts;
  #settings: MetricsSettings;
  #closing: Promise<void> | null = null;

  constructor(settings: MetricsSettings, parts: Parts) {
    this.#settings = settings;
    this.#parts = parts;
  }

  get tracer(): Tracer | null {
    return this.#parts.spans?.tracer ?? null;
  }

  reload(next: MetricsSettings): Reloaded {
    const said = reloaded(this.#settings, next, (field) => LIVE.includes(field));
    const { slowRequestThreshold, samplerType, samplerRatio } = next;
    this.#settings = { ...this.#settings, slowRequestThreshold, samplerType, samplerRatio };
    this.#parts.spans?.sample(next);
    return said;
  }

  check(): Health {
    return this.#parts.sender.check();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
  async #close(): Promise<void> {
    const { sender, spans, push } = this.#parts;
    await Promise.all([spans?.close(FLUSH), push?.close(FLUSH)]);
    await sender.close();
  }
}
