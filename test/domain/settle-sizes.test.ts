import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { Outputs } from "../../src/domain/stored.ts";
import { actOf, after, aTask, at, NOON } from "../support/build.ts";
import { REJECTED, settled } from "./settled-claim.ts";

describe("what fits a status", () => {
  const big = (bytes: number): string => "x".repeat(bytes);

  test("[R13] outputs of a stage are at most 1 KiB: what does not fit is left out, and missed where it is read", () => {
    const outputs: Outputs = { a: big(500), b: big(700), c: 1 };
    expect(entryOf(settled({}, { is: "done", outputs }), "one")?.outputs).toEqual({ a: big(500), c: 1 });
    expect(entryOf(settled({}, { is: "in-force", outputs }), "one")?.outputs).toEqual({ a: big(500), c: 1 });
  });

  test("[S25] outputs of a task are at most 16 KiB, in bytes", () => {
    const stages = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`s${i}`, { state: "Completed" as const, outputs: { a: "é".repeat(500) } }]),
    );
    const pipeline = Object.fromEntries([
      ...Object.keys(stages).map((name) => [name, "tell"] as const),
      ["one", "tell"] as const,
    ]);
    const before = aTask({ pipeline, stages: { ...stages, one: { state: "Running", attempts: 0 } } });
    const decision = decide(before, NOON);
    const status = settle(
      after(before, decision),
      actOf(decision),
      { is: "done", outputs: { a: big(900), b: 1 } },
      at(2),
    );
    expect(entryOf(status, "one")?.outputs).toEqual({ b: 1 });
  });

  test("[S25] drift of a task is at most 8 KiB: the first keys are named", () => {
    const keys = Array.from({ length: 16 }, (_, i) => `${i}-${big(250)}`);
    const drift = { keys, digests: { before: null, ours: null, now: null } };
    const found = { state: "Completed" as const, drift: { ...drift, keys: [...keys, ...keys.slice(0, 14)] } };
    const pipeline = { two: "write", one: "write" } as const;
    const before = aTask({ pipeline, stages: { two: found, one: { state: "Running", attempts: 0 } } });
    const decision = decide(before, NOON);
    const status = settle(after(before, decision), actOf(decision), { is: "terminal", fault: REJECTED, drift }, at(2));
    expect(entryOf(status, "one")?.drift?.keys).toEqual(keys.slice(0, 1));
    const alone = entryOf(settled({ kind: "write" }, { is: "done", outputs: {}, drift }), "one");
    expect(alone?.drift).toEqual(drift);
  });
});
