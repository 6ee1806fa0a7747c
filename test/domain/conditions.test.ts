import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conditionsOf, STAGE_CONDITION } from "../../src/domain/conditions.ts";
import { isTerminal, type Phase, PHASES } from "../../src/domain/phase.ts";
import { enter, freshStatus, pass } from "../../src/domain/status.ts";
import type { Condition, StageEntry, Status, Waiting } from "../../src/domain/stored.ts";
import { play, stories } from "../support/arbitrary-runs.ts";
import { type About, aTask, at, NOON } from "../support/build.ts";
import { versionsOf } from "../support/run-domain.ts";
import { cases } from "../support/seed.ts";

const of = (about: About): Status => aTask(about).status;
const named = { namespace: "prod", name: "acme-green" };

const find = (status: Status, type: string, now = NOON): Condition | undefined =>
  conditionsOf(status, now, named).find((one) => one.type === type);
/** `status reason: message` */
function say(status: Status, type: string): string {
  const found = find(status, type);
  return `${found?.status} ${found?.reason}: ${found?.message}`;
}

const RETRY = `kubectl patch swt acme-green -n prod --type=merge -p '{"spec":{"control":{"retry":1}}}'`;
const FAILURE: Status["failure"] = {
  type: "Rejected",
  code: "HttpRejected",
  stage: "route",
  message: "route was refused",
  retryable: false,
  at: NOON,
};
const waiting = (reason: Waiting["reason"]): Waiting => ({
  reason,
  message: `because of ${reason}`,
  since: NOON,
  until: null,
  unblock: "do this",
});

type Row = readonly [ready: string, reconciling: string, stalled: string, succeeded: string, paused: string];
/** kstatus: exactly one of Ready, Reconciling and Stalled is True. */
const BY_PHASE: Readonly<Record<Phase, Row>> = {
  Created: ["False", "True", "False", "Unknown", "False"],
  Validating: ["False", "True", "False", "Unknown", "False"],
  ValidationFailed: ["False", "False", "True", "False", "False"],
  Pending: ["False", "True", "False", "Unknown", "False"],
  Running: ["False", "True", "False", "Unknown", "False"],
  Paused: ["False", "True", "False", "Unknown", "True"],
  Resuming: ["False", "True", "False", "Unknown", "False"],
  Completed: ["True", "False", "False", "True", "False"],
  Failed: ["False", "False", "True", "Unknown", "False"],
  RollingBack: ["False", "True", "False", "Unknown", "False"],
  RollbackFailed: ["False", "False", "True", "Unknown", "False"],
  RolledBack: ["False", "False", "True", "False", "False"],
  Cancelled: ["False", "False", "True", "False", "False"],
};

