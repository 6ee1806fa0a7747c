import { describe, expect, test } from "vitest";
import { decide, GUARDS } from "../../src/domain/decide.ts";
import type { Phase } from "../../src/domain/phase.ts";
import type { Control } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { after, at, NOON } from "../support/build.ts";
import { inPhase } from "./task-in-phase.ts";

test("the order is the policy: divergence, delete, cancel and rollback, pause, deadline, failure", () => {
  expect(GUARDS.map(({ name }) => name)).toEqual([
    "diverged",
    "deleting",
    "cancelOrRollback",
    "pauseAsked",
    "pastDeadline",
    "failureRollsBack",
  ]);
});

/** delete > rollback/cancel > pause > retry > forward: every pair, in a phase where both would act. */
describe("precedence", () => {
  const WORDS = ["delete", "rollback", "cancel", "pause", "retry", "forward"] as const;
  type Word = (typeof WORDS)[number];
  const ASKED: Readonly<Record<Word, { control?: Partial<Control>; view?: Partial<TaskView> }>> = {
    delete: { view: { deletedAt: NOON } },
    rollback: { control: { rollback: true } },
    cancel: { control: { cancel: true } },
    pause: { control: { paused: true } },
    retry: { control: { retry: 1 } },
    forward: {},
  };
  const OUTCOME: Readonly<Record<Word, string>> = {
    delete: "Deletion",
    rollback: "Rollback",
    cancel: "Cancel",
    pause: "Paused",
    retry: "retried",
    forward: "goes on",
  };
  /** Cancel and rollback stand side by side: both undo, and the end is Cancelled. */
  const WINNER = (a: Word, b: Word): Word => {
    const pair = [a, b];
    if (pair.includes("rollback") && pair.includes("cancel")) return "cancel";
    return WORDS.find((word) => pair.includes(word)) ?? "forward";
  };
  const pairs = WORDS.flatMap((a, i) => WORDS.slice(i + 1).map((b) => [a, b] as const));

  function what(view: TaskView): string {
    let here = view;
    for (let step = 0; step < 4; step += 1) {
      const decision = decide(here, at(5));
      if (decision.do !== "write") {
        if (decision.do === "act" && decision.status !== null) here = after(here, decision);
        break;
      }
      here = after(here, decision);
    }
    const { status } = here;
    if (status.turnedBackBy !== null) return status.turnedBackBy;
    if (status.phase === "Paused") return "Paused";
    return status.retried > 0 ? "retried" : "goes on";
  }

  test("no pair is lost", () => expect(pairs).toHaveLength(15));

  test.each(pairs)("[R66] %s and %s", (a, b) => {
    const both = {
      control: { ...ASKED[a].control, ...ASKED[b].control },
      view: { ...ASKED[a].view, ...ASKED[b].view },
    };
    const phase: Phase = [a, b].includes("retry") ? "Failed" : "Running";
    const view = inPhase(phase, phase === "Failed" ? { ...both, stages: { route: "Failed" } } : both);
    expect(what(view)).toBe(OUTCOME[WINNER(a, b)]);
  });
});
