import { describe, expect, test } from "vitest";
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
