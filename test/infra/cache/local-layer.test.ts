import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LocalLayer } from "../../../src/infra/cache/local-layer.ts";
import { millisOf, type Millis, minutes } from "../../../src/lib/time.ts";

const LIMITS = { ttl: minutes(5), maxEntries: 3 } as const;
const at = (ms: number): Millis => millisOf(ms);

function serving(): LocalLayer {
  const layer = new LocalLayer(LIMITS);
  layer.resume();
  return layer;
}
const keep = (layer: LocalLayer, key: string, value: number, now = 0): void =>
  layer.finish(layer.begin(key), value, at(now));

test("[R121] a value is kept for its time, to the millisecond", () => {
  const layer = serving();
  keep(layer, "k", 1);
  expect(layer.get("k", at(299_999))).toBe(1);
  expect(layer.get("k", at(300_000))).toBeUndefined();
  expect(layer.size).toBe(0);
});

test("the one unused longest goes first", () => {
  const layer = serving();
  for (const key of ["a", "b", "c"]) keep(layer, key, 1);
  layer.get("a", at(1));
  keep(layer, "d", 1);
  expect(["a", "b", "c", "d"].map((key) => layer.get(key, at(2)))).toEqual([1, undefined, 1, 1]);
  layer.resize({ ...LIMITS, maxEntries: 1 });
  expect(layer.size).toBe(1);
  expect(layer.get("d", at(2))).toBe(1);
});

test("nothing is kept while it is not told what becomes invalid", () => {
  const layer = new LocalLayer(LIMITS);
  keep(layer, "k", 1);
  expect(layer.size).toBe(0);
  layer.resume();
  keep(layer, "k", 1);
  layer.suspend();
  expect([layer.size, layer.get("k", at(1)), layer.serving]).toEqual([0, undefined, false]);
});

describe("a read that was overtaken is not kept:", () => {
  const OVERTAKEN: readonly (readonly [what: string, happens: (layer: LocalLayer) => void])[] = [
    ["the key was changed", (layer) => layer.invalidate("k")],
    ["everything was", (layer) => layer.clear()],
    ["the line was lost", (layer) => layer.suspend()],
    ["the line was lost and is back", (layer) => (layer.suspend(), layer.resume())],
  ];
  test.each(OVERTAKEN)("%s", (what, happens) => {
    const layer = serving();
    const [reading, other] = [layer.begin("k"), layer.begin("other")];
    happens(layer);
    layer.finish(reading, 1, at(0));
    expect(layer.get("k", at(0))).toBeUndefined();
    layer.finish(other, 2, at(0));
    expect(layer.get("other", at(0))).toBe(what === "the key was changed" ? 2 : undefined);
  });

  test("one that began afterwards is", () => {
    const layer = serving();
    const before = layer.begin("k");
    layer.invalidate("k");
    keep(layer, "k", 2);
    layer.finish(before, 1, at(0));
    expect(layer.get("k", at(0))).toBe(2);
  });
});

test("whatever happens in whatever order, what is kept is what the store holds", () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("begin" as const), key: fc.constantFrom("a", "b") }),
    fc.record({ do: fc.constant("read" as const), of: fc.nat(3) }),
    fc.record({ do: fc.constant("finish" as const), of: fc.nat(3) }),
    fc.record({ do: fc.constant("write" as const), key: fc.constantFrom("a", "b") }),
    fc.record({ do: fc.constant("lose" as const) }),
    fc.record({ do: fc.constant("back" as const) }),
  );
  const wrong = fc.check(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const layer = serving();
      const store: Record<string, number> = { a: 0, b: 0 };
      let told = true;
      let reads: { key: string; reading: ReturnType<LocalLayer["begin"]>; found?: number }[] = [];
      for (const it of steps) {
        const read = "of" in it ? reads[it.of] : undefined;
        if (it.do === "begin") reads.push({ key: it.key, reading: layer.begin(it.key) });
        else if (it.do === "read" && read !== undefined) read.found = store[read.key] ?? -1;
        else if (it.do === "finish" && read !== undefined) {
          layer.finish(read.reading, read.found, at(0));
          reads = reads.filter((one) => one !== read);
        } else if (it.do === "write") {
          store[it.key] = (store[it.key] ?? 0) + 1;
          if (told) layer.invalidate(it.key);
        } else if (it.do === "lose") [told] = [false, layer.suspend()];
        else if (it.do === "back") [told] = [true, layer.resume()];
        const kept = ["a", "b"].map((key) => [key, layer.get(key, at(0))] as const);
        if (kept.some(([key, value]) => value !== undefined && value !== store[key])) return false;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  expect(wrong.counterexample).toBeNull();
});
