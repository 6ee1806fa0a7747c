import { withDeadline } from "../../lib/deadline.ts";
import type { Clock } from "../../lib/seams.ts";
import { formatDuration, type Millis, millisOf } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { DbSettings } from "../config/db-settings.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { dbError } from "./db-failures.ts";
import type { Session, Statement, StatementResult } from "./session.ts";

export interface RunnerLimits {
  readonly queryTimeout: Millis;
  readonly slowThreshold: Millis;
  readonly logLevel: DbSettings["logLevel"];
  readonly enableMetrics: boolean;
}

export interface RunnerDeps {
  readonly clock: Clock;
  readonly limits: () => RunnerLimits;
  /** Ends with the component. */
  readonly closed: AbortSignal;
  readonly log?: Log | undefined;
  readonly metrics?: Metrics | undefined;
}

/** Sends one statement, within its bound; says what was slow or failed, without a value of any row. @throws InfraError */
export type RunStatement = (session: Session, statement: Statement) => Promise<StatementResult>;

const RANK: Readonly<Record<DbSettings["logLevel"], number>> = { silent: 0, error: 1, warn: 2, info: 3 };

export function openRunner({ clock, limits, closed, log, metrics }: RunnerDeps): RunStatement {
  const says = (level: DbSettings["logLevel"]): boolean => RANK[limits().logLevel] >= RANK[level];
  const measured = (outcome: "ok" | "failed", took: Millis): void => {
    const { enableMetrics, slowThreshold } = limits();
    if (!enableMetrics) return;
    metrics?.observe("infra_command_duration_seconds", { component: "db", outcome }, took / 1000);
    if (took >= slowThreshold) metrics?.count("infra_slow_total", { component: "db" });
  };
  return async (session, statement) => {
    const started = clock.monotonic();
    const took = (): Millis => millisOf(clock.monotonic() - started);
    const about = () => ({ sql: shownSql(statement.sql), took: formatDuration(took()) });
    try {
      const result = await withDeadline({ clock, timeout: limits().queryTimeout, signal: closed }, (ended) =>
        session.query(statement, ended),
      );
      measured("ok", took());
      if (took() >= limits().slowThreshold) {
        if (says("warn")) log?.warn(about(), "slow statement");
      } else if (says("info")) log?.info(about(), "statement");
      return result;
    } catch (error) {
      const known = closed.aborted ? dbError("Closed", "", error) : (error as ReturnType<typeof dbError>);
      metrics?.infraFailed(known);
      measured("failed", took());
      if (says("error")) log?.warn({ ...about(), code: known.code }, "statement failed");
      throw known;
    }
  };
}

const MOST_SHOWN = 500;

/** The text without what stands in quotes: it may be somebody's data. */
export const shownSql = (sql: string): string =>
  sql
    .slice(0, MOST_SHOWN * 4)
    .replaceAll(/'(?:[^'\\]|\\.|'')*(?:'|$)/g, "?")
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(0, MOST_SHOWN);
