import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { abandon } from "../../src/domain/guards.ts";
import type { Phase } from "../../src/domain/phase.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { type About, aStage, aTask, at, decided, NOON, say, storedBy } from "../support/build.ts";
import { inPhase } from "./task-in-phase.ts";

const LIVE: readonly Phase[] = ["Pending", "Running", "Paused", "Resuming", "Failed", "RollingBack", "RollbackFailed"];

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
