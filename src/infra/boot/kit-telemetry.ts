import type { Rng } from "../../lib/seams.ts";
import { seconds } from "../../lib/time.ts";
import { withLogContext } from "../clog/log-context.ts";
import { openTelemetry } from "../metrics/open-telemetry.ts";
import { type Bind, passingTracer, type RelayTracer, relayTracer } from "../metrics/tracer.ts";
import type { Boot } from "./boot-all.ts";
import { type About, PHASE_2, type Second } from "./kit.ts";
import type { KitConfig } from "./kit-config.ts";

/** One id in logs, headers and spans. */
const bind: Bind = (trace_id, work) => withLogContext({ trace_id }, work);

/** Until the settings are known, and where they make no traces: ids go from one process to the next, and into the logs. */
export const idsOnly = (rng: Rng): RelayTracer => relayTracer(passingTracer(rng, bind));

/**
 * Traces and pushed series, where the settings say so; not a step at all where they do not. Nobody needs a collector to start: where
 * it cannot be opened the process goes on, degraded.
 */
export async function openCollector(boot: Boot, about: About, { env, network, config, log }: Second): Promise<void> {
  const { options, seams, metrics, health, tracing } = about;
  const settings = config.metrics.current();
  const idle = tracedInVain(config);
  if (idle.length > 0)
    log.warn({ components: idle }, "enableTracing of these has no effect: metrics.enableTracing is false");
  const { otlpEndpoint: address, otlpTls, enableTracing, enableMetrics, exporterType } = settings;
  if (address === undefined || !(enableTracing || (enableMetrics && exporterType === "otlp"))) return;
  const secured = () => network.tls("otlp", otlpTls, { address, alpn: ["http/1.1"] });
  await boot.optional({
    ...PHASE_2,
    name: "otlp",
    todo: "see otlpEndpoint and otlpTls of the metrics settings",
    open: async () => {
      await secured();
      const telemetry = await openTelemetry(settings, {
        ...seams,
        metrics,
        log: log.module("otlp"),
        bind,
        dial: async (signal) => network.connect("otlp", { address, tls: await secured() }, signal),
        about: { ...options, environment: env },
      });
      if (telemetry === null) return null;
      const before = tracing.present();
      if (telemetry.tracer !== null) tracing.to(telemetry.tracer);
      config.metrics.subscribe({ name: "otlp", commit: (next) => void telemetry.reload(next) });
      health.add({ component: "otlp", critical: false, check: async () => telemetry.check() });
      return { telemetry, before };
    },
    close: async (opened) => {
      if (opened === null) return;
      tracing.to(opened.before);
      await opened.telemetry.close();
    },
    closeWithin: seconds(5),
  });
}

/** Components whose settings ask for spans that nobody makes. Messages carry the ids of a trace all the same. */
function tracedInVain({ metrics, coord, cache, db, mq }: KitConfig): readonly string[] {
  if (metrics.current().enableTracing) return [];
  const asked = { coord, cache, db, mq };
  return Object.entries(asked).flatMap(([name, manager]) => (manager?.current().enableTracing === true ? [name] : []));
}
