import type { Clock } from "../lib/seams.ts";
import type { Millis } from "../lib/time.ts";
import type { TenantRecord } from "./tenant-record.ts";

/** Operations that another process sharing the store has begun. */
export interface OthersTurns {
  /** Whether the operation that `record` says is running may still be. */
  mayRun(tenant: string, record: TenantRecord): boolean;
  /** Said of an operation of our own that ended without being settled. */
  ended(tenant: string, revision: number): void;
}

interface Watched {
  readonly revision: number;
  /** Monotonic time at which this process first saw it; null once it is known to have ended. */
  readonly since: Millis | null;
}

/**
 * An operation counts as running for `after` from the moment at which *this* process first saw it, by its monotonic clock: no
 * two machines need to agree on the time (protocol.md, Taking over).
 */
export function watchOthersTurns(after: Millis, atMost: number, clock: Clock): OthersTurns {
  const watched = new Map<string, Watched>();

  const keep = (tenant: string, entry: Watched): void => {
    watched.delete(tenant);
    watched.set(tenant, entry);
    const oldest = watched.keys().next();
    if (watched.size > atMost && oldest.done !== true) watched.delete(oldest.value);
  };

  return {
    mayRun: (tenant, { revision, unsettled }) => {
      if (unsettled !== "running") {
        watched.delete(tenant);
        return false;
      }
      const seen = watched.get(tenant);
      if (seen?.revision !== revision) {
        keep(tenant, { revision, since: clock.monotonic() });
        return true;
      }
      return seen.since !== null && clock.monotonic() - seen.since < after;
    },
    ended: (tenant, revision) => keep(tenant, { revision, since: null }),
  };
}

/** For a store that one process has to itself: what it finds running there died with the process before. */
export const nobodyElse: OthersTurns = { mayRun: () => false, ended: () => undefined };
