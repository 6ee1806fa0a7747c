import { describe, expect, test } from "vitest";
import { minutes, seconds } from "../../src/lib/time.ts";
import { decide, GUARDS } from "../../src/domain/decide.ts";
import { abandon } from "../../src/domain/guards.ts";
import { type Phase, PHASES } from "../../src/domain/phase.ts";
import { entryOf, openEntry } from "../../src/domain/status.ts";
import type { Control, Status, TenantStatus } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import {
  type About,
  after,
  anEntry,
  aPlan,
  aSpec,
  aStage,
  aTask,
  aTenant,
  at,
  decided,
  EPOCH,
  heldTenant,
  NOON,
  say,
  storedBy,
} from "../support/build.ts";

test("the order is the policy: divergence, delete, cancel and rollback, pause, deadline, failure", () => {
  expect(GUARDS.map(({ name }) => name)).toEqual([
    "diverged",
    "deleting",
    "cancelOrRollback",
    "pauseAsked",
    "pastDeadline",
    "failureRollsBack",
  ]);
});

const failure: Status["failure"] = {
  type: "Rejected",
  code: "HttpRejected",
  stage: "route",
  message: "",
  retryable: false,
  at: at(1),
};
const LIVE: readonly Phase[] = ["Pending", "Running", "Paused", "Resuming", "Failed", "RollingBack", "RollbackFailed"];

/** A task of that phase with one claimed stage, consistent with itself. */
const inPhase = (phase: Phase, about: About = {}): TaskView =>
  aTask({
    phase,
    ...(phase === "Created" || phase === "Validating" || phase === "Pending" ? {} : { stages: { route: "Completed" } }),
    ...about,
    status: { ...(phase === "Failed" || phase === "RollbackFailed" ? { failure } : {}), ...about.status },
  });

const SPEC_ISSUE = { severity: "error", path: "spec.tenantId", value: "", message: "is required" } as const;

