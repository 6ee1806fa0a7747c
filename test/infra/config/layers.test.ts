import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { checkLayers } from "../../../src/infra/config/check-layers.ts";
import { cacheSettings } from "../../../src/infra/config/cache-settings.ts";
import { differences } from "../../../src/infra/config/changed-paths.ts";
import { LAYER_ORDER, type Layers, mergeLayers, mergePatch } from "../../../src/infra/config/layers.ts";
import { formatProblem } from "../../../src/infra/config/problems.ts";
import type { Json } from "../../../src/lib/json.ts";

const plain = (value: Json): unknown => JSON.parse(JSON.stringify(value));

describe("layers", () => {
  test("for every set of layers, each field comes from the highest that has it", () => {
    const schema = z.strictObject({ a: z.number(), g: z.strictObject({ b: z.number(), c: z.number() }) });
    const one = fc.record(
      { a: fc.nat(9), g: fc.record({ b: fc.nat(9), c: fc.nat(9) }, { requiredKeys: [] }) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.tuple(one, one, one, one), (four) => {
        const layers: Layers = Object.fromEntries(LAYER_ORDER.map((name, i) => [name, four[i] as Json]));
        const merged = mergeLayers(schema, layers);
        const top = (
          pick: (value: (typeof four)[number]) => number | undefined,
        ): readonly [number | undefined, string | null] => {
          const at = four.findLastIndex((value) => pick(value) !== undefined);
          return at < 0 ? [undefined, null] : [pick(four[at] ?? {}), LAYER_ORDER[at] ?? null];
        };
        const value = merged.value as { a?: number; g?: { b?: number; c?: number } };
        for (const [path, pick, found] of [
          ["a", (v) => v.a, value.a],
          ["g.b", (v) => v.g?.b, value.g?.b],
          ["g.c", (v) => v.g?.c, value.g?.c],
        ] as readonly (readonly [string, (v: (typeof four)[number]) => number | undefined, number | undefined])[]) {
          const [expected, origin] = top(pick);
          expect(found).toBe(expected);
          expect(expected === undefined ? null : merged.originOf(path)).toBe(origin);
        }
      }),
    );
  });

  test("a secret's reference, a union and a list are replaced as a whole", () => {
    const merged = mergeLayers(cacheSettings, {
      "file global": { password: { file: "/a" }, tls: { ca: { file: "/ca" }, serverName: "x.example" } },
      "centre service": { password: { env: "TURNOUT_SECRET_A" }, tls: { ca: { env: "TURNOUT_SECRET_CA" } } },
    });
    expect(plain(merged.value)).toEqual({
      password: { env: "TURNOUT_SECRET_A" },
      tls: { ca: { env: "TURNOUT_SECRET_CA" } },
    });
    expect([merged.originOf("password.env"), merged.originOf("tls.ca.env")]).toEqual([
      "centre service",
      "centre service",
    ]);
    expect(plain(mergePatch(z.strictObject({ l: z.array(z.int()) }), { l: [1, 2] }, { l: [3] }))).toEqual({ l: [3] });
  });

  test("what no layer says is nobody's", () => {
    const merged = mergeLayers(cacheSettings, { "file global": { local: { ttl: "1m" } }, "centre service": { db: 1 } });
    expect(["db", "local.ttl", "local.enabled", "poolSize", "local", ""].map(merged.originOf)).toEqual([
      "centre service",
      "file global",
      null,
      null,
      null,
      null,
    ]);
  });

  test("maps are merged name by name", () => {
    const { value } = mergeLayers(z.strictObject({ topics: z.record(z.string(), z.string()) }), {
      "file global": { topics: { a: "1", b: "2" } },
      "file service": { topics: { b: "3" } },
    });
    expect(plain(value)).toEqual({ topics: { a: "1", b: "3" } });
  });

  test("a layer that is no object replaces what is below, and unknown keys stay to be refused", () => {
    const checked = checkLayers("cache", { "file service": { poolSize: 3 }, "centre service": 7 });
    expect(checked.ok ? [] : checked.problems.map((one) => `${one.layer}: ${formatProblem(one)}`)).toEqual([
      "centre service: cache: 7 is not allowed here (allowed: an object)",
    ]);
    const unknown = checkLayers("cache", { "file global": { retryBackoff: { mni: "1s" } } });
    expect(unknown.ok ? [] : unknown.problems.map((one) => `${one.layer}: ${formatProblem(one)}`)).toEqual([
      "file global: cache.retryBackoff.mni: is not a setting; did you mean min?",
    ]);
  });

  test("a value that is wrong 5,000 times is told by its first 100 problems", () => {
    const many = (value: Json): Json => Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`key${i}`, value]));
    const counts = [many(1), { topics: many(1) }, { topics: many("ok") }].map((value) => {
      const checked = checkLayers("mq", { "file global": value, "centre service": value });
      return checked.ok ? 0 : checked.problems.length;
    });
    expect(counts).toEqual([100, 100, 0]);
  });

  test("[SEC-44] no layer reaches a prototype", () => {
    const hostile = JSON.parse('{"__proto__": {"polluted": 1}, "topics": {"__proto__": {"polluted": 1}}}') as Json;
    mergeLayers(z.strictObject({ topics: z.record(z.string(), z.string()) }), {
      "centre service": hostile,
      "file service": { topics: {} },
    });
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

describe("differences", () => {
  test("they name each field that changed, came or went", () => {
    const [old, next]: [Json, Json] = [
      { a: 1, g: { b: 1, c: 1 }, l: [1], gone: { x: 1 } },
      { a: 2, g: { b: 1, c: 2 }, l: [1, 2], here: { y: { z: 1 } } },
    ];
    expect(differences(old, next).map(({ path, old: from, new: to }) => [path, from, to])).toEqual([
      ["a", 1, 2],
      ["g.c", 1, 2],
      ["gone.x", 1, undefined],
      ["here.y.z", undefined, 1],
      ["l[1]", undefined, 2],
    ]);
    const items: Json = [{ n: 1 }, { n: 2 }, { n: 3 }];
    const said = (to: Json): readonly string[] =>
      differences(items, to).map(
        ({ path, old: from, new: now }) => `${path} ${JSON.stringify(from)} ${JSON.stringify(now)}`,
      );
    expect(said([{ n: 1 }, { n: 9 }, { n: 3 }])).toEqual(["[1].n 2 9"]);
    expect(said([{ n: 1 }, { n: 3 }])).toEqual(['[1] {"n":2} undefined']);
    expect(said([{ n: 0 }, { n: 1 }, { n: 2 }, { n: 3 }])).toEqual(['[0] undefined {"n":0}']);
    expect(said([])).toHaveLength(3);
    expect(differences(old, old)).toEqual([]);
    expect(differences(undefined, {}).map(({ path }) => path)).toEqual([""]);
  });
});
