import type { Clock, Resolve, Rng } from "../../lib/seams.ts";
import type { Cache } from "../cache/cache.ts";
import type { Log, LogDestination } from "../clog/log.ts";
import type { Environment, Service } from "../config/services.ts";
import type { Coord } from "../coord/coord.ts";
import type { Db } from "../db/db.ts";
import type { HealthBoard } from "../health/health.ts";
import type { OpenedMetrics } from "../metrics/metrics.ts";
import type { RelayTracer, Tracer } from "../metrics/tracer.ts";
import type { Mq } from "../mq/mq.ts";
import type { KitConfig } from "./kit-config.ts";
import type { Network } from "./kit-network.ts";
import type { Registered } from "./kit-registration.ts";
import type { RelayLog } from "./relay-log.ts";

/** required: no start without it, and unhealthy without it later. optional: the process goes on, degraded. */
export type Need = "required" | "optional";

export interface KitOptions {
  readonly service: Service;
  readonly version: string;
  /** Told apart from other processes of the service, such as the pod's name. */
  readonly instance: string;
  /** Root of the configuration tree; null where there is none. */
  readonly files: string | null;
  /** Folder for the last good values of the centre; null where they are not kept. */
  readonly snapshots: string | null;
  readonly secretRoots?: readonly string[];
  /** Stores that the service uses; one that its configuration does not know is a bug. */
  readonly stores: Partial<Readonly<Record<"cache" | "db" | "mq", Need>>>;
  /** As what it is registered once its servers are open, and not any more before they close. Left out: not at all. */
  readonly registered?: Registered;
  /** What answers requests, opened in order once everything else stands, closed before it. */
  readonly servers: (kit: Kit) => readonly KitServer[];
}
export interface KitServer {
  readonly name: string;
  open(signal: AbortSignal): Promise<OpenServer>;
}
export interface OpenServer {
  /** Where it listens, if that is what others should call. */
  readonly port?: number;
  close(): Promise<void>;
}

export interface KitSeams {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly resolve: Resolve;
  /** APP_ENV, COORD_ENDPOINTS and secrets. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: LogDestination;
  readonly stderr: LogDestination;
  /** Ends a start under way. */
  readonly signal: AbortSignal;
}

/** What a service is built from. Stores are null where they are optional and did not open, or are not used. */
export interface Kit {
  readonly env: Environment;
  readonly log: Log;
  readonly metrics: OpenedMetrics;
  /** For the service's own work, and for what answers its requests. Makes spans where the metrics settings say so. */
  readonly tracer: Tracer;
  readonly health: HealthBoard;
  readonly network: Network;
  readonly config: KitConfig;
  /** Null where no centre is configured: COORD_ENDPOINTS is `none`. */
  readonly coord: Coord | null;
  readonly cache: Cache | null;
  readonly db: Db<Record<string, Record<string, unknown>>> | null;
  readonly mq: Mq | null;
  /** Where /metrics and the probes are shown. */
  readonly shownAt: { readonly host: string; readonly port: number };
}

/** What the steps of a start are about. */
export interface About {
  readonly options: KitOptions;
  readonly seams: KitSeams;
  readonly relay: RelayLog;
  readonly metrics: OpenedMetrics;
  readonly tracing: RelayTracer;
  readonly health: HealthBoard;
}

/** All but the stores: the full configuration is known, the log and the numbers are as it says. */
export type Second = Omit<Kit, "cache" | "db" | "mq">;

export const PHASE_1 = { phase: 1 } as const;
export const PHASE_2 = { phase: 2 } as const;
