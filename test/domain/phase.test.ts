import { describe, expect, test } from "vitest";
import {
  canPause,
  canResume,
  canRetry,
  canRollback,
  isFailure,
  isTerminal,
  mayEnter,
  type Phase,
  PHASES,
  STAGE_EDGES,
  STAGE_STATES,
  stageMayBecome,
  type StageState,
  TRANSITIONS,
} from "../../src/domain/phase.ts";

/** The table of api.md (Phases), written a second time: a row of the product's that changes must change here, too. */
const ARROWS: Readonly<Record<Phase, string>> = {
  Created: "Validating",
  Validating: "ValidationFailed Pending Completed Cancelled",
  ValidationFailed: "",
  Pending: "Running Paused ValidationFailed RollingBack Cancelled",
  Running: "Paused Completed Failed RollingBack Cancelled",
  Paused: "Resuming RollingBack Cancelled",
  Resuming: "Pending Running Paused Failed RollingBack Cancelled",
  Completed: "RollingBack",
  Failed: "Running RollingBack Cancelled",
  RollingBack: "RolledBack RollbackFailed Cancelled",
  RollbackFailed: "RollingBack Cancelled",
  RolledBack: "",
  Cancelled: "",
};
const EVERY = Object.keys(ARROWS) as readonly Phase[];
const PAIRS = EVERY.flatMap((from) => EVERY.map((to) => [from, to] as const));

describe("phases", () => {
  test("[S5] there are 13 phases and 169 pairs", () => {
    expect(PHASES.toSorted()).toEqual(EVERY.toSorted());
    expect(PAIRS).toHaveLength(169);
  });

  test.each(PAIRS)("[S5] %s → %s is allowed where the table has it, and nowhere else", (from, to) => {
    expect(mayEnter(from, to)).toBe(ARROWS[from].split(" ").includes(to));
  });

  test("every phase but the first can be entered", () => {
    const entered = new Set(Object.values(TRANSITIONS).flat());
    expect(EVERY.filter((phase) => !entered.has(phase as never))).toEqual(["Created"]);
  });

  test.each([
    ["is terminal", isTerminal, "Completed RolledBack Cancelled ValidationFailed"],
    ["is a failure", isFailure, "Failed RollbackFailed ValidationFailed"],
    ["can be paused", canPause, "Pending Running Resuming"],
    ["can be resumed", canResume, "Paused"],
    ["can be retried", canRetry, "Failed RollbackFailed"],
    ["can be rolled back", canRollback, "Pending Running Paused Resuming Failed Completed"],
  ] as const)("what %s", (_what, holds, phases) => {
    expect(EVERY.filter(holds).toSorted()).toEqual(phases.split(" ").toSorted());
  });
});

/** The edges of api.md (Status), written a second time. */
const EDGES: Readonly<Record<StageState, string>> = {
  Pending: "Running Skipped RollingBack",
  Running: "Running Completed Failed Skipped RollingBack",
  Failed: "Running Skipped RollingBack",
  Completed: "RollingBack",
  Skipped: "RollingBack",
  RollingBack: "RollingBack RolledBack",
  RolledBack: "",
};
const STATES = Object.keys(EDGES) as readonly StageState[];

describe("states of a stage", () => {
  test("[S5] there are 7 states", () => {
    expect(STAGE_STATES.toSorted()).toEqual(STATES.toSorted());
    expect(Object.keys(STAGE_EDGES)).toHaveLength(7);
  });

  test.each(STATES.flatMap((from) => STATES.map((to) => [from, to] as const)))(
    "[S5] a stage goes %s → %s or not",
    (from, to) => {
      expect(stageMayBecome(from, to)).toBe(EDGES[from].split(" ").includes(to));
    },
  );

  test("[S6] from a settled state only the way back is open", () => {
    expect(STATES.filter((to) => stageMayBecome("Completed", to) || stageMayBecome("Skipped", to))).toEqual([
      "RollingBack",
    ]);
  });
});