describe("divergence", () => {
  const READ = "read tenant: MustReadTenant";
  const SAYS = "write Running: Diverged";
  const held = (about: Partial<TenantStatus>): About => ({ stages: { route: "Completed" }, tenant: heldTenant(about) });
  const fresh = (about: About): About => ({ ...about, tenantView: { fresh: true } });

  const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
    [
      "[S30] a smaller resourceVersion for a known uid",
      { stages: { route: "Completed" }, view: { rewound: true } },
      SAYS,
    ],
    [
      "[S30] the status is gone, and the finalizer shows that there was one",
      { phase: "Created", view: { finalizer: true } },
      "write Pending: Diverged",
    ],
    [
      "[S30] the status is gone, and the lock shows that there was one",
      { phase: "Created", tenant: heldTenant() },
      "write Pending: Diverged",
    ],
    ["a task that nobody looked at is new", { phase: "Created" }, "write Pending: SpecValid"],
    ["[S30] the spec no longer decodes", { stages: { route: "Completed" }, view: { spec: null } }, SAYS],
    [
      "[S14] the plan is not the one that was frozen",
      { stages: { route: "Completed" }, status: { plan: aPlan(aSpec({ onFailure: "Rollback" })) } },
      SAYS,
    ],
    [
      "[S30] claims without a plan: nobody knows how to undo them",
      { stages: { route: "Completed" }, status: { plan: null } },
      SAYS,
    ],
    [
      "[S30] even where a person asks for the rollback that would have nothing to go by",
      { stages: { route: "Completed" }, status: { plan: null }, control: { rollback: true } },
      SAYS,
    ],
    ["[S30] claims without an epoch", { stages: { route: "Completed" }, status: { epoch: 0 } }, SAYS],
    [
      "[S30] a journal of a stage that the spec does not have",
      { status: { stages: [anEntry(aStage("stranger", "write"), "Completed", 1)], seq: 1, epoch: EPOCH } },
      SAYS,
    ],
    ["[S30] a journal that lost its entries", { stages: { route: "Completed" }, status: { stages: [] } }, SAYS],
    [
      "[S30] a seq below that of a claim",
      { stages: { route: "Completed", notify: "Completed" }, status: { seq: 1 } },
      SAYS,
    ],
    [
      "a spec that never decoded has no history to lose",
      { phase: "Created", status: {}, view: { spec: null, issues: [SPEC_ISSUE] } },
      "write ValidationFailed: SpecInvalid",
    ],
    [
      "◆ [S30] a lock that seems lost is read before anything is said",
      { stages: { route: "Completed" }, tenant: aTenant() },
      READ,
    ],
    [
      "[S30] nobody holds the tenant of a task with claims",
      fresh({ stages: { route: "Completed" }, tenant: aTenant() }),
      SAYS,
    ],
    ["[S30] the tenant's record is gone", fresh({ stages: { route: "Completed" }, tenant: null }), SAYS],
    [
      "[S13] [S30] another uid holds it, although under the same name",
      fresh(held({ holder: { task: "acme-green", uid: "other", unit: null, direction: "Forward", since: NOON } })),
      SAYS,
    ],
    ["[S30] the lock is not the one that the claims were made under", fresh(held({ epoch: EPOCH + 1 })), SAYS],
    [
      "a lock that was taken again for a rollback is",
      {
        phase: "RollingBack",
        stages: { route: "Completed" },
        tenant: heldTenant({
          epoch: EPOCH + 1,
          holder: { task: "acme-green", uid: aTask().ref.uid, unit: null, direction: "Back", since: NOON },
        }),
      },
      "undo route/write: Claimed",
    ],
    [
      "but not on the way forward",
      fresh(
        held({
          epoch: EPOCH + 1,
          holder: { task: "acme-green", uid: aTask().ref.uid, unit: null, direction: "Back", since: NOON },
        }),
      ),
      SAYS,
    ],
    [
      "nor while it goes back under the lock of the way forward",
      fresh({ phase: "RollingBack", stages: { route: "Completed" }, tenant: heldTenant({ epoch: EPOCH + 1 }) }),
      "write RollingBack: Diverged",
    ],
    ["before the first claim the lock may be anybody's", { phase: "Pending" }, "finalizer: HoldFinalizer"],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(22));
  test.each(ROWS)("%s", (_rule, about, decision) => expect(say(decided(aTask(about), NOON))).toBe(decision));

  test("[S30] once said it stays, without writes and effects, whatever is asked", () => {
    const view = aTask({ stages: { route: "Completed" }, view: { rewound: true } });
    const stored = { ...after(view, decide(view, NOON)), rewound: false };
    const asked: Partial<Control> = { rollback: true, cancel: true, paused: true, retry: 3 };
    const again = { ...stored, control: { ...stored.control, ...asked } };
    expect(say(decided(again, at(9)))).toBe("sleep: Diverged");
    expect(stored.status.waiting?.unblock).toContain(`"forceRelease":{"epoch":${EPOCH},`);
  });

  test("[S30] a status that is gone counts as one with claims", () => {
    const status = storedBy(decide(aTask({ phase: "Created", view: { finalizer: true }, tenant: null }), NOON));
    expect([status.phase, status.epoch]).toEqual(["Pending", 1]);
    expect(storedBy(decide(aTask({ phase: "Created", view: { finalizer: true } }), NOON)).epoch).toBe(aTenant().epoch);
  });

  test("[S30] a status that is gone from a task in Validating", () => {
    const view = aTask({ phase: "Validating", view: { stored: null, finalizer: true } });
    expect(say(decide(view, NOON))).toBe("write Validating: Diverged");
  });

  test("[S32] a status of a newer protocol is left alone, whatever its phase", () => {
    for (const phase of PHASES) {
      const view = inPhase(phase, { status: { protocolVersion: 2 }, view: { rewound: true, deletedAt: NOON } });
      expect(say(decide(view, NOON))).toBe("leave: NewerProtocol");
    }
  });

  test("[S12] what is over stays over", () => {
    for (const phase of ["Completed", "RolledBack", "Cancelled", "ValidationFailed"] as const) {
      expect(say(decide(inPhase(phase, { view: { rewound: true, done: true } }), NOON))).toBe("sleep: NothingToDo");
    }
  });

  test("an outcome in hand is stored before the rest", () => {
    const view = aTask({
      stages: { route: "Completed" },
      status: { waiting: { reason: "Diverged", message: "", since: NOON, until: null, unblock: "" } },
    });
    expect(say(decide({ ...view, status: { ...view.status, seq: 9 } }, NOON))).toBe("write Running: Diverged");
  });
});

