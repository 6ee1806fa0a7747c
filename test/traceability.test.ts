import { describe, expect, test } from "vitest";
import { type DocRow, rowsIn, rowsOf } from "./support/doc-tables.ts";
import { titledIn, titledTests } from "./support/titles.ts";
import { CHECKERS } from "./history/check-all.ts";
import { plantedBugs } from "./planted/patch.ts";

// docs/testing.md, docs/security.md and the titles of all tests, held together both ways.

const ROWS = [...rowsOf("testing.md"), ...rowsOf("security.md")];
const TITLES = titledTests();
const kindOf = (id: string): string => (id.includes("/") ? "cell" : id.replace(/-?\d+$/, ""));
const ofKind = (...kinds: readonly string[]): readonly DocRow[] => ROWS.filter(({ id }) => kinds.includes(kindOf(id)));
/** Kinds whose last cell names the folders that prove the row. */
const PROVED = ofKind("S", "L", "SEC", "R", "F", "cell").filter(({ due }) => due === null);
const foldersOf = ({ cells }: DocRow): readonly string[] => (cells.at(-1) ?? "").split(", ");
const PLANTED = plantedBugs();

describe("what is looked at", () => {
  test("there are titles and rows of every kind", () => {
    expect(TITLES.length).toBeGreaterThan(400);
    const count = (kind: string): number => ofKind(kind).length;
    expect([count("S"), count("L"), count("T"), count("SEC"), count("B")]).toEqual([32, 11, 22, 60, 42]);
    expect(count("cell")).toBeGreaterThanOrEqual(37);
  });

  test("no row stands twice, and each says more than its id", () => {
    const ids = ROWS.map(({ id }) => id);
    expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
    expect(ROWS.filter(({ cells }) => cells.length < 2 || (cells[0] === "" && cells[1] === ""))).toEqual([]);
  });

  test("what is due names the part that it comes with", () => {
    const parts = /^(?:soak|config plane|stages|units|services|operate|later)(?:, (?:operate|later))?$/;
    expect(ROWS.filter(({ due }) => due !== null && !parts.test(due)).map(({ id, due }) => `${id} ${due}`)).toEqual([]);
  });
});

describe("from the titles to the pages", () => {
  test("every id in a title has a row", () => {
    const known = new Set(ROWS.map(({ id }) => id));
    const unknown = TITLES.filter(({ id }) => !known.has(id)).map(
      ({ id, folder, title }) => `${id} ${folder}: ${title}`,
    );
    expect(unknown).toEqual([]);
  });
});

describe("from the pages to the titles", () => {
  test("every row that is not due has a test in each folder that it names", () => {
    const missing = PROVED.flatMap((row) =>
      foldersOf(row)
        .filter((folder) => !TITLES.some((one) => one.id === row.id && one.folder === folder))
        .map((folder) => `${row.id}: no test in ${folder}`),
    );
    expect(PROVED.length).toBeGreaterThan(150);
    expect(missing).toEqual([]);
  });

  test("every promise names its checkers, and every checker is named and proved by histories of its own", () => {
    const named = ofKind("S", "L")
      .filter(({ due }) => due === null)
      .flatMap(({ id, cells }) => (cells[1] === "–" ? [] : (cells[1] ?? "").split(", ").map((name) => ({ id, name }))));
    expect(named.filter(({ name }) => CHECKERS[name] === undefined)).toEqual([]);
    expect(Object.keys(CHECKERS).filter((name) => !named.some((one) => one.name === name))).toEqual([]);
    const unproved = named.filter(({ id }) => !TITLES.some((one) => one.id === id && one.folder === "history"));
    expect(unproved).toEqual([]);
  });

  test("a promise without a checker is due with one, or says where it is tested instead", () => {
    const bare = ofKind("S", "L").filter(({ cells, due }) => cells[1] === "–" && due === null);
    expect(bare.map(({ id }) => id)).toEqual(["S32"]);
  });
});

describe("planted bugs", () => {
  test("every row that is not due has its patch, and every patch its row", () => {
    const rows = ofKind("B")
      .filter(({ due }) => due === null)
      .map(({ id, cells }) => `${id} ${cells[1]} ${cells[2]}`);
    const patches = PLANTED.map(({ id, tier, expect: red }) => `${id} ${tier} ${red}`);
    expect(rows.length).toBeGreaterThanOrEqual(30);
    expect([...new Set(patches)]).toEqual(rows);
  });

  test("what a patch turns red has a row", () => {
    const known = new Set(PROVED.map(({ id }) => id));
    expect(PLANTED.filter(({ expect: red }) => !known.has(red)).map(({ id }) => id)).toEqual([]);
  });
});

describe("the look itself", () => {
  test("ids are taken from titles and rows, not from comments and other text", () => {
    const text = [
      'test("[S8] [redis/lost] late", () => {});',
      '["◆ [SEC-4] a row", 1],',
      "// test('[S9] not this')",
      'const x = "no [S10] at the head";',
      'test.each(rows)("[S11] %s", run);',
      "describe(`[DNS/slow] ${name}`, run);",
    ].join("\n");
    expect(titledIn("domain/x.test.ts", text).map(({ id }) => id)).toEqual([
      "S8",
      "redis/lost",
      "SEC-4",
      "S11",
      "dns/slow",
    ]);
    expect(titledIn("history/x.test.ts", '["S3", "what"]').map(({ id }) => id)).toEqual(["S3"]);
  });

  test("rows are lines of tables that begin with an id", () => {
    const text =
      "| id | what | tests |\n|---|---|---|\n| S8 | a `x | y`? | domain, model |\n| B9 | b | due: units |\nS9 | no |";
    expect(rowsIn("p.md", text.replace("x | y", "x or y"))).toEqual([
      { id: "S8", page: "p.md", cells: ["a `x or y`?", "domain, model"], due: null },
      { id: "B9", page: "p.md", cells: ["b", "due: units"], due: "units" },
    ]);
  });
});
