import { describe, expect, test } from "vitest";
import { answer, COMMANDS as FIELDS } from "../../src/domain/commands.ts";
import { valueOf } from "../../src/domain/command-values.ts";
import { decide } from "../../src/domain/decide.ts";
import { type Phase, PHASES } from "../../src/domain/phase.ts";
import type { Answer, CommandField, Control, Status } from "../../src/domain/stored.ts";
import type { Decision, TaskView } from "../../src/domain/task.ts";
import {
  type About,
  aCurrent,
  after,
  aPlacement,
  aTask,
  aTenant,
  at,
  EPOCH,
  NO_CONTROL,
  NOON,
  say,
  storedBy,
  UID,
} from "../support/build.ts";
import { COMMANDS, type Command, expected } from "./reference-model.ts";

const failure: Status["failure"] = {
  type: "Rejected",
  code: "HttpRejected",
  stage: "route",
  message: "",
  retryable: false,
  at: at(-1),
};
const PIPELINE = { route: "write", hold: "approval" } as const;
const APPROVE = { approvals: { hold: { bob: { decision: "Approve", comment: null, expect: null } } } } as const;
const SKIP = { skip: { route: { by: "bob", reason: "known good" } } } as const;

/** The task of the reference model in that phase. */
const IN_PHASE: Readonly<Record<Phase, About>> = {
  Created: {},
  Validating: {},
  ValidationFailed: { view: { done: true } },
  Pending: {},
  Running: { stages: { route: "Completed", hold: "Mine" } },
  Paused: { stages: { route: "Completed", hold: { state: "Running" } } },
  Resuming: { stages: { route: "Completed", hold: { state: "Running" } } },
  Completed: {
    stages: { route: "Completed", hold: "Completed" },
    tenant: aTenant({
      current: aCurrent({ ...aPlacement("green"), planVersion: 42, task: { name: "acme-green", uid: UID } }),
      epoch: EPOCH,
    }),
    status: { finishedAt: NOON },
    view: { done: true },
  },
  Failed: { stages: { route: "Failed" }, status: { failure } },
  RollingBack: { stages: { route: "Completed" } },
  RollbackFailed: { stages: { route: { state: "RollingBack" } }, status: { failure } },
  RolledBack: { stages: { route: "RolledBack" }, view: { done: true } },
  Cancelled: { view: { done: true } },
};

const GIVEN: Readonly<Record<Command, About>> = {
  pause: { control: { paused: true } },
  resume: { control: { paused: false } },
  rollback: { control: { rollback: true } },
  cancel: { control: { cancel: true } },
  retry: { control: { retry: 1 } },
  approve: { control: APPROVE },
  skip: { control: SKIP },
  delete: { view: { deletedAt: NOON } },
};
const FIELD: Readonly<Record<Command, CommandField | null>> = {
  pause: "paused",
  resume: "paused",
  rollback: "rollback",
  cancel: "cancel",
  retry: "retry",
  approve: "approvals",
  skip: "skip",
  delete: null,
};

const commanded = (phase: Phase, command: Command): TaskView => {
  const [about, given] = [IN_PHASE[phase], GIVEN[command]];
  return aTask({ phase, pipeline: PIPELINE, ...about, ...given, view: { ...about.view, ...given.view } });
};

/** In the words of the model. */
function next(view: TaskView, decision: Decision): string {
  if (decision.do === "act") return decision.act.direction === "Back" ? "undoes" : "claims";
  if (decision.do === "sleep") return "stays";
  if (decision.do !== "write") return decision.do;
  return decision.status.phase === view.status.phase ? "stays" : decision.status.phase;
}

function resultOf(decision: Decision, field: CommandField | null): Answer["result"] | null {
  const stored =
    decision.do === "write" || (decision.do === "act" && decision.status !== null) ? storedBy(decision) : null;
  return field === null ? null : (stored?.commands[field]?.result ?? null);
}

describe("13 phases × 7 commands, against the reference model", () => {
  const cells = PHASES.flatMap((phase) => COMMANDS.map((command) => [command, phase] as const));

  test("no cell is lost", () => expect(cells).toHaveLength(13 * 8));

  test.each(cells)("[R66] %s in %s", (command, phase) => {
    const view = commanded(phase, command);
    const decision = decide(view, NOON);
    expect({ next: next(view, decision), result: resultOf(decision, FIELD[command]) }).toEqual(
      expected(phase, command),
    );
  });

  test.each(cells)("[F1] %s in %s is answered by the time that the task rests", (command, phase) => {
    let view = commanded(phase, command);
    const field = FIELD[command];
    for (let step = 0; step < 6; step += 1) {
      const decision = decide(view, NOON);
      if (decision.do === "finalizer") view = { ...view, finalizer: true };
      else if (decision.do === "lock") view = { ...view, tenant: { ...view.tenant, status: decision.tenant } };
      else if (decision.do === "read") view = { ...view, tenant: { ...view.tenant, fresh: true } };
      else if (decision.do === "write" || (decision.do === "act" && decision.status !== null))
        view = after(view, decision);
      else break;
    }
    expect(field === null || view.status.commands[field] !== undefined).toBe(true);
  });
});