describe("deletion", () => {
  const deleted = (about: About = {}): About => ({ ...about, view: { deletedAt: NOON, ...about.view } });

  const ROWS: readonly (readonly [rule: string, view: TaskView, decision: string])[] = [
    ["undoes what was claimed", inPhase("Running", deleted()), "undo route/write: Claimed"],
    ["nothing was claimed: over at once", inPhase("Pending", deleted()), "write Cancelled: DeletionAsked"],
    [
      "so it is before anything was looked at",
      aTask({ phase: "Created", ...deleted() }),
      "write Cancelled: DeletionAsked",
    ],
    ["a rollback that is under way goes on", inPhase("RollingBack", deleted()), "undo route/write: Claimed"],
    [
      "a rollback that failed waits for a person, and looks whether its namespace goes too",
      inPhase("RollbackFailed", deleted()),
      "sleep 10m: UndoFailed",
    ],
    [
      "and looks again for as long as nobody decides",
      inPhase("RollbackFailed", deleted({ view: { deletedAt: at(-3600) } })),
      "sleep 10m: UndoFailed",
    ],
    [
      "Abandon undoes nothing",
      inPhase("Running", deleted({ spec: { deletionPolicy: "Abandon" } })),
      "write Cancelled: Abandoned",
    ],
    [
      "Block goes on to the end",
      inPhase("Running", deleted({ spec: { deletionPolicy: "Block" } })),
      "run notify: Claimed",
    ],
    [
      "of a terminal task undoes nothing",
      inPhase("Completed", deleted({ view: { done: true } })),
      "sleep: NothingToDo",
    ],
    [
      "a spec that does not decode is refused, then it may go",
      aTask({
        phase: "Created",
        ...deleted(),
        view: { deletedAt: NOON, spec: null, issues: [{ severity: "error", path: "spec", value: "", message: "no" }] },
      }),
      "write ValidationFailed: SpecInvalid",
    ],
    [
      "a dying namespace is not blocked for ever: after ten minutes it is abandoned",
      inPhase("RollbackFailed", deleted({ view: { deletedAt: at(-600), namespaceTerminating: true } })),
      "write Cancelled: Abandoned",
    ],
    [
      "not before, but then without anything else that wakes it",
      inPhase("RollbackFailed", deleted({ view: { deletedAt: at(-599), namespaceTerminating: true } })),
      "sleep 1s: UndoFailed",
    ],
    [
      "not even by a task that is Diverged",
      inPhase("Running", deleted({ view: { deletedAt: at(-600), namespaceTerminating: true, rewound: true } })),
      "write Cancelled: Abandoned",
    ],
    [
      "nor by one whose spec no longer decodes",
      inPhase("Running", deleted({ view: { deletedAt: at(-600), namespaceTerminating: true, spec: null } })),
      "write Cancelled: Abandoned",
    ],
    [
      "nor by one whose status is gone",
      aTask({ phase: "Created", view: { finalizer: true, deletedAt: at(-600), namespaceTerminating: true } }),
      "write Cancelled: Abandoned",
    ],
    [
      "elsewhere a Diverged task waits for a person",
      inPhase("Running", deleted({ view: { rewound: true } })),
      "write Running: Diverged",
    ],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(16));
  test.each(ROWS)("%s", (_rule, view, decision) => expect(say(decided(view, NOON))).toBe(decision));

  test.each([
    [
      "deletion",
      inPhase("Running", deleted({ spec: { deletionPolicy: "Abandon" } })),
      "deletion",
      "deletionPolicy Abandon",
    ],
    [
      "namespace",
      inPhase("Running", deleted({ view: { deletedAt: at(-600), namespaceTerminating: true } })),
      "namespace",
      "the namespace is being deleted",
    ],
  ] as const)("the abandon record names %s", (_by, view, by, reason) => {
    expect(storedBy(decide(view, NOON)).abandoned).toEqual({ by, reason, at: NOON });
  });
});

