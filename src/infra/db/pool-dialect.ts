import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from "kysely";
import type { DbSettings } from "../config/db-settings.ts";
import { dbError, isDbError } from "./db-failures.ts";
import type { SessionPool } from "./session-pool.ts";
import type { Session } from "./session.ts";
import type { RunStatement } from "./statement-runner.ts";

export interface DialectDeps {
  readonly pool: SessionPool;
  readonly run: RunStatement;
}

/** kysely over our own connections: it compiles statements and types rows, and opens nothing. */
export function poolDialect(driver: DbSettings["driver"], deps: DialectDeps): Dialect {
  const begin = driver === "mysql" ? "begin" : "begin immediate";
  const createDriver = (): Driver => new PoolDriver(deps, begin);
  return driver === "mysql"
    ? {
        createDriver,
        createAdapter: () => new MysqlAdapter(),
        createQueryCompiler: () => new MysqlQueryCompiler(),
        createIntrospector: (db) => new MysqlIntrospector(db),
      }
    : {
        createDriver,
        createAdapter: () => new SqliteAdapter(),
        createQueryCompiler: () => new SqliteQueryCompiler(),
        createIntrospector: (db) => new SqliteIntrospector(db),
      };
}

const forEver = new AbortController().signal;

class PoolDriver implements Driver {
  readonly #deps: DialectDeps;
  readonly #begin: string;

  constructor(deps: DialectDeps, begin: string) {
    this.#deps = deps;
    this.#begin = begin;
  }
  init(): Promise<void> {
    return Promise.resolve();
  }
  async acquireConnection(options?: { readonly signal?: AbortSignal | undefined }): Promise<DatabaseConnection> {
    return new Lent(await this.#deps.pool.lend(options?.signal ?? forEver), this.#deps.run);
  }
  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    if (connection instanceof Lent) this.#deps.pool.restore(connection.session);
  }
  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(this.#begin));
  }
  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    const isSent = connection instanceof Lent && connection.session.alive;
    try {
      await connection.executeQuery(CompiledQuery.raw("commit"));
    } catch (error) {
      // It was sent, and nobody knows.
      if (isSent && isDbError(error, "ConnectionLost", "QueryTimeout", "Closed"))
        throw dbError("CommitUnknown", "", error);
      throw error;
    }
  }
  /** Where it fails, the connection ends, and the server does it then. What made it necessary is what the caller hears of. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (!(connection instanceof Lent) || !connection.session.alive) return;
    await connection.executeQuery(CompiledQuery.raw("rollback")).catch(() => connection.session.destroy());
  }
  /** The pool is closed by who opened it. */
  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

class Lent implements DatabaseConnection {
  readonly session: Session;
  readonly #run: RunStatement;

  constructor(session: Session, run: RunStatement) {
    this.session = session;
    this.#run = run;
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    const { rows, affected, insertId } = await this.#run(this.session, { sql, parameters });
    return {
      rows: rows as unknown as R[],
      ...(affected === null ? {} : { numAffectedRows: affected }),
      ...(insertId === null ? {} : { insertId }),
    };
  }

  /** All rows come at once: a stream would hold a connection for as long as its reader likes. */
  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    yield await this.executeQuery<R>(query);
  }
}
