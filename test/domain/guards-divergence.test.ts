import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { PHASES } from "../../src/domain/phase.ts";
import type { Control, TenantStatus } from "../../src/domain/stored.ts";
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
import { inPhase } from "./task-in-phase.ts";

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
