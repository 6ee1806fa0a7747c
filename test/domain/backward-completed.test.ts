import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import type { Current } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import {
  type About,
  aCurrent,
  aPlacement,
  aTask,
  aTenant,
  at,
  decided,
  EPOCH,
  NOON,
  say,
  storedBy,
  UID,
} from "../support/build.ts";

describe("rollback of a Completed task", () => {
  const GREEN: Current = aCurrent({ ...aPlacement("green"), planVersion: 42, task: { name: "acme-green", uid: UID } });
  const completed = (about: About = {}, tenant = aTenant({ current: GREEN, epoch: EPOCH })): TaskView =>
    aTask({
      phase: "Completed",
      stages: { route: "Completed" },
      tenant,
      ...about,
      status: { finishedAt: NOON, ...about.status },
      control: { rollback: true, ...about.control },
      view: { done: true, ...about.view },
    });
  const held = (direction: "Forward" | "Back") =>
    aTenant({
      current: GREEN,
      epoch: EPOCH + 9,
      holder: { task: "acme-green", uid: UID, unit: null, direction, since: NOON },
    });

  const WAY: readonly (readonly [rule: string, view: TaskView, decision: string])[] = [
    ["[S27] first the finalizer", completed(), "finalizer: RollbackAsked"],
    ["then the lock, with direction Back (◆)", completed({ view: { finalizer: true } }), "lock: RollbackAsked"],
    ["[S27] a lock without the finalizer claims nothing", completed({}, held("Back")), "finalizer: RollbackAsked"],
    ["then the first claim (◆)", completed({ view: { finalizer: true } }, held("Back")), "undo route/write: Claimed"],
    [
      "◆ a lock with direction Forward is given back first",
      completed({ view: { finalizer: true } }, held("Forward")),
      "release: Finished",
    ],
    ["what was not asked for does not happen", completed({ control: { rollback: false } }), "sleep: NothingToDo"],
    ["nor while the object is being deleted", completed({ view: { deletedAt: NOON } }), "sleep: NothingToDo"],
    [
      "a refusal is final",
      completed({
        status: { commands: { rollback: { value: "true", result: "Rejected", reason: "TenantMoved", at: NOON } } },
      }),
      "sleep: NothingToDo",
    ],
    [
      "◆ what rests on TenantState is refused after a consistent read only",
      completed({}, aTenant()),
      "read tenant: MustReadTenant",
    ],
  ];
  test("no row is lost", () => expect(WAY).toHaveLength(9));
  test.each(WAY)("%s", (_rule, view, decision) => expect(say(decided(view, NOON))).toBe(decision));

  test("[S10] the lock's epoch grows, its direction is Back", () => {
    const decision = decide(completed({ view: { finalizer: true } }), NOON);
    const lock = decision.do === "lock" ? decision.tenant : null;
    expect([lock?.holder?.direction, lock?.epoch]).toEqual(["Back", EPOCH + 1]);
  });

  const NO: readonly (readonly [rule: string, view: TaskView, reason: string])[] = [
    [
      "after its window",
      { ...completed({ status: { finishedAt: at(-3601) } }) },
      "WindowClosed: rollbackWindow is over",
    ],
    ["a dry run moved nothing", completed({ spec: { dryRun: true } }), "NothingToUndo: nothing was switched"],
    [
      "nor did one that was executed before",
      completed({ status: { plan: null } }),
      "NothingToUndo: nothing was switched",
    ],
    [
      "the tenant's record is gone",
      { ...completed(), tenant: { ...completed().tenant, status: null } },
      "TenantMoved: the tenant's record is gone",
    ],
    [
      "the tenant is Diverged",
      completed({}, aTenant({ current: GREEN, diverged: { reason: "restored", since: NOON } })),
      "Diverged: restored",
    ],
    [
      "somebody holds it",
      completed(
        {},
        aTenant({
          current: GREEN,
          holder: { task: "acme-red", uid: "other", unit: null, direction: "Forward", since: NOON },
        }),
      ),
      "TenantMoved: acme-red holds the tenant",
    ],
    [
      "a later task moved it",
      completed({}, aTenant({ current: aCurrent({ task: { name: "acme-red", uid: "r" } }) })),
      "TenantMoved: acme-red moved the tenant later",
    ],
    [
      "nobody knows who moved it",
      completed({}, aTenant({ current: aCurrent({ task: null }) })),
      "TenantMoved: another task moved the tenant later",
    ],
    [
      "nobody knows where it is",
      completed({}, aTenant({ current: null })),
      "TenantMoved: another task moved the tenant later",
    ],
    [
      "◆ records nest one level",
      completed({}, aTenant({ current: { ...GREEN, restorable: false } })),
      "TenantMoved: what was before is kept one level deep only",
    ],
    ["its spec no longer decodes", { ...completed(), spec: null }, "the spec no longer decodes"],
  ];
  test("no refusal is lost", () => expect(NO).toHaveLength(11));
  test.each(NO)("is refused where %s", (_rule, view, reason) => {
    const fresh = { ...view, tenant: { ...view.tenant, fresh: true } };
    const status = storedBy(decide(fresh, NOON));
    expect(status.commands.rollback).toMatchObject({ result: "Rejected", reason, value: "true" });
    expect([status.phase, status.direction]).toEqual(["Completed", "Forward"]);
  });

  test("inside its window to the last moment", () => {
    expect(say(decide(completed({ status: { finishedAt: at(-3600) } }), NOON))).toBe("finalizer: RollbackAsked");
    expect(say(decide(completed({ status: { finishedAt: null } }), NOON))).toBe("finalizer: RollbackAsked");
  });

  test("a reason fits the answer, however long the names in it", () => {
    const holder = { task: "t".repeat(253), uid: "other", unit: null, direction: "Forward" as const, since: NOON };
    const view = completed({ tenantView: { fresh: true } }, aTenant({ current: GREEN, holder }));
    expect(storedBy(decide(view, NOON)).commands.rollback?.reason).toHaveLength(256);
  });

  test("Succeeded is taken back, the window is not asked again once it goes", () => {
    const view = completed({ view: { finalizer: true } }, held("Back"));
    const late = decide(view, at(9999));
    expect(storedBy(late)).toMatchObject({
      phase: "RollingBack",
      direction: "Back",
      turnedBackBy: "Rollback",
      finishedAt: null,
    });
  });
});