describe("the abandon record", () => {
  const BY = { by: "bob", reason: "stuck" };

  test.each([...LIVE, "Created", "Validating", "Completed"] as const)("[S28] ends a task that is %s", (phase) => {
    const status = abandon(inPhase(phase), BY, at(5));
    expect(status).toMatchObject({ phase: "Cancelled", abandoned: { ...BY, at: at(5) }, finishedAt: at(5) });
  });

  test("is in line with its claims: of an open one nobody knows", () => {
    const status = abandon(aTask({ stages: { route: "Running" } }), BY, NOON);
    expect(entryOf(status, "route")).toMatchObject({
      state: "Running",
      claim: null,
      outcome: "Unknown",
      quietUntil: null,
    });
  });

  test("◆ what was sent without a fence may still arrive", () => {
    const pipeline = { one: aStage("one", "repeat", { endpoint: "legacy" }), check: "look", pause: "wait" } as const;
    expect(entryOf(abandon(aTask({ pipeline, stages: { one: "Running" } }), BY, NOON), "one")?.quietUntil).toBe(at(23));
    const read = abandon(aTask({ pipeline, stages: { one: "Completed", check: "Running" } }), BY, NOON);
    expect(entryOf(read, "check")).toMatchObject({ claim: null, outcome: null, quietUntil: null });
    const early = aTask({ pipeline, stages: { one: "Running" }, status: { plan: null } });
    expect(entryOf(abandon(early, BY, NOON), "one")?.quietUntil).toBe(at(23));
    const blind = { ...aTask({ pipeline, stages: { one: "Running" } }), spec: null };
    expect(entryOf(abandon(blind, BY, NOON), "one")).toMatchObject({ claim: null, outcome: "Unknown" });
  });
});

