import { z } from "zod";
import { tls } from "./endpoint-settings.ts";
import { address, type DeepReadonly, duration, label, port, secretReference, whole } from "./setting-fields.ts";

/** How a process reaches etcd, and as what it registers there. */
export const coordSettings = z
  .strictObject({
    endpoints: z
      .array(address)
      .min(1)
      .max(9)
      .prefault(["127.0.0.1:2379", "127.0.0.1:2389", "127.0.0.1:2399"])
      .describe("host:port of each member of the etcd cluster. COORD_ENDPOINTS in the environment outranks it."),
    tls: tls.prefault({}),
    username: z.string().min(1).max(128).optional().describe("User of etcd; left out, no authentication."),
    password: secretReference.optional().describe("Password of the user."),
    timeout: duration("100ms", "1m").prefault("5s").describe("Bound of one call, connecting included."),
    retry: z
      .strictObject({
        maxRetries: whole(0, 20).default(3).describe("Further tries of a call that may be repeated."),
        initialInterval: duration("10ms", "1m").prefault("1s").describe("Longest wait before the first of them."),
        maxInterval: duration("10ms", "5m").prefault("30s").describe("Longest wait of all; each has full jitter."),
        multiplier: z.number().min(1).max(10).default(2).describe("Growth from one wait to the next."),
      })
      .prefault({})
      .describe("Tries of single calls. A watch reconnects for ever, at least every 2 s, whatever stands here."),
    enableMetrics: z.boolean().default(true).describe("Whether calls are counted."),
    enableTracing: z.boolean().default(false).describe("Whether calls are spans of a trace."),
    serviceName: label.optional().describe("Name in the registry; left out, the service's own."),
    serviceVersion: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .describe("Version in the registry; left out, the version of the build."),
    servicePort: port.optional().describe("Port in the registry; left out, the one that the service listens on."),
    healthCheckInterval: duration("1s", "10m").prefault("30s").describe("How often the cluster's health is asked for."),
    ttl: duration("1s", "10m")
      .prefault("60s")
      .describe("Life of the lease behind registration, locks and instance ids; renewed at a third of it."),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    error: "needs username and password together",
    path: ["username"],
  })
  .refine(({ retry }) => retry.initialInterval <= retry.maxInterval, {
    error: "is longer than retry.maxInterval",
    path: ["retry", "initialInterval"],
    params: { allowed: "at most retry.maxInterval" },
  });

export type CoordSettings = DeepReadonly<z.output<typeof coordSettings>>;
