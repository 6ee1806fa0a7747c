import { type FailureMeaning, failuresOf } from "../../lib/infra-error.ts";

/** Everything that a call to a database can end with. */
const FAILURES = {
  ConnectFailed: { type: "CONNECTION", retryable: true, says: "no connection; check the address and the network path" },
  ConnectionLost: {
    type: "CONNECTION",
    retryable: false,
    says: "the connection broke under a statement, which may have been done; read before writing again",
  },
  QueryTimeout: {
    type: "TIMEOUT",
    retryable: false,
    says: "a statement took longer than queryTimeout and may have been done; read before writing again",
  },
  CommitUnknown: {
    type: "TIMEOUT",
    retryable: false,
    says: "the answer to a commit was lost; read what stands before doing it again",
  },
  Deadlock: { type: "CONFLICT", retryable: true, says: "others hold what it needs; do it again" },
  Duplicate: { type: "CONFLICT", retryable: false, says: "a row with this unique key exists" },
  ConstraintViolated: {
    type: "VALIDATION",
    retryable: false,
    says: "a value breaks a rule of the table (null, length, reference, check)",
  },
  AuthRefused: {
    type: "CONFIG",
    retryable: false,
    says: "user name or password is wrong; correct them in the db settings",
  },
  PermissionDenied: {
    type: "CONFIG",
    retryable: false,
    says: "the user may not do this; grant it, or use the database that is its own",
  },
  TlsFailed: {
    type: "CONFIG",
    retryable: false,
    says: "TLS failed; correct the CA or the certificate in the db settings",
  },
  DatabaseAbsent: {
    type: "CONFIG",
    retryable: false,
    says: "the database does not exist and the user may not create it; create it",
  },
  TableAbsent: { type: "NOT_FOUND", retryable: false, says: "a table does not exist; run the migrations" },
  BadStatement: { type: "INTERNAL", retryable: false, says: "the server does not understand the statement" },
  TooManyConnections: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "the server takes no more connections; lower maxOpenConns or raise its limit",
  },
  Unavailable: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "the server takes no work now (it stops, or it is read-only)",
  },
  NoSpace: { type: "UNAVAILABLE", retryable: false, says: "no space left; free some" },
  Damaged: {
    type: "INTERNAL",
    retryable: false,
    says: "the file is no database, or a damaged one; restore it from a backup",
  },
  Refused: { type: "INTERNAL", retryable: false, says: "the server refused the statement; see its log" },
  PoolTimeout: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "no connection became free within poolTimeout; raise maxOpenConns or look for long transactions",
  },
  PoolFull: { type: "UNAVAILABLE", retryable: true, says: "too many callers wait for a connection" },
  Closed: { type: "UNAVAILABLE", retryable: false, says: "the database is closed" },
  BadDsn: {
    type: "CONFIG",
    retryable: false,
    says: "dsn is not mysql://USER:PASSWORD@HOST:PORT/DATABASE; correct the secret",
  },
  ShardKeyMissing: {
    type: "VALIDATION",
    retryable: false,
    says: "a sharded table needs a key to choose the shard; pass the row's own",
  },
  BadName: {
    type: "VALIDATION",
    retryable: false,
    says: "is not a table name: letters, digits and _, beginning with a letter, 64 at most with prefix and shard",
  },
  BadMigration: {
    type: "CONFIG",
    retryable: false,
    says: "is not a migration: an id such as 0001-messages, each once, and at least one statement",
  },
  MigrationChanged: {
    type: "CONFIG",
    retryable: false,
    says: "was applied with other statements; put the old ones back and write a new migration",
  },
  MigrationUnknown: { type: "CONFIG", retryable: false, says: "was applied by a newer program; start that one" },
  MigrationOutOfOrder: {
    type: "CONFIG",
    retryable: false,
    says: "comes before one that was applied; give it a later id",
  },
  MigrationHalfDone: {
    type: "CONFIG",
    retryable: false,
    says: "began and did not end; finish or undo its statements by hand, then set or delete its row",
  },
  MigrationBusy: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "another process migrates and does not end; see what it does",
  },
} as const satisfies Record<string, FailureMeaning>;
export type DbCode = keyof typeof FAILURES;

/** `about`: the address, table or migration concerned; never a value of a row. */
export const { error: dbError, is: isDbError } = failuresOf<DbCode>("db", FAILURES);

/** MySQL's and MariaDB's numbers of errors ("Server Error Message Reference"). */
const OF_MYSQL: ReadonlyMap<number, DbCode> = new Map([
  [1213, "Deadlock"],
  [1205, "Deadlock"],
  [1020, "Deadlock"], // MariaDB, innodb_snapshot_isolation: the row was changed since the snapshot.
  [1062, "Duplicate"],
  [1586, "Duplicate"],
  ...[1048, 1264, 1364, 1366, 1406, 1451, 1452, 3819, 4025].map((errno) => [errno, "ConstraintViolated"] as const),
  ...[1045, 1698, 1862].map((errno) => [errno, "AuthRefused"] as const),
  ...[1044, 1142, 1143, 1227, 1370, 1419].map((errno) => [errno, "PermissionDenied"] as const),
  [1049, "DatabaseAbsent"],
  [1146, "TableAbsent"],
  ...[1054, 1064].map((errno) => [errno, "BadStatement"] as const),
  ...[1040, 1203, 1226].map((errno) => [errno, "TooManyConnections"] as const),
  ...[1053, 1290, 1836].map((errno) => [errno, "Unavailable"] as const),
  ...[1317, 1969, 3024].map((errno) => [errno, "QueryTimeout"] as const),
  ...[1021, 1041, 1114].map((errno) => [errno, "NoSpace"] as const),
]);

export const codeOfMysql = (errno: number): DbCode => OF_MYSQL.get(errno) ?? "Refused";

/** Primary result codes of SQLite ("Result and Error Codes"); the two constraints that mean "exists" by their extended ones. */
const OF_SQLITE: ReadonlyMap<number, DbCode> = new Map([
  [5, "Deadlock"],
  [6, "Deadlock"],
  [8, "PermissionDenied"],
  [10, "Unavailable"],
  [11, "Damaged"],
  [13, "NoSpace"],
  [14, "ConnectFailed"],
  [18, "ConstraintViolated"],
  [19, "ConstraintViolated"],
  [23, "PermissionDenied"],
  [26, "Damaged"],
]);
const EXISTS: ReadonlySet<number> = new Set([1555, 2067]);

export function codeOfSqlite(errcode: number, text: string): DbCode {
  if (EXISTS.has(errcode)) return "Duplicate";
  if ((errcode & 0xff) === 1) return text.startsWith("no such table") ? "TableAbsent" : "BadStatement";
  return OF_SQLITE.get(errcode & 0xff) ?? "Refused";
}
