import { describe, expect, test } from "vitest";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { decide } from "../../src/domain/decide.ts";
import { leaveFailed, nextStage } from "../../src/domain/forward.ts";
import { entryOf } from "../../src/domain/status.ts";
import { type About, actOf, after, aTask, at, NOON, say, storedBy } from "../support/build.ts";
import { BACKING_OFF, failedAt, GONE } from "./forward-situations.ts";

describe("what is stored with it", () => {
  test("[S26] a take-over raises seq, keeps the operation and is not charged", () => {
    const view = aTask({ stages: { route: "Running" }, view: { claimantGone: true } });
    const decision = decide(view, at(30));
    const before = entryOf(view.status, "route");
    const entry = entryOf(storedBy(decision), "route");
    expect([entry?.attempts, entry?.attemptsBefore, entry?.seq]).toEqual([2, 1, 2]);
    expect([before?.outcome, entry?.outcome]).toEqual([null, "Unknown"]);
    expect(actOf(decision).fence > actOf(decision).base).toBe(true);
  });

  test("[L8] a take-over that has to wait is stored once", () => {
    const view = aTask({ stages: { route: "Running" }, view: { claimSeenFor: seconds(23), ...GONE } });
    const again = decide(after(view, decide(view, NOON)), at(1));
    expect(say(again)).toBe("sleep: EndpointUnavailable");
  });

  test("[L8] so is a poll that has to wait", () => {
    const view = aTask({
      pipeline: { check: "look" },
      stages: { check: "Mine" },
      mine: { waitLeft: millisOf(0) },
      view: GONE,
    });
    const stored = after(view, decide(view, NOON));
    expect(say(decide({ ...stored, mine: null }, at(1)))).toBe("sleep: EndpointUnavailable");
    expect(entryOf(stored.status, "check")?.claim).toBeNull();
  });

  test("[R72] a person's retry grants new attempts, a new timeout, and ends the failure", () => {
    const view = aTask({
      phase: "Failed",
      stages: { route: { state: "Failed", attempts: 3, startedAt: at(-400), retryAt: at(9) } },
      status: failedAt(1),
      control: { retry: 1 },
    });
    const status = storedBy(decide(view, at(60)));
    const entry = entryOf(status, "route");
    expect([entry?.attempts, entry?.attemptsBefore, entry?.since, entry?.retryAt]).toEqual([4, 3, at(60), null]);
    expect([status.failure, status.retried, status.pausedFor]).toEqual([null, 1, seconds(59)]);
  });

  test("[SEC-13] a retried approval asks anew: what was answered before does not count", () => {
    const reject = { decision: "Reject", comment: null, expect: null } as const;
    const view = aTask({
      phase: "Failed",
      pipeline: { hold: "approval" },
      stages: { hold: "Failed" },
      status: failedAt(1, "hold"),
      control: { retry: 1, approvals: { hold: { bob: reject } } },
    });
    expect(actOf(decide(view, at(60))).approvals).toEqual({});
  });

  test("after a progressDeadline a retry starts it anew", () => {
    const failure = {
      type: "Timeout",
      code: "ProgressDeadline",
      stage: null,
      message: "",
      retryable: true,
      at: at(1),
    } as const;
    const about: About = { phase: "Failed", stages: { route: { state: "Running" } }, control: { retry: 1 } };
    const late = aTask({ ...about, spec: { progressDeadline: minutes(30) }, status: { deadline: at(0), failure } });
    expect(storedBy(decide(late, at(60))).deadline).toBe(at(60 + 1800));
    const without = aTask({ ...about, status: { failure } });
    expect(storedBy(decide(without, at(60))).deadline).toBeNull();
  });

  test("time in Failed moves the deadline", () => {
    const view = aTask({
      phase: "Failed",
      spec: { progressDeadline: minutes(30) },
      stages: { route: "Failed" },
      status: { ...failedAt(1), deadline: at(100) },
      control: { retry: 1 },
    });
    expect(storedBy(decide(view, at(61))).deadline).toBe(at(160));
  });

  test("a skipped stage says by whom and why, keeps its claim's seq, and its wait is over", () => {
    const view = aTask({
      pipeline: { hold: "wait", notify: "tell" },
      stages: { hold: "Mine" },
      control: { skip: { hold: { by: "bob", reason: "late" } } },
    });
    const status = storedBy(decide(view, at(60)));
    const entry = entryOf(status, "hold");
    expect(entry).toMatchObject({
      state: "Skipped",
      skipped: { by: "bob", reason: "late" },
      seq: 1,
      claim: null,
      finishedAt: at(60),
    });
    expect(status.waiting).toBeNull();
  });

  test("a skip of a stage that waits does not skip the next one beforehand", () => {
    const skip = { route: { by: "bob", reason: "x" }, notify: { by: "bob", reason: "y" } };
    const view = aTask({
      phase: "Running",
      stages: { route: BACKING_OFF },
      status: { waiting: { reason: "BackingOff", message: "", since: NOON, until: at(5), unblock: "" } },
      control: { skip },
    });
    expect(say(decide(view, NOON))).toBe("run notify: Claimed");
  });

  test("the first stage that has not settled is next", () => {
    const view = aTask({ stages: { route: "Completed", notify: "Failed" } });
    expect(nextStage(view, view.status)?.name).toBe("notify");
  });

  test("a failure without a time costs none", () => {
    const { status } = aTask({ phase: "Failed" });
    expect(leaveFailed(status, at(60)).pausedFor).toBe(0);
  });
});
