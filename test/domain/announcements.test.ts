import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { millisOf, plus } from "../../src/lib/time.ts";
import { announcements, type EventFacts, lastAnnouncement, sequenceAfter } from "../../src/domain/announcements.ts";
import { EVENTS } from "../../src/domain/reasons.ts";
import { enter, freshStatus, pass } from "../../src/domain/status.ts";
import type { StageEntry, Status } from "../../src/domain/stored.ts";
import { stories } from "../support/arbitrary-runs.ts";
import { type About, anEntry, aPlan, aSpec, aStage, aTask, at, NOON } from "../support/build.ts";
import { aWorld, make, versionsOf } from "../support/run-domain.ts";
import type { Run } from "../support/run-process.ts";
import { cases } from "../support/seed.ts";

const FACTS: EventFacts = { spec: aSpec(), manager: "kubectl", sides: { undone: ["notify"], ahead: ["route"] } };
const FAILURE: Status["failure"] = {
  type: "Rejected",
  code: "HttpRejected",
  stage: "notify",
  message: "receivers: 10.0.1.1:80 answered 400",
  retryable: false,
  at: at(9),
};

const of = (about: About): Status => aTask(about).status;
/** `Reason #sequence: note`, one line per Event. */
const told = (before: Status | null, after: Status, facts: Partial<EventFacts> = {}): readonly string[] =>
  announcements(before, after, { ...FACTS, ...facts }).map(
    ({ reason, note, sequence }) => `${reason} #${sequence}: ${note}`,
  );

const settledAt = (state: StageEntry["state"], after: number, more: Partial<StageEntry> = {}): Partial<StageEntry> => ({
  state,
  finishedAt: at(after),
  claim: null,
  ...more,
});

