import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import { type Lookup, render, renderPath } from "../../src/domain/templates.ts";
import { anyText } from "../support/any-text.ts";
import { cases } from "../support/seed.ts";

const VALUES: Readonly<Record<string, Json>> = {
  tenantId: "acme",
  "plan.version": 42,
  "target.default": true,
  "target.deployUnit": { id: 2, name: "green" },
  "stages.one.outputs.list": [1, 2],
  "stages.one.outputs.none": null,
  "target.parameters.sly": "${tenantId}",
  "target.parameters.up": "../..",
  "target.parameters.dots": "..",
  "target.parameters.odd": "a/b?c#d e%",
  "target.parameters.half": "\ud800",
};
const lookup: Lookup = (name) => {
  if (name === "opId") return { is: "later" };
  if (name === "now") return { is: "unfit", why: "not here" };
  const value = VALUES[name];
  return value === undefined ? { is: "unknown", why: "no such variable" } : { is: "value", value };
};

const ROWS: readonly (readonly [rule: string, source: Json, value: Json, ...problems: string[]])[] = [
  ["text without a placeholder stays", "a $ b {c} $$ {", "a $ b {c} $$ {"],
  ["numbers, booleans and null stay", [1, true, null], [1, true, null]],
  ["a string that is one placeholder takes the value with its type", "${plan.version}", 42],
  ["lists and maps, too", { unit: "${target.deployUnit}" }, { unit: { id: 2, name: "green" } }],
  ["null is a value", "${stages.one.outputs.none}", null],
  ["inside text a value is its text", "v${plan.version}-${target.default}", "v42-true"],
  ["null inside text is nothing", "<${stages.one.outputs.none}>", "<>"],
  ["[R44] what was inserted is never read again", "${target.parameters.sly}", "${tenantId}"],
  ["[R44] nor inside text", "x${target.parameters.sly}", "x${tenantId}"],
  ["everything below is filled", { a: [{ b: "${tenantId}" }] }, { a: [{ b: "acme" }] }],
  [
    "a list cannot stand inside text",
    "x${stages.one.outputs.list}",
    "x",
    "${stages.one.outputs.list} is a list or map and cannot stand inside text",
  ],
  [
    "no variable stands in a key",
    { "${tenantId}": 1 },
    { "${tenantId}": 1 },
    "a variable cannot stand in the key ${tenantId}",
  ],
  ["what does not exist is named", "${nothing}", "", "${nothing}: no such variable"],
  ["what may not stand here is named", "at ${now}", "at ", "${now}: not here"],
  ["what comes later is no problem yet", "${opId}", ""],
  [
    "[SEC-44] a key that other objects inherit is a key like any other",
    JSON.parse('{"__proto__":"${tenantId}"}') as Json,
    JSON.parse('{"__proto__":"acme"}') as Json,
  ],
  ["no expressions", "${1 + 1}", "", "${1 + 1}: not a variable name"],
  ["no empty name", "${}", "", "${}: not a variable name"],
  ["no deeper name than 16 parts", `\${a${".a".repeat(16)}}`, "", `\${a${".a".repeat(16)}}: not a variable name`],
  ["a placeholder longer than 200 characters is none", `\${${"a".repeat(201)}}`, `\${${"a".repeat(201)}}`],
  [
    "each problem is told once per place",
    ["${x}", "${x}"],
    ["", ""],
    "${x}: no such variable",
    "${x}: no such variable",
  ],
];

test("no row is lost", () => expect(ROWS).toHaveLength(21));

test.each(ROWS)("%s", (_rule, source, value, ...problems) => {
  const rendered = render(source, lookup);
  expect(rendered.problems).toEqual(problems);
  expect(JSON.stringify(rendered.value)).toBe(JSON.stringify(value));
});

const PATHS: readonly (readonly [rule: string, path: string, value: string])[] = [
  ["[SEC-24] every value is percent-encoded", "/t/${target.parameters.odd}", "/t/a%2Fb%3Fc%23d%20e%25"],
  [
    "[SEC-24] dots alone are encoded, too; whoever decodes them first refuses them",
    "/t/${target.parameters.dots}/x",
    "/t/%2E%2E/x",
  ],
  ["[SEC-24] nor goes up by its slashes", "/t/${target.parameters.up}", "/t/..%2F.."],
  ["a whole placeholder is encoded, too, and is text", "${plan.version}", "42"],
  ["a lone surrogate does not throw", "/${target.parameters.half}", "/%EF%BF%BD"],
];

test("no path is lost", () => expect(PATHS).toHaveLength(5));

test.each(PATHS)("%s", (_rule, path, value) => {
  expect(renderPath(path, lookup)).toEqual({ value, problems: [] });
});

describe("any text", () => {
  const texts = anyText(40);
  const holding =
    (value: Json): Lookup =>
    () => ({ is: "value", value });

  test("[R44] a value comes out as it went in, whatever it looks like", () => {
    fc.assert(
      fc.property(fc.oneof(texts, fc.constant("${tenantId}"), fc.constant("$&$1${v}")), (text) => {
        expect(render("${v}", holding(text))).toEqual({ value: text, problems: [] });
        expect(render("<${v}|${v}>", holding(text))).toEqual({ value: `<${text}|${text}>`, problems: [] });
      }),
      cases(500),
    );
  });

  test("[SEC-24] in a path no value adds a segment, a query or a fragment, and it decodes to itself", () => {
    fc.assert(
      fc.property(fc.oneof(texts, fc.constantFrom(".", "..", "../", "//", "%2e%2e", "a/../b")), (text) => {
        // Dots alone are a dot segment in every encoding: the rules of requests refuse those.
        fc.pre(text !== "." && text !== "..");
        const { value } = renderPath("/tenants/${v}/end", holding(text));
        const { pathname, search, hash } = new URL(`http://receiver${JSON.stringify(value).slice(1, -1)}`);
        expect(search + hash).toBe("");
        expect(pathname.split("/").slice(0, 2)).toEqual(["", "tenants"]);
        expect(pathname.split("/").slice(3)).toEqual(["end"]);
        expect(decodeURIComponent(pathname.split("/")[2] ?? "")).toBe(text.toWellFormed());
      }),
      cases(500),
    );
  });

  test("[S14] JSON without a placeholder is untouched", () => {
    const plain = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("${")) as fc.Arbitrary<Json>;
    fc.assert(
      fc.property(plain, (value) => {
        expect(JSON.stringify(render(value, lookup).value)).toBe(JSON.stringify(value));
      }),
      cases(300),
    );
  });
});
