import { describe, expect, test } from "vitest";
import { answer } from "../../src/domain/commands.ts";
import { valueOf } from "../../src/domain/command-values.ts";
import { decide } from "../../src/domain/decide.ts";
import type { Control } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { type About, after, aTask, at, NO_CONTROL, NOON, storedBy } from "../support/build.ts";

const APPROVE = { approvals: { hold: { bob: { decision: "Approve", comment: null, expect: null } } } } as const;

describe("approvals", () => {
  const waits = (control: Partial<Control>, about: About = {}): TaskView =>
    aTask({
      pipeline: { route: "write", hold: "approval", last: "approval" },
      stages: { route: "Completed", hold: "Mine" },
      control,
      ...about,
    });
  const yes = { decision: "Approve", comment: null, expect: null } as const;
  const verdict = (view: TaskView): unknown => {
    const given = answer(view, view.status, NOON).commands.approvals;
    return [given?.result, given?.reason];
  };

  test.each([
    ["of another kind of stage", { route: { bob: yes } }, ["Rejected", "stage route is not an approval"]],
    ["of no stage at all", { nobody: { bob: yes } }, ["Rejected", "stage nobody is not an approval"]],
    ["of one that does not wait yet", { last: { bob: yes } }, ["Rejected", "stage last does not wait for an approval"]],
    ["of the one that waits", { hold: { bob: yes } }, ["Accepted", null]],
  ] as const)("[S18] %s", (_what, approvals, wanted) => {
    expect(verdict(waits({ approvals }))).toEqual(wanted);
  });

  test("[SEC-13] one that stood before the stage waited has to be given again", () => {
    const view = waits({ approvals: { hold: { bob: yes } } });
    const claimed = aTask({ pipeline: { hold: "approval" }, control: view.control });
    const stored = after(claimed, decide(claimed, NOON));
    expect(stored.status.commands.approvals).toMatchObject({
      result: "Rejected",
      reason: "bob: given before stage hold waited; give it again with another comment",
    });
  });

  test("of a stage that was waiting when the task was abandoned is Superseded", () => {
    const view = waits(
      { approvals: { hold: { bob: yes } } },
      { spec: { deletionPolicy: "Abandon" }, view: { deletedAt: NOON } },
    );
    expect(storedBy(decide(view, NOON)).commands.approvals?.result).toBe("Superseded");
  });

  test("what the gate said stays said", () => {
    const control = { approvals: { hold: { bob: yes } } };
    const value = valueOf("approvals", { ...NO_CONTROL, ...control }) ?? "";
    const view = waits(control, {
      status: { commands: { approvals: { value, result: "Accepted", reason: "1 of 2", at: NOON } } },
    });
    expect(answer(view, view.status, at(9))).toBe(view.status);
  });

  test("of a stage that is decided it is done", () => {
    for (const state of ["Completed", "Failed"] as const) {
      const view = aTask({
        phase: "Failed",
        pipeline: { hold: "approval" },
        stages: { hold: state },
        control: APPROVE,
      });
      expect(verdict(view)).toEqual(["Done", null]);
    }
    const back = aTask({
      phase: "RollingBack",
      pipeline: { route: "write", hold: "approval" },
      stages: { route: "Completed", hold: { state: "RolledBack", outputs: {} } },
      control: APPROVE,
    });
    expect(verdict(back)).toEqual(["Done", null]);
  });

  test("several stages: the worst is said", () => {
    const pipeline = { hold: "approval", last: "approval" } as const;
    const both = { approvals: { hold: { bob: yes }, last: { bob: yes } } };
    expect(verdict(aTask({ pipeline, stages: { hold: "Completed", last: "Mine" }, control: both }))).toEqual([
      "Accepted",
      null,
    ]);
    expect(verdict(aTask({ pipeline, stages: { hold: "Completed", last: "Completed" }, control: both }))).toEqual([
      "Done",
      null,
    ]);
    expect(verdict(aTask({ pipeline, stages: { hold: "Mine" }, control: both }))).toEqual([
      "Rejected",
      "stage last does not wait for an approval",
    ]);
  });
});

describe("skip", () => {
  const by = { by: "bob", reason: "x" };
  const verdict = (about: About): unknown => {
    const view = aTask(about);
    const given = answer(view, view.status, NOON).commands.skip;
    return [given?.result, given?.reason];
  };
  const pipeline = { route: "write", hold: "approval" } as const;

  test.each([
    ["a stage that there is not", { control: { skip: { nobody: by } } }, "there is no stage nobody"],
    [
      "an approval",
      { pipeline, stages: { route: "Completed", hold: "Mine" }, control: { skip: { hold: by } } },
      "stage hold is an approval and cannot be skipped",
    ],
    [
      "one whose outcome nobody knows",
      { stages: { route: { state: "Running", outcome: "Unknown" } }, control: { skip: { route: by } } },
      "nobody knows yet whether stage route took effect",
    ],
    ["one that neither failed nor waits", { control: { skip: { route: by } } }, "stage route neither failed nor waits"],
    [
      "[SEC-14] anything where nothing vouches for the name",
      {
        stages: { route: "Failed" },
        phase: "Failed",
        control: { skip: { route: by } },
        view: { policiesMissing: true },
      },
      "AdmissionPolicyMissing: nothing vouches for the name in `by`",
    ],
  ] as const)("is refused for %s", (_what, about, reason) => {
    expect(verdict(about as About)).toEqual(["Rejected", reason]);
  });

  test("of stages that were skipped is done", () => {
    expect(verdict({ stages: { route: "Skipped" }, control: { skip: { route: by } } })).toEqual(["Done", null]);
  });
});
