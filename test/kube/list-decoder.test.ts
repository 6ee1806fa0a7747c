import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { decodeJsonBytes, decodeList, openTurns, type Turns } from "../../src/kube/list-decoder.ts";
import { millisOf } from "../../src/lib/time.ts";
import { ManualClock } from "../support/manual-clock.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text);
const never: Turns = () => undefined;

describe("a list page decodes to what JSON.parse gives", () => {
  const pretty = fc.constantFrom(undefined, 2, "\t");
  test("for any object, however it is spaced", async () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue());
    const list = fc
      .tuple(object, fc.option(fc.array(fc.jsonValue()), { nil: undefined }))
      .map(([rest, items]) => ({ ...rest, items }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(object, list), pretty, async (value, space) => {
        const text = JSON.stringify(value, null, space);
        expect(await decodeList(bytes(text), never)).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['{"items":[{"a":"}]\\"{["},{"b":"\\\\"}],"metadata":{"items":[1]}}'],
    ['{"items":null}'],
    ['{"items":{"a":[1]}}'],
    ["{}"],
    [' { "items" : [ ] , "x" : -1.5e3 } \n'],
    ['{"a":true,"b":null,"items":[1,"two",false,[],{}]}'],
  ])("%s", async (text) => {
    expect(await decodeList(bytes(text), never)).toEqual(JSON.parse(text));
  });

  test("a key __proto__ becomes a field like any other", async () => {
    const list = await decodeList(bytes('{"__proto__":{"polluted":1},"items":[]}'), never);
    expect(Object.keys(list)).toEqual(["__proto__", "items"]);
    expect(Object.getPrototypeOf(list)).toBe(Object.prototype);
  });
});

describe("what is damaged is refused, never guessed", () => {
  test.each([
    [""],
    ["[]"],
    ["{"],
    ['{"items":[{"a":1}'],
    ['{"items":[{"a":1},]}'],
    ['{"items":[,]}'],
    ['{"items":[1 2]}'],
    ['{"items":[{"a":1}]'],
    ['{"items":[{"a":1]}]}'],
    ['{"items":[]}}'],
    ['{"items":[]} x'],
    ['{"a" 1}'],
    ['{"a":}'],
    ['{"a":"unended}'],
    ["{1:2}"],
    ['{"a":1,}'],
    ['{"a":nul}'],
  ])("%s", async (text) => {
    await expect(decodeList(bytes(text), never)).rejects.toThrow(SyntaxError);
  });

  test("bytes that are no UTF-8 are refused, in a list and in an object", async () => {
    const broken = Buffer.concat([bytes('{"items":["'), Buffer.from([0xc3, 0x28]), bytes('"]}')]);
    await expect(decodeList(broken, never)).rejects.toThrow(TypeError);
    expect(() => decodeJsonBytes(broken)).toThrow(TypeError);
  });
});

test("long work gives the event loop its turns, short work asks for none", async () => {
  const clock = new ManualClock();
  const turns = openTurns(clock);
  expect(turns()).toBeUndefined();
  await clock.advance(millisOf(5));
  let served = false;
  setImmediate(() => (served = true));
  await turns();
  expect(served).toBe(true);
  expect(turns()).toBeUndefined();
});

test("between items the turns are asked for", async () => {
  let asked = 0;
  await decodeList(bytes('{"items":[1,2,3,4]}'), () => void (asked += 1));
  expect(asked).toBe(4);
});
