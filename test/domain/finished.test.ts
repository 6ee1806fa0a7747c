import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { type About, after, aTask, aTenant, at, decided, heldTenant, NOON, say } from "../support/build.ts";

const over = (about: About): About => ({
  phase: "RolledBack",
  stages: { route: "RolledBack" },
  ...about,
  status: { finishedAt: NOON, ...about.status },
});
const released = { tenant: aTenant(), tenantView: { fresh: true } } as const;

const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
  ["[F6] the lock is given back", over({ tenant: heldTenant(), view: { finalizer: true } }), "release: Finished"],
  [
    "◆ after what was sent without a fence must have arrived",
    over({
      tenant: heldTenant(),
      stages: { route: { state: "RolledBack", quietUntil: at(9) } },
      view: { finalizer: true },
    }),
    "sleep 9s: Quiescing",
  ],
  [
    "then, not before",
    over({
      tenant: heldTenant(),
      stages: { route: { state: "RolledBack", quietUntil: at(0) } },
      view: { finalizer: true },
    }),
    "release: Finished",
  ],
  [
    "◆ finalizer and label are decided on a consistent read",
    over({ view: { finalizer: true } }),
    "read tenant: MustReadTenant",
  ],
  [
    "◆ also where the cache knows no record",
    over({ tenant: null, tenantView: { exists: false }, view: { finalizer: true } }),
    "read tenant: MustReadTenant",
  ],
  [
    "◆ there is none: it may go",
    over({ tenant: null, tenantView: { exists: false, fresh: true }, view: { finalizer: true } }),
    "remove: TenantReleased",
  ],
  [
    "Events go out first",
    over({ ...released, view: { finalizer: true, eventsPending: true } }),
    "sleep 1s: EventsPending",
  ],
  [
    "for ten seconds",
    over({ ...released, status: { finishedAt: at(-10) }, view: { finalizer: true, eventsPending: true } }),
    "remove: TenantReleased",
  ],
  ["then the watch forgets it", over({ ...released, view: { finalizer: true } }), "remove: TenantReleased"],
  [
    "a task that never held anything gets its label, too",
    over({ phase: "ValidationFailed", stages: {} }),
    "remove: TenantReleased",
  ],
  ["forgotten is forgotten", over({ view: { done: true } }), "sleep: NothingToDo"],
  [
    "a label beside a finalizer is not the end",
    over({ ...released, view: { done: true, finalizer: true } }),
    "remove: TenantReleased",
  ],
  [
    "[S28] a lock that somebody else holds is not touched",
    over({
      tenant: aTenant({ holder: { task: "acme-red", uid: "red", unit: null, direction: "Forward", since: NOON } }),
      tenantView: { fresh: true },
      view: { finalizer: true },
    }),
    "remove: TenantReleased",
  ],
];

describe("the end", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(13));
  test.each(ROWS)("%s", (_rule, about, decision) => expect(say(decided(aTask(about), NOON))).toBe(decision));

  test("[S28] a Completed task gives its lock back, and keeps it once it goes back (◆)", () => {
    const completed = (direction: "Forward" | "Back") =>
      decide(
        aTask({
          phase: "Completed",
          stages: { route: "Completed" },
          tenant: heldTenant({
            holder: { task: "acme-green", uid: aTask().ref.uid, unit: null, direction, since: NOON },
          }),
          view: { finalizer: true },
        }),
        NOON,
      );
    expect([say(completed("Forward")), say(completed("Back"))]).toEqual([
      "release: Finished",
      "undo route/write: Claimed",
    ]);
  });

  test("a command that comes too late is answered, and nothing else happens", () => {
    const view = aTask({ phase: "Cancelled", view: { done: true }, control: { rollback: true } });
    const stored = after(view, decide(view, NOON));
    expect(stored.status.commands.rollback?.result).toBe("Superseded");
    expect(say(decide(stored, at(1)))).toBe("sleep: NothingToDo");
  });

  test("without a time of its end Events are not waited for longer", () => {
    const about = over({ ...released, status: { finishedAt: null }, view: { finalizer: true, eventsPending: true } });
    expect(say(decide(aTask(about), NOON))).toBe("sleep 1s: EventsPending");
  });
});
