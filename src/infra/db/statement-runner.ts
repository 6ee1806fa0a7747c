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
  return async (session, statement) => {
    const started = clock.monotonic();
    const about = () => ({ sql: shownSql(statement.sql), took: formatDuration(millisOf(clock.monotonic() - started)) });
    try {
      const result = await withDeadline({ clock, timeout: limits().queryTimeout, signal: closed }, (ended) =>
        session.query(statement, ended),
      );
      if (clock.monotonic() - started >= limits().slowThreshold) {
        if (says("warn")) log?.warn(about(), "slow statement");
      } else if (says("info")) log?.info(about(), "statement");
      return result;
    } catch (error) {
      const known = closed.aborted ? dbError("Closed", "", error) : (error as ReturnType<typeof dbError>);
      metrics?.infraFailed(known);
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
