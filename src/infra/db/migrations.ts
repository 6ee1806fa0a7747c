import { hexDigest } from "../../lib/digest.ts";
import type { Clock } from "../../lib/seams.ts";
import { formatInstant } from "../../lib/time.ts";
import type { Migrated, Migration, Names } from "./db.ts";
import { dbError } from "./db-failures.ts";
import type { StatementResult } from "./session.ts";

/** Sends a statement on the one connection that migrates. */
export type Run = (sql: string, parameters?: readonly unknown[]) => Promise<StatementResult>;

/** A migration as it is to be applied here. */
export interface Planned {
  readonly id: string;
  readonly statements: readonly string[];
  readonly checksum: string;
}
/** A row of the history. */
export interface Applied {
  readonly id: string;
  readonly checksum: string;
  /** Whether all of its statements were done. */
  readonly ended: boolean;
}

export const HISTORY = "schema_migrations";
const MOST_MIGRATIONS = 10_000;

/** @throws InfraError CONFIG `BadMigration` */
export function planned(migrations: readonly Migration[], names: Names): readonly Planned[] {
  if (migrations.length > MOST_MIGRATIONS) throw dbError("BadMigration", `more than ${MOST_MIGRATIONS}`);
  const plan = migrations.map(({ id, up }) => {
    const statements = up(names);
    const isOne = /^\d{4}-[a-z0-9-]{1,64}$/.test(id) && statements.length > 0;
    if (!isOne) throw dbError("BadMigration", JSON.stringify(id.slice(0, 80)));
    return { id, statements, checksum: hexDigest(...statements) };
  });
  const sorted = plan.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const twice = sorted.find(({ id }, i) => sorted[i + 1]?.id.slice(0, 4) === id.slice(0, 4));
  if (twice !== undefined) throw dbError("BadMigration", `${twice.id}: another one has its number`);
  return sorted;
}

/** What is left to be applied. @throws InfraError CONFIG where what stands is not what this program knows */
export function missing(plan: readonly Planned[], history: readonly Applied[]): readonly Planned[] {
  const known = new Map(plan.map((migration) => [migration.id, migration]));
  for (const { id, checksum, ended } of history) {
    const migration = known.get(id);
    if (!ended) throw dbError("MigrationHalfDone", `${id} in ${HISTORY}`);
    if (migration === undefined) throw dbError("MigrationUnknown", id);
    if (migration.checksum !== checksum) throw dbError("MigrationChanged", id);
  }
  const done = new Set(history.map(({ id }) => id));
  const left = plan.filter(({ id }) => !done.has(id));
  const last = history.reduce((latest, { id }) => (id > latest ? id : latest), "");
  const early = left.find(({ id }) => id < last);
  if (early !== undefined) throw dbError("MigrationOutOfOrder", early.id);
  return left;
}

export interface MigrateDeps {
  readonly run: Run;
  readonly names: Names;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The row is there before the first statement and ended after the last: MySQL cannot take back what defines tables. */
export async function applyMigrations(plan: readonly Planned[], deps: MigrateDeps): Promise<Migrated> {
  const { run, names, clock, signal } = deps;
  const table = names.table(HISTORY);
  await run(
    `CREATE TABLE IF NOT EXISTS ${table} (id VARCHAR(80) PRIMARY KEY, checksum CHAR(64) NOT NULL, started VARCHAR(32) NOT NULL, ended VARCHAR(32))`,
  );
  const { rows } = await run(`SELECT id, checksum, ended FROM ${table} ORDER BY id`);
  const history = rows.map((row) => ({
    id: row.id as string,
    checksum: row.checksum as string,
    ended: row.ended !== null,
  }));
  const left = missing(plan, history);
  for (const { id, checksum, statements } of left) {
    signal.throwIfAborted();
    await run(`INSERT INTO ${table} (id, checksum, started) VALUES (?, ?, ?)`, [
      id,
      checksum,
      formatInstant(clock.now()),
    ]);
    for (const statement of statements) await run(statement);
    await run(`UPDATE ${table} SET ended = ? WHERE id = ?`, [formatInstant(clock.now()), id]);
  }
  return { applied: left.map(({ id }) => id), standing: history.map(({ id }) => id) };
}