/** A command that would have been taken, and lost to a stronger one in the same moment, is Superseded; one that came too late is Rejected. */
describe("several commands at once", () => {
  const together = (phase: Phase, control: Partial<Control>, view: Partial<TaskView> = {}): Status =>
    storedBy(
      decide(
        aTask({ phase, pipeline: PIPELINE, ...IN_PHASE[phase], control, view: { ...IN_PHASE[phase].view, ...view } }),
        NOON,
      ),
    );
  const results = ({ commands }: Status): unknown =>
    Object.fromEntries(Object.entries(commands).map(([field, { result }]) => [field, result]));

  const ROWS: readonly (readonly [rule: string, status: () => Status, results: unknown])[] = [
    [
      "rollback before pause",
      () => together("Running", { rollback: true, paused: true }),
      { rollback: "Accepted", paused: "Superseded" },
    ],
    [
      "rollback before retry",
      () => together("Failed", { rollback: true, retry: 1 }),
      { rollback: "Accepted", retry: "Superseded" },
    ],
    [
      "rollback before skip",
      () => together("Failed", { rollback: true, ...SKIP }),
      { rollback: "Accepted", skip: "Superseded" },
    ],
    [
      "rollback before an approval",
      () => together("Running", { rollback: true, ...APPROVE }),
      { rollback: "Accepted", approvals: "Superseded" },
    ],
    [
      "cancel and rollback both undo",
      () => together("Running", { rollback: true, cancel: true }),
      { rollback: "Accepted", cancel: "Accepted" },
    ],
    [
      "a stage that is told to be retried and skipped is skipped",
      () => together("Failed", { retry: 1, ...SKIP }),
      { retry: "Done", skip: "Done" },
    ],
    [
      "deletion before cancel",
      () => together("Running", { cancel: true }, { deletedAt: NOON }),
      { cancel: "Superseded" },
    ],
    [
      "deletion before rollback: both undo",
      () => together("Running", { rollback: true }, { deletedAt: NOON }),
      { rollback: "Accepted" },
    ],
    [
      "abandonment before everything",
      () =>
        storedBy(
          decide(
            aTask({
              phase: "Failed",
              ...IN_PHASE.Failed,
              pipeline: PIPELINE,
              spec: { deletionPolicy: "Abandon" },
              control: { rollback: true, paused: true, retry: 1, ...SKIP },
              view: { deletedAt: NOON },
            }),
            NOON,
          ),
        ),
      { rollback: "Superseded", paused: "Superseded", retry: "Superseded", skip: "Superseded" },
    ],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(9));
  test.each(ROWS)("%s", (_rule, status, wanted) => expect(results(status())).toEqual(wanted));

  test("a skip that lost to a pause does not come back with the resume", () => {
    const view = aTask({
      phase: "Running",
      pipeline: { hold: "wait" },
      stages: { hold: "Mine" },
      control: { paused: true, skip: { hold: { by: "bob", reason: "x" } } },
    });
    const stored = after(view, decide(view, NOON));
    expect(results(stored.status)).toEqual({ paused: "Done", skip: "Superseded" });
    const resumed = { ...stored, control: { ...stored.control, paused: false } };
    const resuming = after(resumed, decide(resumed, NOON));
    expect(say(decide(resuming, NOON))).toBe("run hold: Claimed");
  });

  test("a pause that was accepted and then overtaken is Superseded", () => {
    const accepted = aTask({ phase: "Failed", ...IN_PHASE.Failed, pipeline: PIPELINE, control: { paused: true } });
    const stored = after(accepted, decide(accepted, NOON));
    expect(results(stored.status)).toEqual({ paused: "Accepted" });
    const turned = { ...stored, control: { ...stored.control, rollback: true } };
    expect(results(storedBy(decide(turned, NOON)))).toEqual({ paused: "Superseded", rollback: "Accepted" });
  });
});

