import { z } from "zod";
import type { EndpointSettings } from "./endpoint-settings.ts";
import { absolutePath, block, type DeepReadonly, duration, hostName, label, port, whole } from "./setting-fields.ts";

const log = z
  .strictObject({
    level: z
      .enum(["debug", "info", "warn", "error"])
      .default("info")
      .describe("Least severe line that is written. Reloadable."),
  })
  .prefault({})
  .describe("The operator's own log: one JSON line per event on stdout.");

const listen = z
  .strictObject({
    host: hostName
      .default("127.0.0.1")
      .describe("Address for probes and metrics. Beyond loopback only /livez, /readyz and /startupz are served."),
    port: whole(0, 65_535)
      .default(18_080)
      .describe("Port for probes and metrics; 0 takes any free one, which the log names."),
  })
  .prefault({})
  .describe("Where the operator listens.");

const leaderElection = z
  .strictObject({
    enabled: z.boolean().default(true).describe("Off only where exactly one operator runs, such as on a laptop."),
    name: label.default("turnout").describe("Name of the Lease; the same for all replicas."),
    namespace: label.default("turnout-system").describe("Namespace of the Lease."),
  })
  .prefault({})
  .describe("Which replica acts. Safety never rests on it: fences and claims do.");

const limits = z
  .strictObject({
    claimed: whole(1, 10_000).default(200).describe("Tasks of one namespace that may hold a tenant at once."),
    acts: whole(1, 1000).default(64).describe("Stages of one namespace that may be carried out at once."),
    sockets: whole(1, 64).default(4).describe("Connections that one namespace may hold to one address."),
  })
  .prefault({})
  .describe("Caps per namespace, so that one cannot starve the others.");

const retry = z
  .strictObject({
    maxAttempts: whole(1, 20).default(3).describe("Attempts of a stage, the first included."),
    backoff: z
      .strictObject({
        initial: duration("10ms", "10m").prefault("1s").describe("Longest wait before the second attempt."),
        factor: z.number().min(1).max(10).default(2).describe("Growth from one wait to the next."),
        max: duration("10ms", "1h").prefault("30s").describe("Longest wait of all; each is drawn with full jitter."),
      })
      .prefault({})
      .describe("Waits between attempts."),
  })
  .prefault({})
  .describe("Attempts of a stage that says nothing itself.");

const defaults = z
  .strictObject({
    timeout: duration("1s", "24h").prefault("5m").describe("Bound of a whole stage, all attempts and waits included."),
    attemptTimeout: duration("100ms", "10m").prefault("15s").describe("Bound of one attempt."),
    instanceTimeout: duration("10ms", "5m").prefault("3s").describe("Bound of one request to one instance."),
    retry,
  })
  .prefault({})
  .describe("What a stage gets that says nothing itself. A running plan keeps what it was frozen with.");

const ceiling = z
  .strictObject({
    cidrs: z
      .array(block)
      .max(256)
      .describe(
        "Blocks that no endpoint may leave. Loopback and private ranges count only if a block lies inside them.",
      ),
    ports: z.array(port).max(1024).describe("Ports that no endpoint may leave."),
    secretRoots: z.array(absolutePath).max(16).prefault([]).describe("Folders under which secret files may lie."),
    patchKinds: z
      .array(z.string().min(1).max(128))
      .max(32)
      .default([])
      .describe("Kinds that patch stages may touch, as Kind or Kind.group."),
  })
  .describe("The outermost bound of every policy. Read from this file only, never from the config centre.");

/** The operator's own settings. */
export const operatorSettings = z.strictObject({
  log,
  listen,
  leaderElection,
  limits,
  defaults,
  ceiling,
});

export type OperatorSettings = DeepReadonly<z.output<typeof operatorSettings>>;

export interface Settings {
  readonly operator: OperatorSettings;
  readonly endpoints: readonly EndpointSettings[];
}
