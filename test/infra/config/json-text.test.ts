import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOCUMENT_LIMITS, readJson } from "../../../src/infra/config/json-text.ts";

const said = (source: string | Uint8Array): string => {
  const read = readJson(source);
  return read.ok ? "accepted" : `${read.place.line}:${read.place.column} ${read.reason}`;
};
const bytes = (...parts: readonly (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.from([part]) : Buffer.from(part))));

describe("JSON that remembers its places", () => {
  test("whatever JSON writes is read as JSON reads it", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 1, 4), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        fc.pre(!/"(?:__proto__|constructor|prototype)"/.test(text) && text.isWellFormed());
        const read = readJson(text);
        expect(read.ok ? JSON.stringify(read.document.value) : read.reason).toBe(JSON.stringify(value));
      }),
      { numRuns: 500 },
    );
  });

  test("whatever the text, it is read or refused, and what JSON refuses is refused", () => {
    const piece = fc.constantFrom(
      ..."{}[],:\"'\\ntu0123-+.eE/*\n \u0000ä".split(""),
      '"a"',
      "true",
      "null",
      "//",
      "/*",
      "*/",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 24 }), (pieces) => {
        const text = pieces.join("");
        const read = readJson(text);
        if (!read.ok || /\/[/*]/.test(text)) return;
        expect(JSON.stringify(JSON.parse(text))).toBe(JSON.stringify(read.document.value));
      }),
      { numRuns: 5000 },
    );
    expect(said("{} x")).toBe("1:4 expected nothing more after the document");
  });

  test("comments of both kinds are left out, also at the end of a list", () => {
    const read = readJson('// head\n{ /* a */ "a": [1, // one\n 2 /* two */], // last\n}');
    expect(read).toMatchObject({ ok: false });
    const good = readJson('// head\n{ /* a */ "a": [1, // one\n 2 /* two */] // last\n}\n// end');
    expect(good.ok ? good.document.value : good).toEqual({ a: [1, 2] });
  });

  test("each field knows where it begins; one that is absent, where the nearest above it does", () => {
    const read = readJson('{\n  "a": { "b.c": [ 1,\n   {"d": 2} ] },\n  "e": 3\n}');
    if (!read.ok) throw new Error(read.reason);
    const places = ["", "a", "a.b.c", "a.b.c[0]", "a.b.c[1].d", "a.b.c[1].x", "e", "zz"].map((path) => {
      const { line, column } = read.document.placeOf(path);
      return `${path}@${line}:${column}`;
    });
    expect(places).toEqual([
      "@1:1",
      "a@2:3",
      "a.b.c@2:10",
      "a.b.c[0]@2:19",
      "a.b.c[1].d@3:5",
      "a.b.c[1].x@3:4",
      "e@4:3",
      "zz@1:1",
    ]);
  });

  test.each<readonly [title: string, source: string | Uint8Array, says: string]>([
    ["nothing", "", "1:1 expected a value, but the text ends"],
    ["an open object", '{"a": 1', '1:8 expected "," or "}", but the text ends'],
    ["a comma too many", '{\n "a": 1,\n}', '3:1 expected a key in "…"'],
    ["a key without quotes", "{a: 1}", '1:2 expected a key in "…"'],
    ["single quotes", "{'a': 1}", '1:2 expected a key in "…"'],
    ["a word", '{"a": tru}', "1:7 expected a value"],
    ["a number with a leading zero", "[01]", "1:2 expected a value"],
    ["a number beyond all", "[1e999]", "1:2 a number is too large"],
    ["a text over two lines", '["a\nb"]', "1:2 a text is not closed or has a character that must be escaped"],
    ["a key twice", '{"a": 1,\n "a": 2}', '2:2 key "a" stands twice'],
    ["the same key, escaped", '{"a": 1, "\\u0061": 2}', '1:10 key "a" stands twice'],
    ["[SEC-44] __proto__", '{"x": {"__proto__": {}}}', "1:8 key __proto__ is forbidden"],
    ["[SEC-44] an escaped constructor", '{"\\u0063onstructor": 1}', "1:2 key constructor is forbidden"],
    ["[SEC-44] half a surrogate pair", '["\\ud800"]', "1:2 a text has half a surrogate pair"],
    ["[SEC-44] depth", "[".repeat(20), "1:13 is deeper than 12"],
    ["an open comment", "{} /* x", "1:4 expected nothing more after the document"],
    ["invalid UTF-8", bytes('{\n "a": "x', 0xff, '"}'), "2:9 is not UTF-8"],
    ["an overlong encoding", bytes('["', 0xc0, 0xaf, '"]'), "1:3 is not UTF-8"],
    ["UTF-8 that ends too early", bytes('["ä', 0xc3), "1:4 is not UTF-8"],
    ["2 MB", JSON.stringify("x".repeat(2_000_000)), `1:1 has 2000002 bytes, more than ${DOCUMENT_LIMITS.bytes}`],
  ])("%s is refused with its place", (_title, source, says) => {
    expect(said(source)).toBe(says);
  });

  test("a byte-order mark is no mistake", () => {
    const read = readJson(bytes(0xef, 0xbb, 0xbf, '{"ä": 1}'));
    expect(read.ok ? read.document.value : read.reason).toEqual({ ä: 1 });
  });

  test("[SEC-44] what is read has no prototype", () => {
    const read = readJson('{"a": {}}');
    const value = read.ok ? (read.document.value as Record<string, object>) : {};
    expect([Object.getPrototypeOf(value), Object.getPrototypeOf(value["a"])]).toEqual([null, null]);
  });

  test("too many keys are refused, and hostile sizes cost no time", () => {
    const many = `{${Array.from({ length: DOCUMENT_LIMITS.keys + 1 }, (_, i) => `"k${i}":0`).join(",")}}`;
    expect(said(many)).toMatch(/has more than 50000 keys/);
    const long = "k".repeat(500_000);
    expect(said(`{"${long}":[${"1,".repeat(200_000)}1]}`)).toBe("accepted");
    expect(said("/*".repeat(400_000))).toMatch(/expected a value/);
  });
});
