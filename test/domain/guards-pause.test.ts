import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { decide } from "../../src/domain/decide.ts";
import type { Phase } from "../../src/domain/phase.ts";
import { entryOf, openEntry } from "../../src/domain/status.ts";
import { after, aTask, at, decided, NOON, say, storedBy } from "../support/build.ts";
import { inPhase } from "./task-in-phase.ts";

describe("pause", () => {
  const paused = { paused: true } as const;

  const ROWS: readonly (readonly [phase: Phase, decision: string])[] = [
    ["Created", "write Pending: SpecValid"],
    ["Pending", "write Paused: PauseAsked"],
    ["Running", "write Paused: PauseAsked"],
    ["Paused", "sleep: Paused"],
    ["Resuming", "write Paused: PauseAsked"],
    ["Failed", "sleep: StageFailed"],
    ["RollingBack", "undo route/write: Claimed"],
    ["RollbackFailed", "sleep: UndoFailed"],
  ];
  test.each(ROWS)("[S20] in %s", (phase, decision) => {
    expect(say(decided(inPhase(phase, { control: paused }), NOON))).toBe(decision);
  });

  test("[S20] holds the next claim and cuts no write or announce short", () => {
    const status = storedBy(decide(aTask({ stages: { route: "Running" }, control: paused }), NOON));
    expect(openEntry(status)?.name).toBe("route");
    expect(status.waiting).toMatchObject({ reason: "Paused", message: "paused at stage route" });
    expect(storedBy(decide(aTask({ control: paused }), NOON)).waiting?.message).toBe("paused");
  });

  const gates = { hold: "wait" } as const;
  test("reads and gates stop at once; a gate keeps the time that has passed, and is not charged", () => {
    const view = aTask({ pipeline: gates, stages: { hold: "Mine" }, mine: { elapsed: seconds(7) }, control: paused });
    expect(entryOf(storedBy(decide(view, at(9))), "hold")).toMatchObject({
      claim: null,
      ran: 7000,
      attempts: 1,
      attemptsBefore: 1,
    });
  });

  test("[S19] so does the gate of a process that is gone: time paused is not time waited", () => {
    const view = aTask({ pipeline: gates, stages: { hold: "Running" }, control: paused });
    const stored = after(view, decide(view, at(100)));
    expect(entryOf(stored.status, "hold")).toMatchObject({ claim: null, ran: 97_000 });
    const resumed = { ...stored, control: { ...stored.control, paused: false } };
    const resuming = after(resumed, decide(resumed, at(9000)));
    const claimed = decide(resuming, at(9000));
    expect(say(claimed)).toBe("run hold: Claimed");
    expect(entryOf(storedBy(claimed), "hold")?.ran).toBe(97_000);
  });

  test("[R69] all clocks stop while it is paused", () => {
    const view = aTask({
      stages: { route: { state: "Running", retryAt: at(5) } },
      status: { deadline: at(60) },
      control: paused,
    });
    const stored = after(view, decide(view, at(10)));
    const resumed = storedBy(decide({ ...stored, control: { ...stored.control, paused: false } }, at(110)));
    expect(resumed).toMatchObject({ deadline: at(160), pausedFor: seconds(100), phase: "Resuming" });
    expect(entryOf(resumed, "route")?.since).toBe(at(100));
  });

  test("[S20] what was done when the pause came is stored, what is left is not begun", () => {
    const all = { route: "Completed", notify: "Completed", check: "Completed" } as const;
    expect(say(decide(aTask({ stages: all, control: paused }), NOON))).toBe("write Paused: PauseAsked");
  });
});
