import { Kysely } from "kysely";
import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { infraErrorOf } from "../../lib/infra-error.ts";
import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import { type Millis, millisOf, minutes, seconds } from "../../lib/time.ts";
import type { DbSettings } from "../config/db-settings.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Db, DbDeps, Migrated, Migration, PoolView, Queries } from "./db.ts";
import { dbError, isDbError } from "./db-failures.ts";
import { applyMigrations, planned, type Run } from "./migrations.ts";
import { openerOf } from "./opener.ts";
import { poolDialect } from "./pool-dialect.ts";
import { type PoolLimits, SessionPool } from "./session-pool.ts";
import type { Session } from "./session.ts";
import { openRunner, type RunStatement } from "./statement-runner.ts";
import { tableNames, type TableNames } from "./table-names.ts";
import { traced } from "./traced-statements.ts";

/**
 * Opens the database, makes it where it is absent, and has spoken with it when this resolves.
 * @throws InfraError that says what a person has to mend
 */
export async function openDb<Tables>(settings: DbSettings, deps: DbDeps): Promise<Db<Tables>> {
  const db = new OpenDb<Tables>(settings, deps);
  try {
    await db.ping(deps.signal);
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** In force without a restart; the rest is looked at once, at the start. */
const LIVE = [
  "maxOpenConns",
  "maxIdleConns",
  "connMaxLifetime",
  "connMaxIdleTime",
  "poolTimeout",
  "queryTimeout",
  "logLevel",
  "slowThreshold",
] as const satisfies readonly (keyof DbSettings)[];
const isLive = (field: string): boolean => (LIVE as readonly string[]).includes(field);

const DEADLOCK_BACKOFF: Backoff = { initial: millisOf(10), factor: 2, max: seconds(1) };
const CHECKED_WITHIN = seconds(3);
const MIGRATION_TURN = minutes(1);
const MIGRATION_LOOK = millisOf(100);
const forEver = new AbortController().signal;

class OpenDb<Tables> implements Db<Tables> {
  readonly queries: Queries<Tables>;
  readonly #deps: DbDeps;
  readonly #pool: SessionPool;
  readonly #run: RunStatement;
  readonly #names: TableNames;
  readonly #closed = new AbortController();
  #settings: DbSettings;
  #closing: Promise<void> | null = null;

  constructor(settings: DbSettings, deps: DbDeps) {
    this.#settings = settings;
    this.#deps = deps;
    this.#names = tableNames(settings);
    const { clock, log, metrics } = deps;
    const tracer = settings.enableTracing ? deps.tracer : undefined;
    this.#pool = new SessionPool({
      clock,
      limits: poolLimits(settings),
      open: openerOf(settings, deps),
      onRefused: (error) => metrics?.infraFailed(error),
    });
    metrics?.onScrape(() => this.#show(metrics));
    this.#run = traced(
      openRunner({ clock, log, metrics, limits: () => this.#settings, closed: this.#closed.signal }),
      settings.driver,
      tracer,
    );
    this.queries = new Kysely<Tables>({ dialect: poolDialect(settings.driver, { pool: this.#pool, run: this.#run }) });
  }

  get driver(): DbSettings["driver"] {
    return this.#settings.driver;
  }
  table<N extends string>(name: N): N {
    return this.#names.table(name) as N;
  }
  shard<N extends string>(name: N, key: string | null | undefined): N {
    return this.#names.shard(name, key) as N;
  }
  shards(name: string): readonly string[] {
    return this.#names.shards(name);
  }
  pool(): PoolView {
    return this.#pool.view();
  }

  async transaction<T>(work: (queries: Queries<Tables>) => Promise<T>, signal: AbortSignal = forEver): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await this.queries.transaction().execute(work);
      } catch (error) {
        // The server has undone it, or will: what was not committed is not there.
        const mayRepeat = isDbError(error, "Deadlock", "ConnectionLost") && attempt <= this.#settings.maxRetries;
        if (!mayRepeat || this.#closed.signal.aborted) throw error;
        const { clock, rng, log } = this.#deps;
        log?.info({ code: error.code, attempt }, "a transaction is done again");
        await clock.sleep(
          backoffAfter(attempt, DEADLOCK_BACKOFF, rng.float()),
          AbortSignal.any([signal, this.#closed.signal]),
        );
      }
    }
  }

  async migrate(migrations: readonly Migration[], signal: AbortSignal = forEver): Promise<Migrated> {
    const { clock, log } = this.#deps;
    const plan = planned(migrations, this.#names);
    const migrated = await this.#onOne(signal, async (session) => {
      const run: Run = (sql, parameters = []) => this.#run(session, { sql, parameters });
      const turn = this.driver === "mysql" ? mysqlTurn(this.#names.table("migrate")) : SQLITE_TURN;
      await this.#taken(() => turn.take(run), signal);
      try {
        const done = await applyMigrations(plan, { run, names: this.#names, clock, signal });
        await turn.keep(run);
        return done;
      } catch (error) {
        await turn.leave(run).catch(() => session.destroy());
        throw error;
      }
    });
    log?.info({ applied: migrated.applied.length, standing: migrated.standing.length }, "migrations are applied");
    return migrated;
  }

  async ping(signal: AbortSignal = forEver): Promise<Millis> {
    const { clock } = this.#deps;
    const started = clock.monotonic();
    await this.#onOne(signal, (session) => this.#run(session, { sql: "SELECT 1", parameters: [] }));
    return millisOf(clock.monotonic() - started);
  }

  async check(signal: AbortSignal): Promise<Health> {
    const view = this.#pool.view();
    const details = { ...view, driver: this.driver };
    if (view.waiting > 0)
      return {
        status: "degraded",
        message: `all ${view.limit} connections are in use, ${view.waiting} callers wait`,
        details,
      };
    try {
      const bound = { clock: this.#deps.clock, timeout: CHECKED_WITHIN, signal };
      const took = await withDeadline(bound, (ended) => this.ping(ended));
      return { status: "healthy", message: "answers", details: { ...details, tookMs: Math.round(took) } };
    } catch (error) {
      return { status: "unhealthy", message: infraErrorOf("db", error).message, details };
    }
  }

  reload(next: DbSettings): Reloaded {
    const changed = reloaded(this.#settings, next, isLive);
    const live = Object.fromEntries(Object.entries(next).filter(([field]) => isLive(field))) as Partial<DbSettings>;
    this.#settings = { ...this.#settings, ...live };
    this.#pool.limit(poolLimits(this.#settings));
    return changed;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
  async #close(): Promise<void> {
    await this.#pool.close();
    this.#closed.abort();
  }

  #show(metrics: Metrics): void {
    const { limit, open, idle, waiting } = this.#pool.view();
    const component = "db";
    metrics.set("infra_pool_limit", { component }, limit);
    metrics.set("infra_pool_connections", { component, state: "used" }, open - idle);
    metrics.set("infra_pool_connections", { component, state: "idle" }, idle);
    metrics.set("infra_pool_waiting", { component }, waiting);
  }

  async #onOne<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#pool.lend(signal);
    try {
      return await work(session);
    } finally {
      this.#pool.restore(session);
    }
  }

  /** Asks again until it is our turn. */
  async #taken(take: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const either = AbortSignal.any([signal, this.#closed.signal]);
    const started = clock.monotonic();
    while (!(await take())) {
      if (clock.monotonic() - started >= MIGRATION_TURN) throw dbError("MigrationBusy", "");
      await clock.sleep(MIGRATION_LOOK, either);
    }
  }
}

/** One process migrates at a time. */
interface Turn {
  readonly take: (run: Run) => Promise<boolean>;
  readonly keep: (run: Run) => Promise<unknown>;
  readonly leave: (run: Run) => Promise<unknown>;
}

/** A lock of the server that ends with the connection. Its name is the server's, so it says which database is meant. */
function mysqlTurn(name: string): Turn {
  const release = (run: Run): Promise<unknown> =>
    run("SELECT RELEASE_LOCK(CONCAT(LEFT(DATABASE(), 20), '.', ?))", [lockName(name)]);
  return {
    take: async (run) => {
      const { rows } = await run("SELECT GET_LOCK(CONCAT(LEFT(DATABASE(), 20), '.', ?), 0) AS ours", [lockName(name)]);
      return Number(rows[0]?.ours) === 1;
    },
    keep: release,
    leave: release,
  };
}
/** 64 characters at most, the database's among them. */
const lockName = (name: string): string => name.slice(-40);

/** One transaction round all of it: what defines tables is undone as well. */
const SQLITE_TURN: Turn = {
  take: (run) =>
    run("BEGIN IMMEDIATE").then(
      () => true,
      (error: unknown) => {
        if (isDbError(error, "Deadlock")) return false;
        throw error;
      },
    ),
  keep: (run) => run("COMMIT"),
  leave: (run) => run("ROLLBACK"),
};

/** The embedded database has one connection: it writes one transaction at a time, and one in memory is its connection. */
function poolLimits(settings: DbSettings): PoolLimits {
  const { driver, maxOpenConns, maxIdleConns, connMaxLifetime, connMaxIdleTime, poolTimeout } = settings;
  if (driver === "sqlite") return { open: 1, idle: 1, lifetime: NEVER, idleTime: NEVER, wait: poolTimeout };
  return {
    open: maxOpenConns,
    idle: maxIdleConns,
    lifetime: connMaxLifetime,
    idleTime: connMaxIdleTime,
    wait: poolTimeout,
  };
}
const NEVER = millisOf(Number.MAX_SAFE_INTEGER);
