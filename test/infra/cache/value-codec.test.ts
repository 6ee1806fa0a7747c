import { brotliCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jittered, keyNames } from "../../../src/infra/cache/cache-keys.ts";
import { decodeValue, encodeValue, LARGEST_VALUE } from "../../../src/infra/cache/value-codec.ts";
import type { Json } from "../../../src/lib/json.ts";
import { millisOf, seconds } from "../../../src/lib/time.ts";

const packed = (text: string): Buffer => Buffer.concat([Buffer.of(1), brotliCompressSync(text)]);

test("any JSON value comes back as it was, compressed or not", async () => {
  const json = fc.jsonValue({ depthSize: "small" }).filter((value) => {
    const text = JSON.stringify(value);
    return text.isWellFormed() && !/"(?:__proto__|constructor|prototype)"/.test(text);
  });
  await fc.assert(
    fc.asyncProperty(json, fc.constantFrom(null, 0, 64), async (value, above) => {
      const bytes = await encodeValue(value as Json, above, "k");
      expect(JSON.stringify(await decodeValue(bytes, "k"))).toBe(JSON.stringify(value));
    }),
    { numRuns: 500 },
  );
});

test("compression begins at its size, and only where it saves something", async () => {
  const text = "x".repeat(98);
  expect((await encodeValue(text, 101, "k"))[0]).toBe(0x22);
  expect((await encodeValue(text, 100, "k"))[0]).toBe(1);
  expect((await encodeValue("ab", 1, "k")).toString()).toBe('"ab"');
});

test("a decoded value cannot be changed at any depth", async () => {
  const value = (await decodeValue(Buffer.from('{"a":[{"b":1}]}'), "k")) as { a: { b: number }[] };
  expect(() => (value.a[0]!.b = 2)).toThrow(TypeError);
});

describe("[SEC-41][SEC-44] what was not written by this cache is refused:", () => {
  const BAD: readonly (readonly [what: string, bytes: Buffer])[] = [
    ["nothing", Buffer.alloc(0)],
    ["no JSON", Buffer.from("{")],
    ["a forbidden key", Buffer.from('{"__proto__":{}}')],
    ["a key twice", Buffer.from('{"a":1,"a":2}')],
    ["no UTF-8", Buffer.from([0x22, 0xff, 0x22])],
    ["no compressed bytes", Buffer.from([1, 2, 3])],
    ["compressed bytes that are no JSON", packed("x")],
    ["a bomb", packed(`"${"x".repeat(LARGEST_VALUE)}"`)],
    ["a deep one", Buffer.from("[".repeat(65) + "]".repeat(65))],
  ];
  test.each(BAD)("%s", async (_what, bytes) => {
    await expect(decodeValue(bytes, "k")).rejects.toMatchObject({ code: "ValueUnreadable", type: "VALIDATION" });
  });
  test("no row is lost", () => expect(BAD).toHaveLength(9));
});

test("a life is drawn from the share that jitter allows, never longer and never nothing", () => {
  expect(jittered(seconds(100), 0.1, 0)).toBe(100_000);
  expect(jittered(seconds(100), 0.1, 1)).toBe(90_000);
  expect(jittered(seconds(100), 0, 0.7)).toBe(100_000);
  expect(jittered(millisOf(0), 0.5, 0.9)).toBe(1);
});

test("names of keys, leases and locks never meet", () => {
  const names = keyNames("im:");
  expect([names.value("k"), names.lease("k"), names.lock("k")]).toEqual(["im:k", "im:~lease:k", "im:~lock:k"]);
  expect(() => names.value("~lock:k")).toThrow(/does not begin with ~/);
});