describe("conditions of the task", () => {
  const TYPES = ["Ready", "Reconciling", "Stalled", "Succeeded", "Paused"] as const;

  test.each(PHASES)("in %s they read as kstatus wants", (phase) => {
    const status = { ...freshStatus(3), phase };
    expect(TYPES.map((type) => find(status, type)?.status)).toEqual(BY_PHASE[phase]);
    expect(TYPES.map((type) => find(status, type)?.reason)).toEqual(TYPES.map(() => phase));
  });

  test("[S30] Diverged is a stall in any phase, with the way out", () => {
    const status = { ...of({ stages: { route: "Completed" } }), waiting: waiting("Diverged") };
    expect(say(status, "Stalled")).toBe("True Diverged: because of Diverged; do this");
    expect(say(status, "Ready")).toBe("False Running: because of Diverged; do this");
    expect(say(status, "Reconciling")).toBe("False Running: ");
  });

  test("Reconciling says what is waited for", () => {
    const status = { ...of({ phase: "Pending" }), waiting: waiting("WaitingForLock") };
    expect(say(status, "Reconciling")).toBe("True WaitingForLock: because of WaitingForLock");
    expect(say(status, "Ready")).toBe("False Pending: because of WaitingForLock");
  });

  test("Paused tells how to go on", () => {
    const status = { ...of({ phase: "Paused" }), waiting: waiting("Paused") };
    expect(say(status, "Paused")).toBe("True Paused: do this");
    expect(say(of({ phase: "Paused" }), "Paused")).toBe("True Paused: ");
  });

  const STALLS: readonly (readonly [rule: string, status: Status, message: string])[] = [
    [
      "a failure, and how to go on",
      { ...of({ phase: "Failed" }), failure: FAILURE },
      `route was refused; ${RETRY} (or {"rollback":true})`,
    ],
    ["of an undo", { ...of({ phase: "RollbackFailed" }), failure: FAILURE }, `route was refused; ${RETRY}`],
    [
      "what only a person clears, and how",
      { ...of({ phase: "Failed" }), failure: FAILURE, waiting: waiting("Conflict") },
      "route was refused; do this",
    ],
    ["a refused spec is over", { ...of({ phase: "ValidationFailed" }), failure: FAILURE }, "route was refused"],
    [
      "an end by a person",
      enter(of({ phase: "Pending" }), "Cancelled", "CancelAsked", NOON),
      "cancelled before anything was switched",
    ],
    ["an end that has no words of its own", enter(of({ phase: "Pending" }), "Cancelled", "Finished", NOON), "Finished"],
    ["an end without a history", of({ phase: "Cancelled" }), ""],
    [
      "a replay, and how to run it again",
      pass(freshStatus(1), ["Validating", "Cancelled"], "Replay", NOON),
      'executed before, and the tenant is elsewhere now; to run it again, delete it and create it with annotation turnout.dev/rerun: "NEW TEXT"',
    ],
    [
      "who abandoned it, and what that means",
      {
        ...of({ phase: "Cancelled", stages: { route: "Running" } }),
        abandoned: { by: "bob", reason: "gone", at: NOON },
      },
      "abandoned by bob: gone; nobody knows where the tenant is: the next task must state spec.previous",
    ],
    [
      "which is nothing where nothing was claimed",
      { ...of({ phase: "Cancelled" }), abandoned: { by: "bob", reason: "gone", at: NOON } },
      "abandoned by bob: gone",
    ],
  ];
  test("no row is lost", () => expect(STALLS).toHaveLength(10));
  test.each(STALLS)("Stalled says %s", (_rule, status, message) => {
    expect(find(status, "Stalled")?.message).toBe(message);
  });

  test("a long failure is cut, the command is not", () => {
    const status = { ...of({ phase: "RollbackFailed" }), failure: { ...FAILURE, message: "x".repeat(600) } };
    const message = find(status, "Stalled")?.message ?? "";
    expect(message).toHaveLength(512);
    expect(message.endsWith(`; ${RETRY}`)).toBe(true);
  });

  test("Succeeded says where nothing was done", () => {
    const validating = enter(freshStatus(1), "Validating", "TaskSeen", NOON);
    expect(say(enter(validating, "Completed", "DryRun", NOON), "Succeeded")).toBe("True Completed: dry run");
    expect(say(enter(validating, "Completed", "AlreadyExecuted", NOON), "Succeeded")).toBe(
      "True Completed: executed before, and the tenant is still there: nothing was done",
    );
    expect(say(of({ phase: "Completed" }), "Succeeded")).toBe("True Completed: ");
  });

  describe("Validated", () => {
    const error = { severity: "error", path: "spec.a", value: "b", message: "is wrong" } as const;
    const warning = { severity: "warning", path: "spec.c", value: "", message: "is odd" } as const;
    const pending = pass(freshStatus(1), ["Validating", "Pending"], "SpecValid", NOON);
    const refused = pass(freshStatus(1), ["Validating", "ValidationFailed"], "SpecInvalid", NOON);

    test("[R10] path, value and message of every error", () => {
      expect(say({ ...refused, issues: [error, warning] }, "Validated")).toBe(
        "False SpecInvalid: error spec.a=b: is wrong",
      );
      expect(say({ ...refused, failure: FAILURE }, "Validated")).toBe("False SpecInvalid: route was refused");
      expect(say(refused, "Validated")).toBe("False SpecInvalid: ");
    });

    test("[R31] warnings of a valid spec", () => {
      expect(say({ ...pending, issues: [warning] }, "Validated")).toBe("True SpecValid: warning spec.c: is odd");
    });

    test("what was found before the first write is carried, until the task is refused after all", () => {
      const first = { ...pending, issues: [warning] };
      const later = { ...first, issues: [], conditions: conditionsOf(first, NOON, named) };
      expect(say(later, "Validated")).toBe("True SpecValid: warning spec.c: is odd");
      const moved = enter(later, "ValidationFailed", "PreviousMoved", NOON);
      expect(say({ ...moved, failure: FAILURE }, "Validated")).toBe("False SpecInvalid: route was refused");
    });
  });
});

