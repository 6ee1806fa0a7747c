import { describe, expect, test } from "vitest";
import { formatFence, type Fence, NO_FENCE } from "../../src/lib/fence.ts";
import { millisOf, plus } from "../../src/lib/time.ts";
import { fenceLeft, fenceOf, releaseLock, takeLock } from "../../src/domain/lock.ts";
import { identityOf } from "../../src/domain/plan.ts";
import type { TenantStatus } from "../../src/domain/stored.ts";
import {
  aCurrent,
  aPlacement,
  aPlan,
  aSpec,
  aTask,
  aTenant,
  at,
  EPOCH,
  heldTenant,
  NOON,
  type About,
} from "../support/build.ts";

describe("taking the lock", () => {
  test.each([
    ["an old epoch gives way to the API server's clock", { epoch: 5, fence: NO_FENCE }, EPOCH],
    ["[S10] a clock that went back does not make the epoch fall", { epoch: EPOCH + 50, fence: NO_FENCE }, EPOCH + 51],
    ["[S10] a fence that a person lifted is exceeded, too", { fence: formatFence(EPOCH + 900, 3) }, EPOCH + 901],
  ] as const)("%s", (_rule, about, epoch) => {
    expect(takeLock(aTask(), aTenant(about), "Forward", NOON).epoch).toBe(epoch);
  });

  test("the holder is named with uid, unit and direction", () => {
    const view = aTask({ spec: { executionUnit: "june" } });
    const { holder } = takeLock(view, aTenant(), "Back", NOON);
    expect(holder).toEqual({ task: "acme-green", uid: view.ref.uid, unit: "june", direction: "Back", since: NOON });
    expect(takeLock({ ...view, spec: null }, aTenant(), "Back", NOON).holder?.unit).toBeNull();
  });

  test("[S10] whatever the tenant's record says, the first fence of a new holder is above its greatest", () => {
    const lock = takeLock(aTask(), aTenant({ fence: "1999999999-99999999" as Fence }), "Forward", NOON);
    expect(formatFence(lock.epoch, 1) > lock.fence).toBe(true);
  });
});

/** What a release says of where the tenant is; `current` of the record before is blue, brought by another task. */
const ROWS: readonly (readonly [rule: string, about: About, lock: Partial<TenantStatus>, place: string])[] = [
  [
    "Completed: it is at the target",
    { phase: "Completed", stages: { route: "Completed" } },
    {},
    "green 42 by acme-green restorable",
  ],
  [
    "Completed without any claim: there is nothing to restore",
    { phase: "Completed", status: { epoch: EPOCH } },
    {},
    "green 42 by acme-green",
  ],
  [
    "rolled back before it completed: it never left, and what brought it there may still be rolled back",
    { phase: "RolledBack", stages: { route: "RolledBack" } },
    {},
    "blue 41 by acme-blue restorable",
  ],
  [
    "rollback of Completed: at plan.previous, and nothing older can be restored (◆)",
    { phase: "RolledBack", stages: { route: "RolledBack" } },
    {
      current: aCurrent({
        ...aPlacement("green"),
        planVersion: 42,
        task: { name: "acme-green", uid: aTask().ref.uid },
      }),
    },
    "blue 41 by acme-blue",
  ],
  [
    "a first placement rolled back is nowhere",
    { phase: "RolledBack", stages: { route: "RolledBack" }, status: { plan: aPlan(aSpec(), null) } },
    { current: null },
    "nowhere",
  ],
  [
    "where nobody knew, it is where the task stated and verified",
    { phase: "RolledBack", stages: { route: "RolledBack" } },
    { current: null, unknown: { since: NOON, by: "bob" } },
    "blue 41 by acme-blue",
  ],
  [
    "abandoned: nobody knows",
    {
      phase: "Cancelled",
      stages: { route: "Running" },
      status: { abandoned: { by: "bob", reason: "stuck", at: NOON } },
    },
    {},
    "unknown by bob",
  ],
  [
    "◆ nothing claimed under this lock: place and fence stay",
    { phase: "Cancelled" },
    {},
    "blue 41 by acme-blue restorable",
  ],
];

function place({ current, unknown }: TenantStatus): string {
  if (unknown !== null) return `unknown by ${unknown.by}`;
  if (current === null) return "nowhere";
  return `${current.deployUnit.name} ${current.planVersion} by ${current.task?.name}${current.restorable ? " restorable" : ""}`;
}

describe("giving the lock back", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(8));

  test.each(ROWS)("%s", (_rule, about, lock, expected) => {
    const view = aTask({ ...about, tenant: heldTenant(lock) });
    const released = releaseLock(view, heldTenant(lock), at(60));
    expect(place(released)).toBe(expected);
    expect(released.holder).toBeNull();
  });

  test("[S10] the fence of the last claim is kept, and never falls", () => {
    const view = aTask({ phase: "Completed", stages: { route: "Completed" }, tenant: heldTenant() });
    expect(releaseLock(view, heldTenant(), NOON).fence).toBe(fenceOf(view.status));
    const higher = formatFence(EPOCH + 5, 0);
    expect(releaseLock(view, heldTenant({ fence: higher }), NOON).fence).toBe(higher);
  });

  test("an abandoned task may have sent more than its status knows", () => {
    const abandoned = { by: "bob", reason: "its status was emptied", at: NOON };
    const view = aTask({ phase: "Cancelled", stages: { route: "Running" }, status: { abandoned } });
    expect(releaseLock(view, heldTenant(), NOON).fence).toBe(formatFence(EPOCH, 99_999_999));
    expect(fenceLeft({ ...view.status, epoch: 0 })).toBe(NO_FENCE);
  });

  test("◆ the fence is left alone where the claims carry another epoch", () => {
    const view = aTask({ phase: "Cancelled", tenant: heldTenant() });
    expect(releaseLock(view, heldTenant(), NOON).fence).toBe(heldTenant().fence);
  });

  test("the ledger gains the execution and keeps the last 20", () => {
    const view = aTask({ phase: "Completed", stages: { route: "Completed" } });
    const old = Array.from({ length: 20 }, (_, i) => ({
      identity: `i${i}`,
      uid: `u${i}`,
      outcome: "Completed" as const,
      at: NOON,
    }));
    const { executions } = releaseLock(view, heldTenant({ executions: old }), plus(NOON, millisOf(5)));
    expect(executions).toHaveLength(20);
    expect(executions.at(0)?.identity).toBe("i1");
    expect(executions.at(-1)).toEqual({
      identity: identityOf("acme-green", aSpec(), null),
      uid: view.ref.uid,
      outcome: "Completed",
      at: plus(NOON, millisOf(5)),
    });
  });

  test("a task whose spec no longer decodes is in the ledger by its uid, and nobody knows where it brought the tenant", () => {
    const view = { ...aTask({ phase: "Completed", stages: { route: "Completed" } }), spec: null };
    const released = releaseLock(view, heldTenant(), NOON);
    expect(released.executions.at(-1)?.identity).toBe(view.ref.uid);
    expect(place(released)).toBe("unknown by acme-green: its spec no longer decodes");
  });
});
