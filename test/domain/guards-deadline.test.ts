import { describe, expect, test } from "vitest";
import { minutes, seconds } from "../../src/lib/time.ts";
import { decide } from "../../src/domain/decide.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import { type About, aTask, at, decided, NOON, say, storedBy } from "../support/build.ts";

describe("progressDeadline", () => {
  const late = (about: About = {}): About => ({
    spec: { progressDeadline: minutes(30) },
    stages: { route: "Completed" },
    ...about,
    status: { deadline: NOON, ...about.status },
  });
  const waiting = (reason: "AwaitingApproval" | "BackingOff" | "EndpointUnavailable"): Partial<Status> => ({
    waiting: { reason, message: "", since: NOON, until: null, unblock: "" },
  });

  const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
    ["fails the task", late(), "write Failed: ProgressDeadline"],
    ["in Resuming, too", late({ phase: "Resuming" }), "write Failed: ProgressDeadline"],
    ["not before its time", late({ status: { deadline: at(1) } }), "run notify: Claimed"],
    ["not without one", late({ status: { deadline: null } }), "run notify: Claimed"],
    ["counts what is waited for by itself", late({ status: waiting("BackingOff") }), "write Failed: ProgressDeadline"],
    [
      "waits for people",
      late({ pipeline: { hold: "approval" }, stages: { hold: "Mine" }, status: waiting("AwaitingApproval") }),
      "sleep: AwaitingApproval",
    ],
    ["not on the way back", late({ phase: "RollingBack" }), "undo route/write: Claimed"],
    [
      "[S26] the claim of a process that is gone is asked about first",
      late({ stages: { route: "Running" } }),
      "sleep 20s: ClaimantMayLive",
    ],
    [
      "a read of a process that is gone leaves nothing to ask",
      late({ pipeline: { check: "look" }, stages: { check: "Running" } }),
      "write Failed: ProgressDeadline",
    ],
    [
      "a task with nothing left to do is not failed",
      late({ stages: { route: "Completed", notify: "Completed", check: "Completed" } }),
      "write Completed: AllStagesSettled",
    ],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(10));
  test.each(ROWS)("%s", (_rule, about, decision) => expect(say(decided(aTask(about), NOON))).toBe(decision));

  test("says which, and stops the gate that is open", () => {
    const status = storedBy(
      decide(
        aTask(late({ pipeline: { hold: "wait" }, stages: { hold: "Mine" }, mine: { elapsed: seconds(3) } })),
        NOON,
      ),
    );
    expect(status.failure).toMatchObject({ code: "ProgressDeadline", stage: null, type: "Timeout" });
    expect(status.failure?.message).toContain("progressDeadline 30m");
    expect(entryOf(status, "hold")).toMatchObject({ claim: null, ran: 3000, state: "Running" });
  });

  test("wakes the task although something else is waited for longer", () => {
    const gate = late({
      pipeline: { hold: "wait" },
      stages: { hold: "Mine" },
      mine: { waitLeft: minutes(90) },
      status: { deadline: at(60) },
    });
    expect(say(decided(aTask(gate), NOON))).toBe("sleep 1m: Poll");
    const short = late({ ...gate, mine: { waitLeft: seconds(5) }, status: { deadline: at(60) } });
    expect(say(decided(aTask(short), NOON))).toBe("sleep 5s: Poll");
  });

  test("does not wake what waits for people", () => {
    const gate = late({
      pipeline: { hold: "approval" },
      stages: { hold: "Mine" },
      status: { deadline: at(60), ...waiting("AwaitingApproval") },
    });
    expect(say(decided(aTask(gate), NOON))).toBe("sleep: AwaitingApproval");
  });

  test("that passed does not keep a task awake that waits for a claimant", () => {
    expect(say(decided(aTask(late({ stages: { route: "Running" }, status: { deadline: at(-5) } })), NOON))).toBe(
      "sleep 20s: ClaimantMayLive",
    );
  });

  test("a deadline without a spec's word is named as it is", () => {
    const status = storedBy(decide(aTask({ ...late(), spec: {} }), NOON));
    expect(status.failure?.message).toContain("progressDeadline 0s");
  });
});