describe("checkpoint conditions", () => {
  const STAGES: readonly (readonly [said: string, about: About["stages"]])[] = [
    ["False Running: ", { route: "Running" }],
    ["False Running: attempt 3; outcome unknown; HttpTimeout, ConnectRefused", { route: doubtful() }],
    ["True Completed: ", { route: "Completed" }],
    ["True Skipped: bob: not needed", { route: "Skipped" }],
    ["True Skipped: : ", { route: { state: "Skipped", skipped: null } }],
    ["False Failed: ", { route: "Failed" }],
    ["False RollingBack: ", { route: "RollingBack" }],
    ["False RolledBack: ", { route: "RolledBack" }],
    ["False Pending: ", { route: { state: "Pending" } }],
  ];
  test("no row is lost", () => expect(STAGES).toHaveLength(9));
  test.each(STAGES)("[R13] %s", (said, stages) => {
    expect(say(of(stages === undefined ? {} : { stages }), `${STAGE_CONDITION}route`)).toBe(said);
  });

  test("a stage's appears with its first claim", () => {
    expect(find(of({}), `${STAGE_CONDITION}route`)).toBeUndefined();
  });

  test("its message is at most 128 characters", () => {
    const skipped = { by: "b".repeat(128), reason: "r".repeat(256) };
    const status = of({ stages: { route: { state: "Skipped", skipped } } });
    expect(find(status, `${STAGE_CONDITION}route`)?.message).toHaveLength(128);
  });

  function doubtful(): Partial<StageEntry> {
    const failures = ["HttpTimeout", "ConnectRefused", "HttpTimeout"].map((code, i) => ({ i, code }));
    return { state: "Running", attempts: 3, outcome: "Unknown", failures };
  }
});

test("lastTransitionTime moves with the status of the condition, not with its reason", () => {
  const before = of({ phase: "Pending" });
  const first = { ...before, conditions: conditionsOf(before, at(1)) };
  const running = enter(first, "Running", "Claimed", at(2));
  const second = { ...running, conditions: conditionsOf(running, at(2)) };
  expect(find(second, "Reconciling", at(2))).toMatchObject({ reason: "Running", lastTransitionTime: at(1) });
  const over = enter(second, "Completed", "AllStagesSettled", at(3));
  expect(find(over, "Reconciling", at(3))).toMatchObject({ status: "False", lastTransitionTime: at(3) });
});

describe("in any run", () => {
  test(
    "[R10] exactly one of Ready, Reconciling, Stalled is True, Succeeded is final, and each stage has one condition",
    { timeout: 60_000 },
    () => {
      fc.assert(
        fc.property(stories(), (story) => {
          for (const status of versionsOf(play(story), "acme-green")) {
            const all = new Map(status.conditions.map((one) => [one.type, one]));
            const kstatus = ["Ready", "Reconciling", "Stalled"].filter((type) => all.get(type)?.status === "True");
            expect(kstatus).toHaveLength(1);
            expect(all.get("Succeeded")?.status === "Unknown").toBe(!isTerminal(status.phase));
            const stages = status.conditions.filter(({ type }) => type.startsWith(STAGE_CONDITION));
            expect(stages.map(({ type }) => type.slice(STAGE_CONDITION.length))).toEqual(
              status.stages.map(({ name }) => name),
            );
            for (const { type, message } of status.conditions) {
              expect(message.length).toBeLessThanOrEqual(type.startsWith(STAGE_CONDITION) ? 128 : 512);
            }
          }
        }),
        cases(100),
      );
    },
  );
});
