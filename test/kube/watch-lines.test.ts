import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { decodeWatchLine } from "../../src/kube/watch-lines.ts";
import { openLineCutter } from "../../src/lib/line-cutter.ts";
import { added, aWidget, bookmark, deleted, modified } from "../support/kube-objects.ts";

const cut = (chunks: readonly Uint8Array[], longest = 1000): string[] => {
  const cutter = openLineCutter(longest);
  return chunks.flatMap((chunk) => [...cutter.push(chunk)].map((line) => Buffer.from(line).toString()));
};

describe("cutting", () => {
  test("however the bytes are cut into chunks, the same lines come out", () => {
    const lines = fc.array(fc.string({ unit: fc.constantFrom("a", "ä", "€", "😀", "{", "}"), maxLength: 30 }));
    const sizes = fc.infiniteStream(fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(lines, sizes, (texts, size) => {
        const bytes = Buffer.from(texts.map((text) => `${text}\n`).join(""));
        const chunks: Uint8Array[] = [];
        for (let at = 0; at < bytes.length;) {
          const { value } = size.next();
          chunks.push(bytes.subarray(at, at + value));
          at += value;
        }
        expect(cut(chunks)).toEqual(texts.filter((text) => text !== "").map((text) => Buffer.from(text).toString()));
      }),
    );
  });

  test("a line without its end is kept until the end comes", () => {
    expect(cut([Buffer.from("one\ntw")])).toEqual(["one"]);
    expect(cut([Buffer.from("one\ntw"), Buffer.from("o\n")])).toEqual(["one", "two"]);
  });

  test("[SEC-41] a line beyond the limit is refused, whether it ends or not, in one chunk or in many", () => {
    const long = Buffer.from("x".repeat(11));
    const ten = "xxxxxxxxxx";
    expect(cut([Buffer.from(`${ten}\n${ten}\n${ten.slice(4)}`), Buffer.from("xxxx\n")], 10)).toEqual([ten, ten, ten]);
    expect(() => cut([long], 10)).toThrow(RangeError);
    expect(() => cut([Buffer.from("xxxxxxxxxxx\n")], 10)).toThrow(RangeError);
    expect(() => cut([Buffer.from("xxxxxx"), Buffer.from("xxxxx")], 10)).toThrow(RangeError);
    expect(() => cut([Buffer.from("xxxxxx"), Buffer.from("xxxxx\n")], 10)).toThrow(RangeError);
  });
});

describe("decoding", () => {
  const decode = (event: unknown): unknown => decodeWatchLine(Buffer.from(JSON.stringify(event)));
  const widget = aWidget("a", 7);

  test("changes, bookmarks and errors are told apart", () => {
    expect(decode(added(widget))).toEqual({ type: "upsert", object: widget });
    expect(decode(modified(widget))).toEqual({ type: "upsert", object: widget });
    expect(decode(deleted(widget))).toEqual({ type: "delete", object: widget });
    expect(decode(bookmark(9))).toEqual({ type: "bookmark", resourceVersion: "9", isInitialEnd: false });
    expect(decode(bookmark(9, true))).toEqual({ type: "bookmark", resourceVersion: "9", isInitialEnd: true });
    expect(decode({ type: "ERROR", object: { code: 410 } })).toEqual({ type: "error", status: { code: 410 } });
  });

  test.each([
    ["{", "NotJson"],
    ["7", "UnknownType"],
    ["null", "UnknownType"],
    ['{"type":"PATCHED","object":{}}', "UnknownType"],
    ['{"type":"ADDED"}', "NotAnObject"],
    ['{"type":"ADDED","object":[]}', "NotAnObject"],
    ['{"type":"ADDED","object":{"metadata":{"name":"a","uid":"u"}}}', "NotAnObject"],
    ['{"type":"ADDED","object":{"metadata":{"name":"a","uid":"u","resourceVersion":"7x"}}}', "NotAnObject"],
    ['{"type":"MODIFIED","object":{"metadata":{"uid":"u","resourceVersion":"7"}}}', "NotAnObject"],
    ['{"type":"DELETED","object":{"metadata":null}}', "NotAnObject"],
    ['{"type":"BOOKMARK","object":{"metadata":{}}}', "NotABookmark"],
    ['{"type":"BOOKMARK"}', "NotABookmark"],
  ])("%s is unreadable: %s", (line, reason) => {
    expect(decodeWatchLine(Buffer.from(line))).toEqual({ type: "unreadable", reason });
  });

  test("a line that is no UTF-8 is unreadable", () => {
    expect(decodeWatchLine(Buffer.from([0x22, 0xff, 0x22]))).toEqual({ type: "unreadable", reason: "NotJson" });
  });
});
