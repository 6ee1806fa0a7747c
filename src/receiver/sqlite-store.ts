import { DatabaseSync } from "node:sqlite";
import { type Millis, seconds } from "../lib/time.ts";
import type { ReceiverStore } from "./store.ts";
import { formatRecord, parseRecord } from "./tenant-record.ts";

const SCHEMA_VERSION = 1;

/** How long opening waits for the process before this one to let go of the file: a restart, not two at once. */
const HANDOVER: Millis = seconds(2);

/** https://www.sqlite.org/rescode.html */
const REASONS: ReadonlyMap<number, string> = new Map([
  [5, "is held by another process; stop that one first"],
  [8, "cannot be written; correct its owner or mode"],
  [14, "cannot be opened; create its folder and give this process access to it"],
  [26, "is a file of another kind; name another path"],
]);

/**
 * One file, one process: the lock on the file is held until `close` or the process ends, however it ends. A second process,
 * also one that was only paused, can therefore never be at work on the same tenants. Every write reaches the disk before
 * `save` resolves (WAL, synchronous=FULL).
 *
 * @throws Error where the file is held by another process, is no database, or was made by a newer release.
 */
export function openSqliteStore(path: string): ReceiverStore {
  const database = open(path);
  const read = database.prepare("SELECT record FROM tenants WHERE tenant = ?");
  const insert = database.prepare(
    "INSERT INTO tenants (tenant, revision, fence, record) VALUES (:tenant, :revision, :fence, :record) ON CONFLICT DO NOTHING",
  );
  const update = database.prepare(
    `UPDATE tenants SET revision = :revision, fence = :fence, record = :record
     WHERE tenant = :tenant AND revision = :revision - 1 AND fence <= :fence`,
  );
  return {
    durable: true,
    shared: false,
    load: async (tenant) => {
      const record = read.get(tenant)?.["record"];
      return record === undefined ? null : parseRecord(String(record), tenant);
    },
    save: async (tenant, next) => {
      const write = next.revision === 1 ? insert : update;
      const row = { tenant, revision: next.revision, fence: next.fence, record: formatRecord(next) };
      return write.run(row).changes === 1 ? "stored" : "changed";
    },
    close: async () => {
      if (database.isOpen) database.close();
    },
  };
}

function open(path: string): DatabaseSync {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path, { timeout: HANDOVER });
    // Before the first look at the file: WAL under an exclusive lock needs no shared memory, and no second process gets in.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    database.exec("BEGIN EXCLUSIVE");
    const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version > SCHEMA_VERSION)
      throw new Error(`receiver store ${path} was written by a newer release; start that one`);
    database.exec(
      `CREATE TABLE IF NOT EXISTS tenants
         (tenant TEXT PRIMARY KEY, revision INTEGER NOT NULL, fence TEXT NOT NULL, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
       PRAGMA user_version = ${SCHEMA_VERSION};
       COMMIT`,
    );
    return database;
  } catch (error) {
    database?.close();
    const reason = error instanceof Error && "errcode" in error ? REASONS.get(Number(error.errcode)) : undefined;
    throw reason === undefined ? error : new Error(`receiver store ${path} ${reason}`, { cause: error });
  }
}