describe("pause", () => {
  const paused = { paused: true } as const;

  const ROWS: readonly (readonly [phase: Phase, decision: string])[] = [
    ["Created", "write Pending: SpecValid"],
    ["Pending", "write Paused: PauseAsked"],
    ["Running", "write Paused: PauseAsked"],
    ["Paused", "sleep: Paused"],
    ["Resuming", "write Paused: PauseAsked"],
    ["Failed", "sleep: StageFailed"],
    ["RollingBack", "undo route/write: Claimed"],
    ["RollbackFailed", "sleep: UndoFailed"],
  ];
  test.each(ROWS)("[S20] in %s", (phase, decision) => {
    expect(say(decided(inPhase(phase, { control: paused }), NOON))).toBe(decision);
  });

  test("[S20] holds the next claim and cuts no write or announce short", () => {
    const status = storedBy(decide(aTask({ stages: { route: "Running" }, control: paused }), NOON));
    expect(openEntry(status)?.name).toBe("route");
    expect(status.waiting).toMatchObject({ reason: "Paused", message: "paused at stage route" });
    expect(storedBy(decide(aTask({ control: paused }), NOON)).waiting?.message).toBe("paused");
  });

  const gates = { hold: "wait" } as const;
  test("reads and gates stop at once; a gate keeps the time that has passed, and is not charged", () => {
    const view = aTask({ pipeline: gates, stages: { hold: "Mine" }, mine: { elapsed: seconds(7) }, control: paused });
    expect(entryOf(storedBy(decide(view, at(9))), "hold")).toMatchObject({
      claim: null,
      ran: 7000,
      attempts: 1,
      attemptsBefore: 1,
    });
  });

  test("[S19] so does the gate of a process that is gone: time paused is not time waited", () => {
    const view = aTask({ pipeline: gates, stages: { hold: "Running" }, control: paused });
    const stored = after(view, decide(view, at(100)));
    expect(entryOf(stored.status, "hold")).toMatchObject({ claim: null, ran: 97_000 });
    const resumed = { ...stored, control: { ...stored.control, paused: false } };
    const resuming = after(resumed, decide(resumed, at(9000)));
    const claimed = decide(resuming, at(9000));
    expect(say(claimed)).toBe("run hold: Claimed");
    expect(entryOf(storedBy(claimed), "hold")?.ran).toBe(97_000);
  });

  test("[R69] all clocks stop while it is paused", () => {
    const view = aTask({
      stages: { route: { state: "Running", retryAt: at(5) } },
      status: { deadline: at(60) },
      control: paused,
    });
    const stored = after(view, decide(view, at(10)));
    const resumed = storedBy(decide({ ...stored, control: { ...stored.control, paused: false } }, at(110)));
    expect(resumed).toMatchObject({ deadline: at(160), pausedFor: seconds(100), phase: "Resuming" });
    expect(entryOf(resumed, "route")?.since).toBe(at(100));
  });

  test("[S20] what was done when the pause came is stored, what is left is not begun", () => {
    const all = { route: "Completed", notify: "Completed", check: "Completed" } as const;
    expect(say(decide(aTask({ stages: all, control: paused }), NOON))).toBe("write Paused: PauseAsked");
  });
});

describe("progressDeadline", () => {
  const late = (about: About = {}): About => ({
    spec: { progressDeadline: minutes(30) },
    stages: { route: "Completed" },
    ...about,
    status: { deadline: NOON, ...about.status },
  });
  const waiting = (reason: "AwaitingApproval" | "BackingOff" | "EndpointUnavailable"): Partial<Status> => ({
    waiting: { reason, message: "", since: NOON, until: null, unblock: "" },
  });

  const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
    ["fails the task", late(), "write Failed: ProgressDeadline"],
    ["in Resuming, too", late({ phase: "Resuming" }), "write Failed: ProgressDeadline"],
    ["not before its time", late({ status: { deadline: at(1) } }), "run notify: Claimed"],
    ["not without one", late({ status: { deadline: null } }), "run notify: Claimed"],
    ["counts what is waited for by itself", late({ status: waiting("BackingOff") }), "write Failed: ProgressDeadline"],
    [
      "waits for people",
      late({ pipeline: { hold: "approval" }, stages: { hold: "Mine" }, status: waiting("AwaitingApproval") }),
      "sleep: AwaitingApproval",
    ],
    ["not on the way back", late({ phase: "RollingBack" }), "undo route/write: Claimed"],
    [
      "[S26] the claim of a process that is gone is asked about first",
      late({ stages: { route: "Running" } }),
      "sleep 20s: ClaimantMayLive",
    ],
    [
      "a read of a process that is gone leaves nothing to ask",
      late({ pipeline: { check: "look" }, stages: { check: "Running" } }),
      "write Failed: ProgressDeadline",
    ],
    [
      "a task with nothing left to do is not failed",
      late({ stages: { route: "Completed", notify: "Completed", check: "Completed" } }),
      "write Completed: AllStagesSettled",
    ],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(10));
  test.each(ROWS)("%s", (_rule, about, decision) => expect(say(decided(aTask(about), NOON))).toBe(decision));

  test("says which, and stops the gate that is open", () => {
    const status = storedBy(
      decide(
        aTask(late({ pipeline: { hold: "wait" }, stages: { hold: "Mine" }, mine: { elapsed: seconds(3) } })),
        NOON,
      ),
    );
    expect(status.failure).toMatchObject({ code: "ProgressDeadline", stage: null, type: "Timeout" });
    expect(status.failure?.message).toContain("progressDeadline 30m");
    expect(entryOf(status, "hold")).toMatchObject({ claim: null, ran: 3000, state: "Running" });
  });

  test("wakes the task although something else is waited for longer", () => {
    const gate = late({
      pipeline: { hold: "wait" },
      stages: { hold: "Mine" },
      mine: { waitLeft: minutes(90) },
      status: { deadline: at(60) },
    });
    expect(say(decided(aTask(gate), NOON))).toBe("sleep 1m: Poll");
    const short = late({ ...gate, mine: { waitLeft: seconds(5) }, status: { deadline: at(60) } });
    expect(say(decided(aTask(short), NOON))).toBe("sleep 5s: Poll");
  });

  test("does not wake what waits for people", () => {
    const gate = late({
      pipeline: { hold: "approval" },
      stages: { hold: "Mine" },
      status: { deadline: at(60), ...waiting("AwaitingApproval") },
    });
    expect(say(decided(aTask(gate), NOON))).toBe("sleep: AwaitingApproval");
  });

  test("that passed does not keep a task awake that waits for a claimant", () => {
    expect(say(decided(aTask(late({ stages: { route: "Running" }, status: { deadline: at(-5) } })), NOON))).toBe(
      "sleep 20s: ClaimantMayLive",
    );
  });

  test("a deadline without a spec's word is named as it is", () => {
    const status = storedBy(decide(aTask({ ...late(), spec: {} }), NOON));
    expect(status.failure?.message).toContain("progressDeadline 0s");
  });
});