describe("Events of one stored write", () => {
  const pending = pass(freshStatus(1), ["Validating", "Pending"], "SpecValid", NOON);

  test("[R29] [R31] Created and Validated, from the first write, numbered from 1", () => {
    expect(told(null, pending)).toEqual([
      "Created #1: 3 stages: route, notify, check",
      "Validated #2: 3 stages valid, 0 warnings",
    ]);
    const ofUnit = { spec: aSpec({ executionUnit: "june" }) };
    expect(told(null, freshStatus(1), ofUnit)).toEqual(["Created #1: unit june, 3 stages: route, notify, check"]);
    expect(told(null, freshStatus(1), { spec: null })).toEqual(["Created #1: 0 stages: none"]);
  });

  test("[R30] ValidationFailed names failure, path and value", () => {
    const refused = enter(
      enter(freshStatus(1), "Validating", "TaskSeen", NOON),
      "ValidationFailed",
      "SpecInvalid",
      NOON,
    );
    const issues = [{ severity: "error", path: "spec.tenantId", value: "a b", message: "must be letters" }] as const;
    expect(told(freshStatus(1), { ...refused, failure: FAILURE, issues })).toEqual([
      "ValidationFailed #1: receivers: 10.0.1.1:80 answered 400; spec.tenantId=a b must be letters",
    ]);
    expect(told(freshStatus(1), refused)).toEqual(["ValidationFailed #1: "]);
  });

  test("[R32] Started counts the stages", () => {
    expect(told(pending, enter(pending, "Running", "Claimed", NOON))).toEqual(["Started #1: 3 stages"]);
  });

  test("[R34] StageCompleted says how often and how long, also of a skipped stage", () => {
    const before = of({ status: { eventSequence: 4 } });
    const done = of({ stages: { route: settledAt("Completed", 2, { attempts: 3 }) }, status: { eventSequence: 4 } });
    expect(told(before, done)).toEqual(["StageCompleted #5: stage route Completed, attempts 3 in 2s"]);
    const timeless = of({ stages: { route: settledAt("Completed", 2, { startedAt: null }) } });
    expect(told(before, timeless)).toEqual(["StageCompleted #5: stage route Completed, attempts 1"]);
    expect(told(before, of({ stages: { route: "Skipped" } }))).toEqual([
      "StageCompleted #5: stage route Skipped by bob: not needed",
    ]);
    expect(told(before, of({ stages: { route: { state: "Skipped", skipped: null } } }))).toEqual([
      "StageCompleted #5: stage route Skipped by ?: ",
    ]);
    expect(told(done, done)).toEqual([]);
  });

  test("[R35] StageFailed names the instances and their codes", () => {
    const failed = of({
      stages: {
        route: settledAt("Failed", 2, {
          failures: [
            { i: 0, code: "HttpTimeout" },
            { i: 7, code: "ConnectRefused" },
          ],
        }),
      },
      status: { failure: FAILURE, instances: ["gateway|10.2.0.1:8080"] },
    });
    expect(told(of({}), failed)).toEqual([
      "StageFailed #1: stage route Failed, attempts 1 in 2s: receivers: 10.0.1.1:80 answered 400; gateway|10.2.0.1:8080 HttpTimeout, 7 ConnectRefused",
    ]);
    expect(told(of({}), of({ stages: { route: settledAt("Failed", 2) } }))).toEqual([
      "StageFailed #1: stage route Failed, attempts 1 in 2s: ",
    ]);
  });

  test("[R36] Failed names what completed, what failed and why", () => {
    const stages = { route: "Completed", notify: "Failed" } as const;
    const before = of({ stages });
    const failed = enter({ ...before, failure: FAILURE }, "Failed", "StageFailed", at(3));
    expect(told(before, failed)).toEqual([
      "Failed #1: completed route; failed notify: receivers: 10.0.1.1:80 answered 400",
    ]);
    const late = enter(of({}), "Failed", "ProgressDeadline", at(3));
    expect(told(of({}), late)).toEqual(["Failed #1: completed none; failed none: "]);
  });

  test("[R33] Progress where a failed task goes on", () => {
    const before = of({ phase: "Failed", stages: { route: "Completed", notify: "Failed" } });
    expect(told(before, enter(before, "Running", "RetryAsked", at(3)))).toEqual([
      "Progress #1: goes on after a failure (RetryAsked), stage notify, 1/3 completed (33 %)",
    ]);
    const skipped = of({ phase: "Failed", stages: { route: "Completed", notify: "Skipped", check: "Completed" } });
    expect(told(skipped, enter(skipped, "Running", "SkipAsked", at(3)))).toEqual([
      "Progress #1: goes on after a failure (SkipAsked), stage none, 3/3 completed (100 %)",
    ]);
    expect(told(before, enter(before, "Running", "RetryAsked", at(3)), { spec: null })).toEqual([
      "Progress #1: goes on after a failure (RetryAsked), stage none, 1/0 completed (0 %)",
    ]);
  });

  test("[R37] Completed says how long and what; a dry run or a replay that nothing was touched", () => {
    const before = of({ stages: { route: "Completed", notify: "Skipped", check: "Completed" } });
    const done = { ...enter(before, "Completed", "AllStagesSettled", at(5)), finishedAt: at(5) };
    expect(told(before, done)).toEqual(["Completed #1: completed in 5s: route, check, notify"]);
    expect(told(before, { ...done, finishedAt: null })).toEqual(["Completed #1: completed: route, check, notify"]);
    const validating = enter(freshStatus(1), "Validating", "TaskSeen", NOON);
    expect(told(validating, enter(validating, "Completed", "DryRun", NOON))).toEqual([
      "Completed #1: completed: DryRun, nothing was touched",
    ]);
  });

  test("[R38] [R39] Paused and Resumed name who changed control last, unverified, and the stage", () => {
    const before = of({ stages: { route: "Completed" } });
    const paused = enter(before, "Paused", "PauseAsked", at(2));
    expect(told(before, paused)).toEqual(["Paused #1: paused by kubectl (unverified) at stage notify"]);
    expect(told(before, paused, { manager: null })).toEqual(["Paused #1: paused at stage notify"]);
    const resuming = enter(paused, "Resuming", "ResumeAsked", at(3));
    expect(told(paused, resuming)).toEqual(["Resumed #1: resumed by kubectl (unverified), goes on from stage notify"]);
    expect(told(resuming, enter(resuming, "Running", "Resumed", at(3)))).toEqual([]);
    expect(told(resuming, enter(resuming, "Pending", "Resumed", at(3)))).toEqual([]);
  });

  test("[R40] RollingBack says why and what is undone; only people are named", () => {
    const before = of({ stages: { route: "Completed" } });
    const back = (turnedBackBy: Status["turnedBackBy"]): Status => ({
      ...enter(before, "RollingBack", "RollbackAsked", at(2)),
      turnedBackBy,
    });
    expect(told(before, back("Cancel"))).toEqual(["RollingBack #1: Cancel by kubectl (unverified); to undo: route"]);
    expect(told(before, back("Failure"))).toEqual(["RollingBack #1: Failure; to undo: route"]);
    expect(told(before, back(null))).toEqual(["RollingBack #1: Rollback by kubectl (unverified); to undo: route"]);
  });

  test("[R41] RollbackFailed names the stages of both sides", () => {
    const before = of({ phase: "RollingBack", stages: { route: "RollingBack", notify: "RolledBack" } });
    const failed = enter({ ...before, failure: FAILURE }, "RollbackFailed", "UndoFailed", at(4));
    expect(told(before, failed)).toEqual([
      "RollbackFailed #1: undone notify; still on the new side route: receivers: 10.0.1.1:80 answered 400",
    ]);
    expect(told(before, { ...failed, failure: null }, { sides: { undone: [], ahead: [] } })).toEqual([
      "RollbackFailed #1: undone none; still on the new side none: ",
    ]);
  });

  test("[R42] RolledBack names where the tenant is back", () => {
    const before = of({ phase: "RollingBack", stages: { route: "RolledBack" } });
    const over = { ...enter(before, "RolledBack", "AllUndone", at(6)), finishedAt: at(6) };
    expect(told(before, over)).toEqual([
      "RolledBack #1: undone route; tenant is back on blue (unit 1 version 7) in 6s",
    ]);
    expect(told(before, { ...over, plan: aPlan(aSpec(), null) })).toEqual(["RolledBack #1: undone route in 6s"]);
    expect(told(before, { ...over, plan: null, startedAt: null })).toEqual(["RolledBack #1: undone route"]);
  });

  test("[R43] Cancelled says by whom, or who abandoned it, and the last stage", () => {
    const over = enter(pending, "Cancelled", "CancelAsked", NOON);
    expect(told(pending, over)).toEqual(["Cancelled #1: CancelAsked by kubectl (unverified); last stage none"]);
    const before = of({ stages: { route: "Running" } });
    const abandoned = { by: "alice", reason: "dead", at: at(1) };
    expect(told(before, { ...enter(before, "Cancelled", "Abandoned", at(1)), abandoned }, { manager: null })).toEqual([
      "Cancelled #1: abandoned by alice: dead; last stage route",
    ]);
  });

  test("[S25] no note is longer than the API server takes, and each has the weight of its reason", () => {
    const spec = aSpec({ stages: Array.from({ length: 32 }, (_, i) => aStage(`${"s".repeat(37)}${i}`, "write")) });
    const made = announcements(null, pending, { ...FACTS, spec });
    expect(made.map(({ note }) => note.length)).toEqual([900, 27]);
    for (const { reason, type, importance } of made) expect({ type, importance }).toEqual(EVENTS[reason]);
  });

  test("several transitions in one write are told one by one, in order, after the stages", () => {
    const before = of({ stages: { route: "Completed" }, status: { eventSequence: 3 } });
    const failed = enter(
      { ...before, stages: [...before.stages, anEntry(aStage("notify", "tell"), "Failed", 2)], failure: FAILURE },
      "Failed",
      "StageFailed",
      at(3),
    );
    const back = enter(failed, "RollingBack", "FailureRollsBack", at(3));
    expect(announcements(before, back, FACTS).map(({ reason, sequence }) => `${reason} ${sequence}`)).toEqual([
      "StageFailed 4",
      "Failed 5",
      "RollingBack 6",
    ]);
  });

  test("[R22] what fell out of the last 20 of history is not told again", () => {
    const before = enter(of({}), "Paused", "PauseAsked", NOON);
    const after = enter(before, "Resuming", "ResumeAsked", at(1));
    expect(told(before, after)).toHaveLength(1);
    const stranger = { ...before, history: [{ from: null, to: "Created", at: at(-9), reason: "?" }] } as const;
    expect(told(stranger, after)).toHaveLength(2);
  });
});

