import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { CASES } from "../../src/receiver/conformance.ts";
import { REFUSALS } from "../../src/receiver/refusals.ts";

const guide = await readFile(new URL("../../docs/receiver-guide.md", import.meta.url), "utf8");

test("the guide lists every refusal with its status, and no other", () => {
  const rows = [...guide.matchAll(/^\| (\d{3}) \| (`[^|]+`) \|/gm)];
  const listed = rows.flatMap(([, status, codes = ""]) =>
    [...codes.matchAll(/`(\w+)`/g)].map(([, code]) => [code, Number(status)]),
  );
  expect(Object.fromEntries(listed)).toEqual(REFUSALS);
});

test("the guide lists every case of the conformance suite in its words, and no other", () => {
  const rows = [...guide.matchAll(/^\| `([a-z-]+)` \| (.+?) *\|$/gm)].map(([, id, rule]) => ({ id, rule }));
  expect(rows).toEqual(CASES.map(({ id, rule }) => ({ id, rule })));
});

test("a case's name fits into a tenant's name, once", () => {
  expect(CASES.filter(({ id }) => !/^[a-z-]{1,24}$/.test(id))).toEqual([]);
  expect(new Set(CASES.map(({ id }) => id)).size).toBe(CASES.length);
});
