import { describe, expect, test } from "vitest";
import { isReloadable } from "../../src/infra/config/components.ts";
import { dbSettings } from "../../src/infra/config/db-settings.ts";
import type { Migration } from "../../src/infra/db/db.ts";
import { sql } from "../../src/infra/db/sql.ts";
import { KINDS, openDbRig, TABLES } from "../support/db-rig.ts";
import { until } from "../support/egress/until.ts";
import { millisOf } from "../../src/lib/time.ts";

const never = new AbortController().signal;

describe.each(KINDS)("a database (%s)", (kind) => {
  test("stores typed rows and gives them back: text of any kind, numbers, nothing", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    await db.migrate(TABLES);
    const text = "grüße 😀 \\' \" -- ; DROP TABLE notes";
    const inserted = await db.queries.insertInto(db.table("notes")).values({ id: 1, text }).executeTakeFirst();
    expect(inserted.numInsertedOrUpdatedRows).toBe(1n);
    await db.queries.insertInto(db.table("notes")).values({ id: 2, text: "", at: null }).execute();
    expect(await db.queries.selectFrom("notes").select(["id", "text", "at"]).orderBy("id").execute()).toEqual([
      { id: 1, text, at: null },
      { id: 2, text: "", at: null },
    ]);
    const updated = await db.queries
      .updateTable("notes")
      .set({ text: "x" })
      .where("id", "in", [1, 2, 3])
      .executeTakeFirst();
    expect(updated.numUpdatedRows).toBe(2n);
    const { rows } = await sql<{ n: number }>`SELECT COUNT(*) AS n FROM notes WHERE text = ${"x"}`.execute(db.queries);
    expect(rows).toEqual([{ n: 2 }]);
    expect(await db.ping()).toBeLessThan(5000);
    expect(await db.check(never)).toMatchObject({ status: "healthy", details: { driver: kind } });
  });

  test("an object among the values is data, never a piece of SQL", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    await db.migrate(TABLES);
    await db.queries.insertInto("notes").values({ id: 1, text: "kept" }).execute();
    const forged = { id: 1 } as unknown as number;
    const found = await db.queries.selectFrom("notes").select("id").where("id", "=", forged).execute();
    expect(found).toEqual([]);
  });

  test("a transaction is whole or not there, and passes on what was thrown in it", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    await db.migrate(TABLES);
    const stored = await db.transaction(async (queries) => {
      await queries.insertInto("notes").values({ id: 1, text: "a" }).execute();
      await queries.insertInto("notes").values({ id: 2, text: "b" }).execute();
      return "done";
    });
    expect(stored).toBe("done");
    const refused = new Error("not today");
    const failing = db.transaction(async (queries) => {
      await queries.insertInto("notes").values({ id: 3, text: "c" }).execute();
      throw refused;
    });
    await expect(failing).rejects.toBe(refused);
    expect(await db.queries.selectFrom("notes").select("id").orderBy("id").execute()).toEqual([{ id: 1 }, { id: 2 }]);
    expect(db.pool()).toMatchObject({ waiting: 0 });
  });

  const REFUSED = [
    ["a key that exists", "INSERT INTO notes (id, text) VALUES (1, 'b')", "CONFLICT", "Duplicate"],
    ["a missing value", "INSERT INTO notes (id, text) VALUES (2, NULL)", "VALIDATION", "ConstraintViolated"],
    ["a missing table", "SELECT * FROM absent", "NOT_FOUND", "TableAbsent"],
    ["no SQL", "SELEKT 1", "INTERNAL", "BadStatement"],
  ] as const;
  test("no refusal is lost", () => expect(REFUSED).toHaveLength(4));
  test.each(REFUSED)(
    "%s is one InfraError, without the server's text, counted by type",
    async (_what, text, type, code) => {
      await using rig = await openDbRig(kind);
      const db = await rig.open();
      await db.migrate(TABLES);
      await db.queries.insertInto("notes").values({ id: 1, text: "a" }).execute();
      const failing = sql.raw(text).execute(db.queries);
      await expect(failing).rejects.toMatchObject({
        name: "InfraError",
        component: "db",
        type,
        code,
        retryable: false,
      });
      await expect(failing).rejects.not.toThrow(/SELEKT|absent'|Duplicate entry|UNIQUE/);
      expect(await rig.errors()).toEqual({ [type]: 1 });
      expect(await db.queries.selectFrom("notes").select("id").execute()).toEqual([{ id: 1 }]);
    },
  );

  test("a sharded table spreads its keys, each for ever in the same place; without a key it is an error", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open({ shards: 4, tablePrefix: "im_" });
    await db.migrate(TABLES);
    const tenants = Array.from({ length: 40 }, (_, i) => `tenant-${i}`);
    for (const tenant of tenants)
      await db.queries.insertInto(db.shard("chat", tenant)).values({ tenant, seq: 1 }).execute();
    const counts: number[] = [];
    for (const name of db.shards("chat")) {
      expect(name).toMatch(/^im_chat_0[0-3]$/);
      counts.push(
        (
          await db.queries
            .selectFrom(name as "chat")
            .select("tenant")
            .execute()
        ).length,
      );
    }
    expect(counts.every((count) => count > 0)).toBe(true);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(40);
    for (const key of [null, undefined, ""]) {
      expect(() => db.shard("chat", key)).toThrow("db: im_chat: a sharded table needs a key");
    }
  });

  test("what takes longer than slowThreshold is logged, with its text and without a value of it", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open({ slowThreshold: millisOf(0) });
    await sql`SELECT ${"secret-1"} AS a, 'secret-2' AS b`.execute(db.queries);
    const slow = rig.lines.map((line) => JSON.parse(line)).filter(({ message }) => message === "slow statement");
    expect(slow.map(({ sql }) => sql)).toContainEqual(expect.stringMatching(/^SELECT \? as a, \? as b$/i));
    expect(rig.lines.join("")).not.toMatch(/secret-[12]/);
  });

  test("a change of settings is in force at once where it can be, and the rest is named", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    const changed = dbSettings.parse({
      maxOpenConns: 9,
      maxIdleConns: 1,
      tablePrefix: "x_",
      slowThreshold: "1m",
      logLevel: "info",
      shards: 2,
    });
    const next = {
      ...rig.settings,
      ...pick(changed, ["maxOpenConns", "maxIdleConns", "tablePrefix", "slowThreshold", "logLevel", "shards"]),
    };
    const { applied, needsRestart } = db.reload(next);
    expect([applied.toSorted(), needsRestart.toSorted()]).toEqual([
      ["logLevel", "maxIdleConns", "maxOpenConns", "slowThreshold"],
      ["shards", "tablePrefix"],
    ]);
    expect(applied.every((field) => isReloadable("db", field))).toBe(true);
    expect(needsRestart.some((field) => isReloadable("db", field))).toBe(false);
    expect([db.table("notes"), db.pool().limit]).toEqual(["notes", kind === "sqlite" ? 1 : 9]);
    await db.ping();
    expect(rig.lines.some((line) => line.includes('"message":"statement"'))).toBe(true);
    expect(db.reload(next)).toEqual({ applied: [], needsRestart: expect.arrayContaining(["shards", "tablePrefix"]) });
  });

  test("once closed it takes nothing more, and may be closed again", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    await Promise.all([db.close(), db.close()]);
    await db.close();
    await expect(db.ping()).rejects.toMatchObject({ type: "UNAVAILABLE", code: "Closed" });
    expect(db.pool()).toMatchObject({ open: 0, idle: 0, waiting: 0 });
    expect(await db.check(never)).toMatchObject({ status: "unhealthy", message: "db: the database is closed" });
  });

  test("waiting for a connection is bounded in time and shown", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open({ maxOpenConns: 1, maxIdleConns: 1, poolTimeout: millisOf(100) });
    await db.transaction(async () => {
      const waiting = db.ping();
      expect(db.pool()).toEqual({ limit: 1, open: 1, idle: 0, waiting: 1 });
      expect(await db.check(never)).toMatchObject({
        status: "degraded",
        message: expect.stringContaining("1 callers wait"),
      });
      await expect(waiting).rejects.toMatchObject({ type: "UNAVAILABLE", code: "PoolTimeout", retryable: true });
    });
    expect(await db.ping()).toBeGreaterThanOrEqual(0);
  });
});

