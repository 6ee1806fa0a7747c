import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeJson, type Json } from "../../src/lib/json.ts";
import { at, parsePointer } from "../../src/lib/json-pointer.ts";
import { canonicalJson, hexDigest, plainSha256, sameSecret } from "../../src/lib/digest.ts";
import { own } from "../../src/lib/own.ts";
import { anyText } from "../support/any-text.ts";
import { cases } from "../support/seed.ts";

const LIMITS = { depth: 3, keys: 4 };
const said = (text: string): unknown => {
  const decoded = decodeJson(text, LIMITS);
  return decoded.ok ? decoded.value : `refused: ${decoded.reason}`;
};

describe("[SEC-44] JSON from outside", () => {
  test.each([
    ["1", 1],
    ['"a\\"b"', 'a"b'],
    ["null", null],
    ["[1,[2,[3]]]", [1, [2, [3]]]],
    ['{"a":{"b":"c"}}', { a: { b: "c" } }],
    ['["a", "a"]', ["a", "a"]],
    ['{"a":"a"}', { a: "a" }],
    ['{"a" \t\r\n:1}', { a: 1 }],
    ["[[[[]]]]", "refused: deeper than 3"],
    ['{"a":[{"b":[1]}]}', "refused: deeper than 3"],
    ['{"a":1,"b":2,"c":3,"d":4,"e":5}', "refused: more than 4 keys"],
    ['{"__proto__":1}', "refused: forbidden key"],
    ['{"a":{"constructor":1}}', "refused: forbidden key"],
    ['{"prototype":1}', "refused: forbidden key"],
    ['{"\\u005f_proto__":1}', "refused: forbidden key"],
    ['{"a":1,"a":2}', "refused: a key stands twice"],
    ['{"a":1,"\\u0061":2}', "refused: a key stands twice"],
    ["\ud800", "refused: lone surrogate"],
    ['"\\ud800"', "refused: not JSON"],
    ['{"\\x":1}', "refused: not JSON"],
    ['{"a', "refused: not JSON"],
    ['"a\\', "refused: not JSON"],
    ['{"a"', "refused: not JSON"],
    ['{"a"}', "refused: not JSON"],
    ["]]]", "refused: not JSON"],
    ["", "refused: not JSON"],
    ["NaN", "refused: not JSON"],
  ])("%s", (text, value) => expect(said(text)).toEqual(value));

  test("objects have no prototype", () => {
    const value = said('{"a":{}}') as { readonly a: object };
    expect([Object.getPrototypeOf(value), Object.getPrototypeOf(value.a)]).toEqual([null, null]);
  });

  test("what is JSON and within the limits is decoded as it was written", () => {
    const plain = fc.jsonValue({ maxDepth: 2 });
    fc.assert(
      fc.property(plain, (value) => {
        const text = JSON.stringify(value);
        const decoded = decodeJson(text, { depth: 9, keys: 999 });
        fc.pre(decoded.ok || !/forbidden/.test(decoded.reason));
        expect(decoded.ok ? JSON.stringify(decoded.value) : decoded.reason).toBe(text);
      }),
      cases(300),
    );
  });

  test("whatever comes is decoded or refused, never thrown", () => {
    fc.assert(
      fc.property(anyText(60), (text) => {
        expect(typeof decodeJson(text, LIMITS).ok).toBe("boolean");
      }),
      cases(500),
    );
  });
});

describe("[SEC-33] a pointer into an answer", () => {
  const DOCUMENT: Json = { a: { "b/c": [10, { "~": 1 }] }, "": 5 };
  test.each([
    ["", DOCUMENT],
    ["/", 5],
    ["/a/b~1c/0", 10],
    ["/a/b~1c/1/~0", 1],
    ["/a/b~1c/01", undefined],
    ["/a/b~1c/-", undefined],
    ["/a/b~1c/length", undefined],
    ["/a/b~1c/7", undefined],
    ["/a/constructor", undefined],
    ["/a/b~1c/0/x", undefined],
    ["/nobody", undefined],
    ["a", undefined],
    ["/a~2", undefined],
    ["/a~", undefined],
    ["/x".repeat(17), undefined],
  ])("%s", (pointer, value) => expect(at(DOCUMENT, pointer)).toEqual(value));

  test("at most 16 deep", () => {
    expect(parsePointer("/x".repeat(16))).toHaveLength(16);
    expect(parsePointer("/x".repeat(17))).toBeNull();
  });

  test("finds what is there, whatever it is called", () => {
    fc.assert(
      fc.property(anyText(12), fc.string(), (key, value) => {
        const pointer = `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
        expect(at(JSON.parse(JSON.stringify(Object.fromEntries([[key, value]]))) as Json, pointer)).toBe(
          key.isWellFormed() ? value : at({ [key]: value }, pointer),
        );
      }),
      cases(300),
    );
  });
});

describe("digests", () => {
  test("[SEC-60] no two lists of parts alike", () => {
    expect(hexDigest("ab", "c")).not.toBe(hexDigest("a", "bc"));
    expect(hexDigest("a")).not.toBe(hexDigest("a", ""));
    expect(plainSha256("")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });

  test("[S14] equal values give equal text, whatever the order of their keys", () => {
    expect(canonicalJson({ b: [1, undefined, { d: null, c: undefined }], a: "x" })).toBe(
      '{"a":"x","b":[1,null,{"d":null}]}',
    );
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      cases(300),
    );
  });

  test("[SEC-60] secrets are compared whole, at any length", () => {
    expect([sameSecret("a", "a"), sameSecret("a", "b"), sameSecret("a", "aa"), sameSecret("", "")]).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });
});

test("[SEC-44] a record answers for what it holds", () => {
  expect([own({ a: 1 }, "a"), own({ a: 1 }, "b")]).toEqual([1, undefined]);
  expect([own<unknown>({}, "constructor"), own<unknown>({}, "toString")]).toEqual([undefined, undefined]);
});