describe("an answer", () => {
  const answered = (view: TaskView): Status["commands"] => answer(view, view.status, at(9)).commands;
  const told = (
    field: CommandField,
    value: string,
    result: Answer["result"],
    reason: string | null = null,
  ): Partial<Status> => ({
    commands: { [field]: { value, result, reason, at: NOON } },
  });

  test("[R66] is given to every field, once per value", () => {
    expect(FIELDS).toEqual(["paused", "rollback", "cancel", "retry", "approvals", "skip"]);
    const view = aTask({ control: { paused: false, retry: 4 } });
    expect(answered(view)).toMatchObject({ paused: { value: "false", at: at(9) }, retry: { value: "4", at: at(9) } });
    const stored = { ...view, status: { ...view.status, commands: answered(view) } };
    expect(answer(stored, stored.status, at(99))).toBe(stored.status);
  });

  test("[L8] to nothing is nothing", () => {
    const view = aTask();
    expect(answer(view, view.status, NOON)).toBe(view.status);
  });

  test("Accepted goes on to Done or Superseded; others are final", () => {
    const view = aTask({
      phase: "RolledBack",
      control: { rollback: true },
      status: told("rollback", "true", "Accepted"),
    });
    expect(answered(view).rollback).toMatchObject({ result: "Done", at: at(9) });
    const refused = aTask({
      phase: "RolledBack",
      control: { rollback: true },
      status: told("rollback", "true", "Rejected"),
    });
    expect(answered(refused).rollback?.result).toBe("Rejected");
  });

  test("while a task is Diverged, what takes effect later says so", () => {
    const diverged: Partial<Status> = {
      epoch: EPOCH,
      waiting: { reason: "Diverged", message: "", since: NOON, until: null, unblock: "" },
    };
    const view = aTask({ control: { rollback: true, paused: true }, status: diverged });
    expect(answered(view).rollback).toMatchObject({
      result: "Accepted",
      reason: "Diverged: takes effect when the tenant is released",
    });
    expect(answered(view).paused).toMatchObject({
      result: "Accepted",
      reason: "Diverged: takes effect when the tenant is released",
    });
  });

  test("[R72] a number that was used is Done", () => {
    expect(answered(aTask({ phase: "Running", control: { retry: 2 }, status: { retried: 2 } })).retry?.result).toBe(
      "Done",
    );
  });

  test("a cancel that was asked for stays accepted until its undo is done", () => {
    const going = aTask({ phase: "RollingBack", control: { cancel: true }, status: { turnedBackBy: "Cancel" } });
    expect(answered(going).cancel?.result).toBe("Accepted");
    const over = aTask({ phase: "Cancelled", control: { rollback: true }, status: { turnedBackBy: "Cancel" } });
    expect(answered(over).rollback?.result).toBe("Done");
  });
});

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

describe("the text of a command", () => {
  const value = (field: CommandField, control: Partial<Control>): string | null =>
    valueOf(field, { ...NO_CONTROL, ...control });

  test.each([
    ["paused", { paused: true }, "true"],
    ["paused", { paused: false }, "false"],
    ["paused", {}, null],
    ["rollback", { rollback: true }, "true"],
    ["rollback", {}, null],
    ["cancel", { cancel: true }, "true"],
    ["cancel", {}, null],
    ["retry", { retry: 3 }, "3"],
    ["retry", {}, null],
    ["approvals", {}, null],
    ["skip", {}, null],
    ["approvals", { approvals: { hold: {} } }, null],
    ["approvals", APPROVE, "hold:bob:Approve::"],
    ["skip", SKIP, "route:bob:known good"],
  ] as const)("%s %o", (field, control, text) => {
    expect(value(field, control as Partial<Control>)).toBe(text);
  });

  test("long lists are told apart by their digest, whatever their order", () => {
    const users = (names: readonly string[]): Partial<Control> => ({
      approvals: {
        hold: Object.fromEntries(
          names.map((name) => [name, { decision: "Approve" as const, comment: "a long comment", expect: "abc" }]),
        ),
      },
    });
    const one = value("approvals", users(["alice", "bob", "carol"]));
    expect(one).toMatch(/^sha256:[0-9a-f]{24}$/);
    expect(value("approvals", users(["carol", "bob", "alice"]))).toBe(one);
    expect(value("approvals", users(["carol", "bob", "dora"]))).not.toBe(one);
  });

  test("every answer fits its field", () => {
    const control: Partial<Control> = {
      approvals: {
        hold: { ["u".repeat(128)]: { decision: "Reject", comment: "c".repeat(256), expect: "e".repeat(71) } },
      },
    };
    expect(value("approvals", control)?.length).toBeLessThanOrEqual(64);
    const claimed = aTask({ pipeline: { hold: "approval" }, control });
    const said = storedBy(decide(claimed, NOON)).commands.approvals;
    expect(said?.reason?.length).toBeLessThanOrEqual(256);
  });
});
