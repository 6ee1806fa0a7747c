// db: a relational database for a service: bounded connections, transactions that survive a deadlock, guarded migrations.
// Nothing here knows a table of anybody, and no other folder speaks to MySQL or SQLite.
import type { Kysely } from "kysely";
import type { Clock, Rng } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import type { Reloaded } from "../../lib/reloaded.ts";
import type { Log } from "../clog/log.ts";
import type { DbSettings } from "../config/db-settings.ts";
import type { SecretReference } from "../config/setting-fields.ts";
import type { Connection } from "../egress/connect.ts";
import type { TlsMaterial } from "../egress/tls.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";

/** Typed statements. `sql` of `./sql.ts` writes what they cannot say. */
export type Queries<Tables> = Kysely<Tables>;

/** Opens one guarded socket to `host:port`, in the clear: MySQL secures it later, by itself. */
export type Dial = (address: string, signal: AbortSignal) => Promise<Connection>;

export interface DbDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly dial: Dial;
  /** Read anew for each connection, so that a changed password is used. Rejects with InfraError. */
  readonly secret: (reference: SecretReference) => Promise<string>;
  /** Of the settings' `tls`, read already; null: in the clear. */
  readonly tls: TlsMaterial | null;
  readonly log?: Log;
  readonly metrics?: Metrics;
  /** Used where the settings' `enableTracing` says so. */
  readonly tracer?: Tracer;
  /** Gives the start up. */
  readonly signal?: AbortSignal;
}

export interface PoolView {
  readonly limit: number;
  /** Connections that stand: lent and idle ones. */
  readonly open: number;
  readonly idle: number;
  /** Callers that wait for a connection. */
  readonly waiting: number;
}

/** How a table is called in the database at hand. */
export interface Names {
  readonly driver: DbSettings["driver"];
  readonly table: (name: string) => string;
  /** All tables that a sharded one is spread over. */
  readonly shards: (name: string) => readonly string[];
}

export interface Migration {
  /** Sorted as text: `0001-messages`. */
  readonly id: string;
  /** Statements, one each. What they say must not change once they were applied anywhere. */
  readonly up: (names: Names) => readonly string[];
}

export interface Migrated {
  readonly applied: readonly string[];
  /** Were applied before. */
  readonly standing: readonly string[];
}

/** Every call rejects with InfraError (or with what the caller's own function threw) and is bounded by the settings. */
export interface Db<Tables> extends AsyncDisposable {
  readonly driver: DbSettings["driver"];
  /** Statements on their own. One whose answer is lost may have been done: `ConnectionLost` and `QueryTimeout` say so. */
  readonly queries: Queries<Tables>;
  /** The name as the database has it, with the prefix. */
  table<N extends keyof Tables & string>(name: N): N;
  /** All tables that a sharded one is spread over. */
  shards(name: string): readonly string[];
  /** The table that holds this key's rows. @throws InfraError VALIDATION `ShardKeyMissing` for a key that is none */
  shard<N extends keyof Tables & string>(name: N, key: string | null | undefined): N;
  /**
   * All of it or nothing. Where the server ends it (deadlock) or is lost before the commit, `work` runs again on a new
   * transaction: it may do nothing that counts but statements. @throws InfraError `CommitUnknown` where nobody knows
   */
  transaction<T>(work: (queries: Queries<Tables>) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Applies what is missing, in order, once, however many processes ask. @throws InfraError CONFIG where history and code differ */
  migrate(migrations: readonly Migration[], signal?: AbortSignal): Promise<Migrated>;
  /** How long an empty question took. */
  ping(signal?: AbortSignal): Promise<Millis>;
  pool(): PoolView;
  check(signal: AbortSignal): Promise<Health>;
  /** Puts in force what can be changed while it runs. */
  reload(next: DbSettings): Reloaded;
  /** Waits a few seconds for what is under way. May be called twice. */
  close(): Promise<void>;
}
