import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { Millis } from "../../lib/time.ts";
import { codeOfSqlite, dbError } from "./db-failures.ts";
import type { Session, Statement, StatementResult } from "./session.ts";

/** Where a database lives that nobody keeps. */
export const IN_MEMORY = ":memory:";

/** `patience`: how long it waits, standing still, for another process's transaction. @throws InfraError */
export function openSqlite(file: string, patience: Millis): Session {
  try {
    const database = new DatabaseSync(file, { timeout: patience, enableForeignKeyConstraints: true });
    const session = new SqliteSession(database, file);
    // Readers do not hold up the writer; what was committed is there after a crash of the process.
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    return session;
  } catch (error) {
    throw failureOf(error, file);
  }
}

/** The embedded database. A statement is done before the next line of the program runs, so no signal can cut it short. */
class SqliteSession implements Session {
  readonly #database: DatabaseSync;
  readonly #file: string;

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#file = file;
  }
  get alive(): boolean {
    return this.#database.isOpen;
  }
  destroy(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  async query({ sql, parameters }: Statement, ended: AbortSignal): Promise<StatementResult> {
    if (ended.aborted) throw dbError("QueryTimeout", this.#file);
    if (!this.alive) throw dbError("ConnectionLost", this.#file);
    try {
      const statement = this.#database.prepare(sql);
      const values = parameters.map(valueOf);
      if (statement.columns().length > 0) return { rows: statement.all(...values), affected: null, insertId: null };
      const { changes, lastInsertRowid } = statement.run(...values);
      return { rows: [], affected: BigInt(changes), insertId: BigInt(lastInsertRowid) };
    } catch (error) {
      throw failureOf(error, this.#file);
    }
  }
}

/** What the column types of SQLite can hold; the rest as the same text or number that MySQL stores. */
function valueOf(value: unknown): SQLInputValue {
  if (value === undefined) return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (value instanceof Date) return value.toISOString().slice(0, 23).replace("T", " ");
  const isPlain = value === null || ["string", "number", "bigint"].includes(typeof value) || ArrayBuffer.isView(value);
  return isPlain ? (value as SQLInputValue) : JSON.stringify(value);
}

function failureOf(error: unknown, file: string): Error {
  const { errcode, message } = error as { readonly errcode?: unknown; readonly message?: unknown };
  if (typeof errcode !== "number") return dbError("BadStatement", file, error);
  return dbError(codeOfSqlite(errcode, typeof message === "string" ? message : ""), file, error);
}
