import { describe, expect, test } from "vitest";
import { nameOnly, traced } from "../../../src/infra/db/traced-statements.ts";
import type { Session } from "../../../src/infra/db/session.ts";
import { tracerOf, type SpanAttributes } from "../../../src/infra/metrics/tracer.ts";

const NAMES: readonly string[] = [
  "select * from `messages` where `text` = ?",
  "insert into `t_07` (`a`, `b`) values (?, ?), (?, ?)",
  "update `t` set `a` = `a` + ? where `id` in (?, ?)",
  "begin",
];
/** Whatever may be, or hide, somebody's data: in either dialect, whole or cut. */
const DATA: readonly string[] = [
  "select * from t where pin = 1234",
  "select * from t where name = 'ann'",
  'select * from t where name = "ann"',
  "select 'a\\', secret, 'b'",
  "select 'it''s'",
  "select 'unfinished",
  "select x'6162'",
  "select 0x6162",
  "select * from t where price > .5",
  "select * from t where a = -7e3",
  "select a /* secret */ from t",
  "select a -- secret",
  "select a # secret",
  "select $$secret$$",
  "select * from t where a = @secret",
  "select grün from t",
  `select ${"a, ".repeat(2000)} b from t`,
];

describe("[S17] the text of a statement in a span", () => {
  test.each(NAMES)("holds nothing but names and placeholders: %s", (sql) => {
    expect(nameOnly(sql)).toBe(sql);
  });
  test.each(DATA)("is left out where it may hold data: %s", (sql) => {
    expect(nameOnly(sql)).toBeNull();
  });
});

test.each([
  ["  (SELECT ?)", "db SELECT"],
  ["insert into t values (?)", "db INSERT"],
  ["with a as (select ?) select * from a", "db WITH"],
  ["secretword t", "db statement"],
  ["'secret'", "db statement"],
  ["", "db statement"],
])("[S17] a span is named by the kind of statement, out of a closed set: %j is %s", async (sql, name) => {
  const seen: (readonly [string, SpanAttributes])[] = [];
  const context = { traceId: "a".repeat(32), spanId: "b".repeat(16), sampled: true };
  const tracer = tracerOf({
    begin: (named, { attributes }) => {
      seen.push([named, attributes]);
      return { context, set: () => undefined, end: () => undefined };
    },
    records: () => true,
    bind: (_traceId, work) => work(),
  });
  const run = traced(async () => ({ rows: [], affected: null, insertId: null }), "mysql", tracer);
  await tracer.span("a request", {}, () => run({} as Session, { sql, parameters: ["secret-parameter"] }));
  expect(seen[1]?.[0]).toBe(name);
  expect(JSON.stringify(seen)).not.toContain("secret-parameter");
  expect(JSON.stringify(seen[1]?.[1]["db.operation.name"])).not.toContain("secret");
});
