import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { StageEntry } from "../../src/domain/stored.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { actOf, after, aStage, aTask, at, NOON } from "../support/build.ts";
import { DONE, RETRYABLE, settled, TERMINAL, UNKNOWN } from "./settled-claim.ts";

describe("receivers without fences", () => {
  const pipeline = { one: aStage("one", "repeat", { endpoint: "legacy" }) };
  const quietOf = (outcome: Outcome, entry: Partial<StageEntry> = {}): unknown => {
    const before = aTask({ pipeline, stages: { one: { state: "Running", attempts: 0, ...entry } } });
    const decision = decide(before, NOON);
    return entryOf(settle(after(before, decision), actOf(decision), outcome, at(2)), "one")?.quietUntil;
  };

  test("◆ [S8] what nobody knows about may arrive for a time to live and a request timeout more", () => {
    expect(quietOf(UNKNOWN)).toBe(at(2 + 15 + 5 + 3));
  });

  test("what certainly arrived, or certainly did not, may not", () => {
    expect([DONE, RETRYABLE, TERMINAL].map((outcome) => quietOf(outcome))).toEqual([null, null, null]);
  });

  test("an earlier attempt may still, until its time is over", () => {
    const doubted: Partial<StageEntry> = { quietUntil: at(9), outcome: "Unknown" };
    expect([DONE, RETRYABLE].map((outcome) => quietOf(outcome, doubted))).toEqual([at(9), at(9)]);
    expect(quietOf(DONE, { quietUntil: at(1) })).toBeNull();
  });

  test("where receivers check fences, nothing has to be quiet", () => {
    expect(entryOf(settled({}, UNKNOWN), "one")?.quietUntil).toBeNull();
    expect(entryOf(settled({ kind: "wait" }, UNKNOWN), "one")?.quietUntil).toBeNull();
  });
});
