import type { Boundary, Clock, Resolve, Rng } from "./lib/seams.ts";
import type { Millis } from "./lib/time.ts";
import type { LogDestination, OpenedLog } from "./infra/clog/log.ts";
import type { Connected } from "./infra/egress/connect.ts";
import type { Metrics } from "./infra/metrics/metrics.ts";

/** Everything that comes from outside and that tests replace. */
export interface Seams {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly boundary: Boundary;
  readonly resolve: Resolve;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logTo: LogDestination;
  /** Longest delay of the event loop since it was asked last. */
  readonly loopDelay: () => Millis;
  readonly onConnected?: (connected: Connected) => void;
}

/** What there is before there are settings. */
export interface Tools {
  readonly log: OpenedLog;
  readonly metrics: Metrics;
}
