import { describe, expect, test } from "vitest";
import { formatFence, NO_FENCE } from "../../src/lib/fence.ts";
import { decide } from "../../src/domain/decide.ts";
import type { TaskSpec } from "../../src/domain/stored.ts";
import type { Rival, TaskView } from "../../src/domain/task.ts";
import {
  type About,
  after,
  aPrevious,
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
import { executed, fresh, GREEN } from "./starting-situations.ts";

const RIVAL: Rival = { name: "acme-red", uid: "red", phase: "Running", finalizer: true, fence: formatFence(EPOCH, 3) };
const unknown = (about: Partial<TaskView>, tenantView: About["tenantView"] = {}): About => ({
  pipeline: { route: "write" },
  spec: { previous: aPrevious() },
  tenant: null,
  tenantView: { exists: false, ...tenantView },
  view: about,
});

const PENDING: readonly (readonly [rule: string, about: About, decision: string])[] = [
  ["[S27] first the finalizer", {}, "finalizer: HoldFinalizer"],
  ["then the lock", { view: { finalizer: true } }, "lock: LockFree"],
  ["then the first claim", { tenant: heldTenant(), view: { finalizer: true } }, "run route: LockTaken"],
  ["a task of a unit waits for it", { spec: { executionUnit: "june" } }, "write Pending: UnitUnavailable"],
  [
    "a tenant that is held is waited for",
    {
      tenant: aTenant({ holder: { task: "acme-red", uid: "red", unit: null, direction: "Forward", since: NOON } }),
      view: { finalizer: true },
    },
    "write Pending: WaitingForLock",
  ],
  ["so is a record that is being deleted", { tenantView: { deleting: true } }, "write Pending: WaitingForLock"],
  [
    "a Diverged tenant is switched by nobody",
    { tenant: aTenant({ diverged: { reason: "restored", since: NOON } }), view: { finalizer: true } },
    "write Pending: Diverged",
  ],
  [
    "[SEC-40] a full namespace is waited for",
    { view: { finalizer: true, crowd: { holding: 3, most: 3 } } },
    "write Pending: WaitingForAdmission",
  ],

  [
    "◆ a tenant without a record: who may hold it is listed first",
    unknown({ rivals: null }),
    "read rivals: TenantUnknown",
  ],
  ["◆ nobody does: the record is made", unknown({ rivals: [] }), "create-tenant: TenantUnknown"],
  ["◆ somebody with claims may: not before a person says so", unknown({ rivals: [RIVAL] }), "write Pending: Diverged"],
  [
    "◆ one that rolled back does not",
    unknown({ rivals: [{ ...RIVAL, phase: "RolledBack" }] }),
    "create-tenant: TenantUnknown",
  ],
  [
    "◆ nor one that was cancelled",
    unknown({ rivals: [{ ...RIVAL, phase: "Cancelled" }] }),
    "create-tenant: TenantUnknown",
  ],
  [
    "◆ nor one without our finalizer",
    unknown({ rivals: [{ ...RIVAL, finalizer: false }] }),
    "create-tenant: TenantUnknown",
  ],
  [
    "◆ one that has claimed nothing may hold it, too, but nothing is broken",
    unknown({ rivals: [{ ...RIVAL, phase: "Pending", fence: NO_FENCE }] }),
    "write Pending: WaitingForLock",
  ],
  [
    "◆ and a broken one is named before it",
    unknown({
      rivals: [
        { ...RIVAL, phase: "Pending", fence: NO_FENCE },
        { ...RIVAL, phase: null },
      ],
    }),
    "write Pending: Diverged",
  ],
  [
    "[SEC-40] a task that is refused leaves no record behind",
    { ...unknown({ rivals: [] }), pipeline: { notify: "tell" }, spec: {}, tenantView: { exists: false, fresh: true } },
    "write ValidationFailed: SpecInvalid",
  ],
  [
    "a record without a status is treated alike",
    unknown({ rivals: null }, { exists: true }),
    "read rivals: TenantUnknown",
  ],
  ["and gets its status with the lock", unknown({ rivals: [], finalizer: true }, { exists: true }), "lock: LockFree"],

  [
    "◆ what rests on TenantState is refused after a consistent read",
    { spec: { previous: aPrevious({ planVersion: 40 }) }, view: { finalizer: true } },
    "read tenant: MustReadTenant",
  ],
  [
    "`previous` no longer current when the lock is taken",
    { spec: { previous: aPrevious({ planVersion: 40 }) }, view: { finalizer: true }, tenantView: fresh },
    "write ValidationFailed: PreviousMoved",
  ],
  [
    "nobody knows where the tenant is: `previous` has to be stated",
    {
      tenant: aTenant({ current: null, unknown: { since: NOON, by: "bob" } }),
      view: { finalizer: true },
      tenantView: fresh,
    },
    "write ValidationFailed: PreviousUnknown",
  ],
  [
    "stated, it is believed",
    {
      tenant: aTenant({ current: null, unknown: { since: NOON, by: "bob" } }),
      spec: { previous: aPrevious() },
      view: { finalizer: true },
    },
    "lock: LockFree",
  ],
  [
    "a first placement needs none",
    { pipeline: { route: "write" }, tenant: aTenant({ current: null }), view: { finalizer: true } },
    "lock: LockFree",
  ],
  [
    "unless an announce could not be undone then",
    { tenant: aTenant({ current: null }), view: { finalizer: true }, tenantView: fresh },
    "write ValidationFailed: SpecInvalid",
  ],
  [
    "the same execution that ended meanwhile is not repeated",
    {
      tenant: aTenant({ current: GREEN, executions: [executed("Completed")] }),
      view: { finalizer: true },
      tenantView: fresh,
    },
    "write Cancelled: AlreadyExecuted",
  ],
];

describe("a task that waits for its turn", () => {
  const pending = (about: About): TaskView => aTask({ phase: "Pending", ...about });

  test("no row is lost", () => expect(PENDING).toHaveLength(26));
  test.each(PENDING)("%s", (_rule, about, decision) => expect(say(decided(pending(about), NOON))).toBe(decision));

  const holder = (task: string) => ({ task, uid: "red", unit: null, direction: "Forward" as const, since: NOON });
  test("[F26] names the holder, and the next one", () => {
    const view = pending({ tenant: aTenant({ holder: holder("acme-red") }), view: { finalizer: true } });
    const stored = after(view, decide(view, NOON));
    expect(stored.status.waiting?.message).toBe("tenant acme is held by prod/acme-red (red)");
    expect(say(decide(stored, at(5)))).toBe("sleep: WaitingForLock");
    const other = { ...stored, tenant: { ...stored.tenant, status: aTenant({ holder: holder("acme-blue") }) } };
    const again = after(other, decide(other, at(9)));
    expect(again.status.waiting).toMatchObject({ message: "tenant acme is held by prod/acme-blue (red)", since: NOON });
  });

  test("[L8] a name of any length is stored once", () => {
    const view = pending({ tenant: aTenant({ holder: holder("r".repeat(253)) }), view: { finalizer: true } });
    const stored = after(view, decide(view, NOON));
    expect(say(decide(stored, at(5)))).toBe("sleep: WaitingForLock");
  });

  test("[L11] a wait that nothing ends by an event looks again by itself", () => {
    const lost = pending(unknown({ rivals: [RIVAL] }));
    expect(say(decide(after(lost, decide(lost, NOON)), at(1)))).toBe("sleep 30s: Diverged");
    const near = pending(unknown({ rivals: [{ ...RIVAL, fence: NO_FENCE }] }));
    expect(say(decide(after(near, decide(near, NOON)), at(1)))).toBe("sleep 30s: WaitingForLock");
    const full = pending({ view: { finalizer: true, crowd: { holding: 3, most: 3 } } });
    expect(say(decide(after(full, decide(full, NOON)), at(1)))).toBe("sleep 6s: WaitingForAdmission");
  });

  test("◆ a record made again begins above every fence of the tenant's tasks, at an unknown place", () => {
    const rivals = [
      { ...RIVAL, finalizer: false },
      { ...RIVAL, finalizer: false, fence: formatFence(EPOCH + 50, 1) },
    ];
    const view = pending({
      ...unknown({ rivals, finalizer: true }, { exists: true, fresh: true }),
      spec: { previous: aPrevious() },
    });
    const decision = decide(view, NOON);
    const tenant = decision.do === "lock" ? decision.tenant : null;
    expect(tenant).toMatchObject({
      epoch: EPOCH + 51,
      fence: formatFence(EPOCH + 50, 1),
      unknown: { since: NOON, by: "TenantState was made again" },
    });
    const never = pending({
      ...unknown({ rivals: [], finalizer: true }, { exists: true }),
      pipeline: { route: "write" },
    });
    const first = decide(never, NOON);
    expect(first.do === "lock" ? [first.tenant.unknown, first.tenant.fence] : null).toEqual([null, NO_FENCE]);
  });

  const stated = (previous: TaskSpec["previous"]): string =>
    say(decide(pending({ spec: { previous }, view: { finalizer: true }, tenantView: fresh }), NOON));
  test("stated and recorded placement are compared in what the task says", () => {
    expect(stated(aPrevious())).toBe("lock: LockFree");
    expect(stated(aPrevious({ endpoints: [] }))).toBe("lock: LockFree");
    expect(stated(aPrevious({ endpoints: [{ key: "gateway", host: "10.9.9.9", port: 1 }] }))).toBe(
      "write ValidationFailed: PreviousMoved",
    );
    expect(stated(aPrevious({ parameters: { x: "1" } }))).toBe("write ValidationFailed: PreviousMoved");
    expect(stated(aPrevious({ deployUnit: { id: 1, name: "blue", version: 8 } }))).toBe(
      "write ValidationFailed: PreviousMoved",
    );
  });

  test("a refusal says what was stated and what is", () => {
    const view = pending({
      spec: { previous: aPrevious({ planVersion: 40 }) },
      view: { finalizer: true },
      tenantView: fresh,
    });
    expect(storedBy(decide(view, NOON)).failure?.message).toContain(
      "spec.previous says blue (unit 1 version 7, plan version 40), but the tenant is served by blue (unit 1 version 7, plan version 41)",
    );
  });

  test("[R2] a digest that approvals name is the same in the dry run", () => {
    const dry = storedBy(decide(aTask({ phase: "Created", spec: { dryRun: true } }), NOON));
    const real = storedBy(decide(pending({ tenant: heldTenant(), view: { finalizer: true } }), NOON));
    expect(dry.plan?.digest).toBe(real.plan?.digest);
  });
});
