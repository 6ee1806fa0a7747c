import { describe, expect, test } from "vitest";
import { codeOfMysql, codeOfSqlite } from "../../../src/infra/db/db-failures.ts";
import { type Applied, missing, planned } from "../../../src/infra/db/migrations.ts";
import { shownSql } from "../../../src/infra/db/statement-runner.ts";
import { tableNames } from "../../../src/infra/db/table-names.ts";
import { hexDigest } from "../../../src/lib/digest.ts";

const names = tableNames({ driver: "mysql", tablePrefix: "im_", shards: 4 });
const migration = (id: string, ...statements: readonly string[]) => ({ id, up: () => statements });
const plan = (...ids: readonly string[]) =>
  planned(
    ids.map((id) => migration(id, `-- ${id}`)),
    names,
  );
const row = (id: string, about: Partial<Applied> = {}): Applied => ({
  id,
  checksum: hexDigest(`-- ${id}`),
  ended: true,
  ...about,
});

describe("what is left to apply", () => {
  const ROWS = [
    ["nothing stands: all, in order", ["0002-b", "0001-a"], [], ["0001-a", "0002-b"]],
    ["the first stands: the second", ["0001-a", "0002-b"], [row("0001-a")], ["0002-b"]],
    ["all stand: nothing", ["0001-a"], [row("0001-a")], []],
  ] as const;
  const REFUSED = [
    [
      "other statements than those that were applied",
      ["0001-a"],
      [row("0001-a", { checksum: "0" })],
      "MigrationChanged",
    ],
    ["one that this program does not know", ["0001-a"], [row("0001-a"), row("0002-b")], "MigrationUnknown"],
    ["a new one before one that stands", ["0001-a", "0002-b"], [row("0002-b")], "MigrationOutOfOrder"],
    ["one that began and did not end", ["0001-a"], [row("0001-a", { ended: false })], "MigrationHalfDone"],
  ] as const;
  test("no row is lost", () => expect([ROWS.length, REFUSED.length]).toEqual([3, 4]));
  test.each(ROWS)("%s", (_what, ids, history, expected) => {
    expect(missing(plan(...ids), history).map(({ id }) => id)).toEqual(expected);
  });
  test.each(REFUSED)("%s: refused", (_what, ids, history, code) => {
    expect(() => missing(plan(...ids), history)).toThrow(expect.objectContaining({ code, type: "CONFIG" }));
  });

  const BAD = [
    ["no number", [migration("notes", "SELECT 1")]],
    ["no statement", [migration("0001-a")]],
    ["a number twice", [migration("0001-a", "SELECT 1"), migration("0001-b", "SELECT 1")]],
    ["an id that is no word", [migration("0001-a'; DROP", "SELECT 1")]],
  ] as const;
  test("no bad plan is lost", () => expect(BAD).toHaveLength(4));
  test.each(BAD)("%s is refused before anything is asked of the server", (_what, migrations) => {
    expect(() => planned(migrations, names)).toThrow(expect.objectContaining({ code: "BadMigration" }));
  });
});

describe("names of tables", () => {
  test("carry the prefix; a key's shard never changes", () => {
    expect(names.table("users")).toBe("im_users");
    expect(names.shards("chat")).toEqual(["im_chat_00", "im_chat_01", "im_chat_02", "im_chat_03"]);
    // Written down: another place for a key would lose its rows.
    expect(["acme", "hooli", "umbrella", "ü"].map((key) => names.shard("chat", key))).toEqual(PLACES);
  });
  test.each(["", "1a", "a b", "a`", "a;b", "x".repeat(60)])("%j is none", (name) => {
    expect(() => names.table(name)).toThrow(expect.objectContaining({ code: "BadName" }));
  });
  const PLACES = ["im_chat_01", "im_chat_03", "im_chat_00", "im_chat_03"];
});

describe("a statement in the log", () => {
  const ROWS = [
    ["SELECT  *\n FROM t WHERE a = ?", "SELECT * FROM t WHERE a = ?"],
    ["INSERT INTO t VALUES ('it''s', 'a\\'b', 7)", "INSERT INTO t VALUES (?, ?, 7)"],
    ["SELECT 'cut off", "SELECT ?"],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(3));
  test.each(ROWS)("%j shows no quoted value", (text, shown) => expect(shownSql(text)).toBe(shown));
  test("is cut", () => expect(shownSql("x".repeat(9000))).toHaveLength(500));
});

describe("a server's number is classified once", () => {
  test.each([
    [1213, "Deadlock"],
    [1205, "Deadlock"],
    [1062, "Duplicate"],
    [1045, "AuthRefused"],
    [1044, "PermissionDenied"],
    [1049, "DatabaseAbsent"],
    [1040, "TooManyConnections"],
    [9999, "Refused"],
  ] as const)("MySQL %i: %s", (errno, code) => expect(codeOfMysql(errno)).toBe(code));
  test.each([
    [5, "", "Deadlock"],
    [2067, "", "Duplicate"],
    [1299, "", "ConstraintViolated"],
    [1, "no such table: t", "TableAbsent"],
    [1, "near", "BadStatement"],
    [26, "", "Damaged"],
    [99, "", "Refused"],
  ] as const)("SQLite %i %j: %s", (errcode, text, code) => expect(codeOfSqlite(errcode, text)).toBe(code));
});
