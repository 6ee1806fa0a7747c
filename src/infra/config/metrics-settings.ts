import { z } from "zod";
import { tls } from "./endpoint-settings.ts";
import { address, type DeepReadonly, duration, label } from "./setting-fields.ts";

const metricWord = z
  .string()
  .max(32)
  .regex(/^[a-z][a-z0-9_]*$/, { error: "is not a part of a metric's name: a-z, 0-9 and _, beginning with a letter" });

/** What a process measures and where it shows it. */
export const metricsSettings = z
  .strictObject({
    serviceName: label
      .optional()
      .describe("Name in traces and pushed series (service.name); left out, the service's own."),
    enableMetrics: z.boolean().default(true).describe("Whether anything is measured."),
    exporterType: z
      .enum(["prometheus", "otlp"])
      .default("prometheus")
      .describe("prometheus: shown at listenAddr; otlp: also pushed to otlpEndpoint, every 15 s and at the end."),
    exporterEndpoint: z
      .string()
      .max(128)
      .regex(/^\/[a-z0-9/_-]*$/, { error: "is not a path that begins with /" })
      .default("/metrics")
      .describe("Path under which the series are shown."),
    listenAddr: address
      .prefault("127.0.0.1:9090")
      .describe("host:port on which they are shown; apart from the service's own."),
    namespace: metricWord.default("im").describe("First part of the names of the service's own metrics."),
    subsystem: metricWord.optional().describe("Second part of those names."),
    slowRequestThreshold: duration("1ms", "10m")
      .prefault("200ms")
      .describe("Requests that take longer are logged and counted as slow."),
    enableTracing: z
      .boolean()
      .default(false)
      .describe(
        "Whether traces are made and sent to otlpEndpoint; components add calls where their own enableTracing is true.",
      ),
    samplerType: z
      .enum(["const", "ratio"])
      .default("const")
      .describe(
        "const: all traces (samplerRatio 1) or none (0); ratio: that share. One begun elsewhere is kept as it was there.",
      ),
    samplerRatio: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe("Share of traces that are kept, from 0 to 1; 0 also ends those begun elsewhere."),
    otlpEndpoint: address
      .optional()
      .describe("host:port of the collector for traces and pushed series (OTLP, protobuf over HTTP)."),
    otlpTls: tls.prefault({}),
  })
  .refine(({ samplerType, samplerRatio }) => samplerType === "ratio" || samplerRatio === 0 || samplerRatio === 1, {
    error: "is a share although samplerType is const",
    path: ["samplerRatio"],
    params: { allowed: "0 or 1, or samplerType ratio" },
  })
  .refine(
    ({ enableTracing, exporterType, otlpEndpoint }) =>
      otlpEndpoint !== undefined || (!enableTracing && exporterType === "prometheus"),
    {
      error: "is missing although traces or series are to be sent there",
      path: ["otlpEndpoint"],
      params: { allowed: "host:port of a collector" },
    },
  );

export type MetricsSettings = DeepReadonly<z.output<typeof metricsSettings>>;