describe.each(KINDS)("migrations (%s)", (kind) => {
  const more: Migration = {
    id: "0003-more",
    up: ({ table }) => [`CREATE TABLE ${table("more")} (id INTEGER PRIMARY KEY)`],
  };

  test("are applied in order, once, and by one of many that start together", async () => {
    await using rig = await openDbRig(kind);
    const all = await Promise.all(Array.from({ length: 4 }, () => rig.open()));
    const done = await Promise.all(all.map((db) => db.migrate([more, ...TABLES])));
    expect(done.flatMap(({ applied }) => applied)).toEqual(["0001-notes", "0002-chat", "0003-more"]);
    expect(await all[0]?.migrate([...TABLES, more])).toEqual({
      applied: [],
      standing: ["0001-notes", "0002-chat", "0003-more"],
    });
  });

  test("[mysql/hostile] whose statements were changed afterwards stop the start, and so does a history that is newer than the program", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    await db.migrate([...TABLES, more]);
    const changed = { ...more, up: () => ["CREATE TABLE more (id BIGINT PRIMARY KEY)"] };
    await expect(db.migrate([...TABLES, changed])).rejects.toMatchObject({ type: "CONFIG", code: "MigrationChanged" });
    await expect(db.migrate(TABLES)).rejects.toMatchObject({ type: "CONFIG", code: "MigrationUnknown" });
    const early = { ...more, id: "0000-early" };
    await expect(db.migrate([early, ...TABLES, more])).rejects.toMatchObject({
      type: "CONFIG",
      code: "MigrationOutOfOrder",
    });
    expect(await db.migrate([...TABLES, more])).toMatchObject({ applied: [] });
  });

  test("that fail half-way leave nothing (sqlite) or say so until a person has looked (mysql)", async () => {
    await using rig = await openDbRig(kind);
    const db = await rig.open();
    const broken: Migration = {
      id: "0001-broken",
      up: () => ["CREATE TABLE first (id INTEGER)", "CREATE TABEL second"],
    };
    await expect(db.migrate([broken])).rejects.toMatchObject({ code: "BadStatement" });
    const again = db.migrate([broken]);
    await expect(again).rejects.toMatchObject({ code: kind === "sqlite" ? "BadStatement" : "MigrationHalfDone" });
    const first = await sql`SELECT * FROM first`.execute(db.queries).catch((error: unknown) => error);
    expect(first).toMatchObject(kind === "sqlite" ? { code: "TableAbsent" } : { rows: [] });
  });

  test("wait for the process that is at it, and not for ever", async () => {
    await using rig = await openDbRig(kind);
    const [one, two] = [await rig.open(), await rig.open()];
    const giveUp = new AbortController();
    let begun = false;
    const slow: Migration = { id: "0001-slow", up: () => ["SELECT 1"] };
    const holding = new AbortController();
    const held = one.transaction(async (queries) => {
      if (kind === "mysql") await sql`SELECT GET_LOCK(CONCAT(LEFT(DATABASE(), 20), '.migrate'), 0)`.execute(queries);
      begun = true;
      await new Promise<void>((resolve) => holding.signal.addEventListener("abort", () => resolve(), { once: true }));
      if (kind === "mysql") await sql`SELECT RELEASE_LOCK(CONCAT(LEFT(DATABASE(), 20), '.migrate'))`.execute(queries);
    });
    await until(() => begun, Boolean);
    const impatient = two.migrate([slow], giveUp.signal);
    giveUp.abort(new Error("no time"));
    await expect(impatient).rejects.toThrow("no time");
    const patient = two.migrate([slow]);
    holding.abort();
    expect(await patient).toEqual({ applied: ["0001-slow"], standing: [] });
    await held;
  });
});

function pick<T, K extends keyof T>(value: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.map((key) => [key, value[key]])) as Pick<T, K>;
}