describe("the Event of the last write, once more", () => {
  test("[R27] the last transition, with its sequence", () => {
    const pending = pass(freshStatus(1), ["Validating", "Pending"], "SpecValid", NOON);
    expect(lastAnnouncement({ ...pending, eventSequence: 2 }, FACTS)).toMatchObject({
      reason: "Validated",
      sequence: 2,
    });
  });

  test("[R27] a stage that settled after the last transition", () => {
    const running = of({
      stages: { route: settledAt("Completed", 2), notify: settledAt("Completed", 5), check: "Running" },
    });
    const status = { ...running, history: [{ from: "Pending", to: "Running", at: at(1), reason: "Claimed" }] } as const;
    expect(lastAnnouncement({ ...status, eventSequence: 9 }, FACTS)).toMatchObject({
      reason: "StageCompleted",
      note: "stage notify Completed, attempts 1 in 5s",
      sequence: 9,
    });
  });

  test("nothing where nothing was announced", () => {
    expect(lastAnnouncement(freshStatus(1), FACTS)).toBeNull();
    const resumed = pass(of({}), ["Paused", "Resuming", "Running"], "Resumed", at(1));
    expect(lastAnnouncement({ ...resumed, eventSequence: 7 }, FACTS)).toBeNull();
    expect(lastAnnouncement({ ...resumed, eventSequence: 0 }, FACTS)).toBeNull();
  });
});

describe("in any run", () => {
  /** As {@link make}, a moment apart: no two writes at one time. */
  const ticking = (run: Run, move: Parameters<typeof make>[1]): Run =>
    make({ ...run, world: { ...run.world, now: plus(run.world.now, millisOf(1)) } }, move);

  test("[R27] [R28] sequences grow by one, and after a crash the same Event comes again", { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(stories(), ({ specs, tenant, moves }) => {
        const spec = specs[0] ?? aSpec();
        const run = moves.reduce<Run>(ticking, { world: aWorld({ "acme-green": spec }, { tenant }), trace: [] });
        const facts: EventFacts = { spec, manager: null, sides: { undone: [], ahead: [] } };
        let before: Status | null = null;
        let last = "none";
        for (const after of versionsOf(run, "acme-green")) {
          const made = announcements(before, after, facts);
          expect(made.map(({ sequence }) => sequence)).toEqual(
            made.map((_, i) => (before?.eventSequence ?? 0) + i + 1),
          );
          expect(after.eventSequence).toBe(sequenceAfter(before, made));
          last = made.map(({ reason, sequence }) => `${reason} ${sequence}`).at(-1) ?? last;
          const again = lastAnnouncement(after, facts);
          expect([null, last]).toContain(again === null ? null : `${again.reason} ${again.sequence}`);
          before = after;
        }
      }),
      cases(150),
    );
  });
});