/** delete > rollback/cancel > pause > retry > forward: every pair, in a phase where both would act. */
describe("precedence", () => {
  const WORDS = ["delete", "rollback", "cancel", "pause", "retry", "forward"] as const;
  type Word = (typeof WORDS)[number];
  const ASKED: Readonly<Record<Word, { control?: Partial<Control>; view?: Partial<TaskView> }>> = {
    delete: { view: { deletedAt: NOON } },
    rollback: { control: { rollback: true } },
    cancel: { control: { cancel: true } },
    pause: { control: { paused: true } },
    retry: { control: { retry: 1 } },
    forward: {},
  };
  const OUTCOME: Readonly<Record<Word, string>> = {
    delete: "Deletion",
    rollback: "Rollback",
    cancel: "Cancel",
    pause: "Paused",
    retry: "retried",
    forward: "goes on",
  };
  /** Cancel and rollback stand side by side: both undo, and the end is Cancelled. */
  const WINNER = (a: Word, b: Word): Word => {
    const pair = [a, b];
    if (pair.includes("rollback") && pair.includes("cancel")) return "cancel";
    return WORDS.find((word) => pair.includes(word)) ?? "forward";
  };
  const pairs = WORDS.flatMap((a, i) => WORDS.slice(i + 1).map((b) => [a, b] as const));

  function what(view: TaskView): string {
    let here = view;
    for (let step = 0; step < 4; step += 1) {
      const decision = decide(here, at(5));
      if (decision.do !== "write") {
        if (decision.do === "act" && decision.status !== null) here = after(here, decision);
        break;
      }
      here = after(here, decision);
    }
    const { status } = here;
    if (status.turnedBackBy !== null) return status.turnedBackBy;
    if (status.phase === "Paused") return "Paused";
    return status.retried > 0 ? "retried" : "goes on";
  }

  test("no pair is lost", () => expect(pairs).toHaveLength(15));

  test.each(pairs)("[R66] %s and %s", (a, b) => {
    const both = {
      control: { ...ASKED[a].control, ...ASKED[b].control },
      view: { ...ASKED[a].view, ...ASKED[b].view },
    };
    const phase: Phase = [a, b].includes("retry") ? "Failed" : "Running";
    const view = inPhase(phase, phase === "Failed" ? { ...both, stages: { route: "Failed" } } : both);
    expect(what(view)).toBe(OUTCOME[WINNER(a, b)]);
  });
});
