import { describe, expect, test } from "vitest";
import { answer, COMMANDS as FIELDS } from "../../src/domain/commands.ts";
import { valueOf } from "../../src/domain/command-values.ts";
import { decide } from "../../src/domain/decide.ts";
import type { Answer, CommandField, Control, Status } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { aTask, at, EPOCH, NO_CONTROL, NOON, storedBy } from "../support/build.ts";

const APPROVE = { approvals: { hold: { bob: { decision: "Approve", comment: null, expect: null } } } } as const;
const SKIP = { skip: { route: { by: "bob", reason: "known good" } } } as const;

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
