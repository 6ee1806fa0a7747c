import { formatDuration, type Instant, type Millis } from "../../lib/time.ts";
import type { Health } from "../health/health.ts";
import type { ConfigSource } from "./choose.ts";

export interface ConfigStatus {
  /** The highest layer of the value in force. */
  readonly source: ConfigSource;
  /** Revision of the centre that the value in force came from. */
  readonly revision: number | null;
  /** Since when it took force, and since when something is wrong. */
  readonly appliedAt: Instant;
  readonly degradedSince?: Instant;
  readonly cause?: string;
  /** STALE age: how long the centre was not heard; zero while it is, or where none is configured. */
  readonly stale: Millis;
  /** What is wrong with a newer value that is therefore not in force. */
  readonly rejected: readonly string[];
  /** Paths whose change takes force only with a restart. */
  readonly restartNeeded: readonly string[];
}

/** For the health board: a value is always there, so it is never worse than degraded. */
export function healthOf({ source, revision, cause, stale, rejected, restartNeeded }: ConfigStatus): Health {
  const details = {
    source,
    ...(revision === null ? {} : { revision }),
    ...(stale > 0 ? { stale: formatDuration(stale) } : {}),
    ...(rejected.length > 0 ? { rejected: rejected.length } : {}),
    ...(restartNeeded.length > 0 ? { restartNeeded: restartNeeded.join(", ") } : {}),
  };
  if (cause === undefined) return { status: "healthy", message: `in force from ${source}`, details };
  return { status: "degraded", message: cause, details };
}

/** What is wrong now, in one text: the centre first, then a refused value, then the snapshot. */
export interface Troubles {
  readonly lost: string | null;
  readonly rejected: readonly string[];
  readonly snapshot: string | null;
}

export function causeOf({ lost, rejected, snapshot }: Troubles, source: ConfigSource): string | null {
  const causes = [
    ...(lost === null ? [] : [`configuration centre not heard (${lost}); ${source} values in force`]),
    ...(rejected.length === 0 ? [] : [`a newer value is refused and the last good one kept: ${manyOf(rejected)}`]),
    ...(snapshot === null ? [] : [snapshot]),
  ];
  return causes.length === 0 ? null : causes.join("; ");
}

const manyOf = ([first = "", ...more]: readonly string[]): string =>
  more.length === 0 ? first : `${first} (and ${more.length} more)`;
