import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TransitionError } from "../../src/lib/errors.ts";
import { between, instantOf, millisOf, plus, seconds } from "../../src/lib/time.ts";
import { effectOf, mustSpec, mustStage } from "../../src/domain/basis.ts";
import { conditionsOf } from "../../src/domain/conditions.ts";
import { valueOf } from "../../src/domain/command-values.ts";
import { decide } from "../../src/domain/decide.ts";
import { PHASES, mayEnter, STAGE_STATES, stageMayBecome, type StageState } from "../../src/domain/phase.ts";
import { remake, unblock, WAITING, WAITING_REASONS } from "../../src/domain/reasons.ts";
import { settle } from "../../src/domain/settle.ts";
import {
  addressesOf,
  ageOf,
  enter,
  excuse,
  freshStatus,
  intern,
  newEntry,
  stopWaiting,
  waitFor,
  withEntry,
  withFailure,
} from "../../src/domain/status.ts";
import type { CommandField, StageEntry } from "../../src/domain/stored.ts";
import { decideTenant, type HolderFact } from "../../src/domain/tenant.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { actOf, after, anEntry, aSpec, aStage, aTask, at, heldTenant, NO_CONTROL, NOON } from "../support/build.ts";
import { cases } from "../support/seed.ts";

/** Whether the move is made; an illegal one is thrown as such. */
function isTaken(move: () => unknown): boolean {
  try {
    move();
    return true;
  } catch (error) {
    if (error instanceof TransitionError) return false;
    throw error;
  }
}

describe("a transition", () => {
  test.each(PHASES)("[R23] out of %s follows the table or is a bug that stops the turn", (from) => {
    const entered = PHASES.filter((to) =>
      isTaken(() => enter({ ...freshStatus(1), phase: from }, to, "Claimed", NOON)),
    );
    expect(entered).toEqual(PHASES.filter((to) => mayEnter(from, to)));
  });

  test("[R23] the refusal has a type and a code", () => {
    const illegal = (): unknown => enter({ ...freshStatus(1), phase: "Cancelled" }, "Running", "Claimed", NOON);
    expect(illegal).toThrow(TransitionError);
    expect(illegal).toThrow(expect.objectContaining({ code: "IllegalTransition", type: "System" }));
  });

  test("[R22] history holds the last 20, in order", () => {
    const flips = Array.from({ length: 30 }, (_, i) => i);
    const status = flips.reduce(
      (moved, i) => enter(moved, i % 2 === 0 ? "Paused" : "Resuming", "PauseAsked", at(i)),
      aTask().status,
    );
    expect(status.history.map((entry) => entry.at)).toEqual(flips.slice(-20).map((i) => at(i)));
  });

  test("[R22] history never goes back in time, though a successor's clock may lag a little", () => {
    const first = enter({ ...freshStatus(1), phase: "Pending" }, "Running", "Claimed", NOON);
    const second = enter(first, "Failed", "StageFailed", instantOf(NOON - 1000));
    expect(second.history.map(({ at: when }) => when)).toEqual([NOON, NOON]);
  });
});

describe("a stage entry", () => {
  const entry = (state: StageState): StageEntry => anEntry(aStage("route", "write"), { state });

  test.each(STAGE_STATES)("[S5] out of %s follows the edges or is a bug", (from) => {
    const status = { ...freshStatus(1), stages: [entry(from)] };
    const entered = STAGE_STATES.filter((to) => isTaken(() => withEntry(status, entry(to))));
    expect(entered).toEqual(STAGE_STATES.filter((to) => from === to || stageMayBecome(from, to)));
  });

  test("[S5] a new one is appended, an old one keeps its place", () => {
    const two = withEntry(withEntry(freshStatus(1), newEntry("a")), newEntry("b"));
    const moved = withEntry(two, { ...newEntry("a"), state: "Running" });
    expect(moved.stages.map(({ name, state }) => `${name} ${state}`)).toEqual(["a Running", "b Pending"]);
    expect(() => withEntry(freshStatus(1), { ...newEntry("a"), state: "Completed" })).toThrow(TransitionError);
  });
});

describe("clocks", () => {
  const running = aTask({
    stages: { route: "Completed", notify: "Running", check: { state: "Running", startedAt: null, since: null } },
    status: { deadline: at(60) },
  }).status;

  test("[R69] time that counts toward nothing moves every clock that runs, and no other", () => {
    const moved = excuse(running, seconds(5));
    expect(moved).toMatchObject({ pausedFor: seconds(5), deadline: at(65) });
    expect(moved.stages.map(({ since }) => since)).toEqual([null, at(5), null]);
    expect(excuse({ ...running, deadline: null }, seconds(5)).deadline).toBeNull();
    expect(excuse(running, millisOf(0))).toBe(running);
  });

  test("[R69] waiting for people and locks does, waiting for machines does not", () => {
    for (const reason of WAITING_REASONS) {
      const waiting = { reason, message: "", since: NOON, until: null, unblock: "" };
      const stopped = stopWaiting({ ...running, waiting }, at(7));
      expect(`${reason} ${stopped.pausedFor}`).toBe(`${reason} ${WAITING[reason].counts ? 0 : 7000}`);
      expect(stopped.waiting).toBeNull();
    }
    expect(stopWaiting(running, at(7))).toBe(running);
  });

  test("a stage's age counts from its first start, or from where a pause moved it", () => {
    expect(ageOf(newEntry("a"), at(9))).toBe(0);
    expect(ageOf({ ...newEntry("a"), startedAt: NOON }, at(9))).toBe(9000);
    expect(ageOf({ ...newEntry("a"), startedAt: NOON, since: at(4) }, at(9))).toBe(5000);
  });

  test("[S19] [R69] excused by d, every age is less by d, however the time is cut up", () => {
    const parts = fc.array(fc.integer({ min: 0, max: 600_000 }), { maxLength: 6 });
    fc.assert(
      fc.property(parts, (pauses) => {
        const moved = pauses.reduce((status, pause) => excuse(status, millisOf(pause)), running);
        const total = pauses.reduce((sum, pause) => sum + pause, 0);
        const end = plus(at(100), millisOf(total));
        const [done, open] = [moved.stages[0], moved.stages[1]] as const;
        expect(moved.pausedFor).toBe(total);
        expect(between(at(60), moved.deadline ?? NOON)).toBe(total);
        expect(open === undefined ? null : ageOf(open, end)).toBe(seconds(100));
        expect(done?.since).toBeNull();
      }),
      cases(300),
    );
  });
});

describe("what is waited for", () => {
  test("[L8] the same reason keeps its start and its words; another message is said only where asked", () => {
    const view = aTask();
    const first = waitFor(view, view.status, { reason: "WaitingForLock", message: "held by a" }, NOON);
    const again = waitFor(view, first, { reason: "WaitingForLock", message: "held by b" }, at(5));
    expect(again).toBe(first);
    const fresh = waitFor(view, first, { reason: "WaitingForLock", message: "held by b", fresh: true }, at(5));
    expect(fresh.waiting).toMatchObject({ message: "held by b", since: NOON });
    expect(waitFor(view, fresh, { reason: "WaitingForLock", message: "held by b", fresh: true }, at(6))).toBe(fresh);
  });

  test.each(WAITING_REASONS)("the way out of %s holds no name that was not filled in", (reason) => {
    const view = aTask({ stages: { route: "Completed" } });
    const { waiting } = waitFor(view, view.status, { reason, message: "m", stage: "hold" }, NOON);
    expect(waiting?.unblock).not.toMatch(/\{[a-zA-Z]+\}/);
    expect(waiting?.unblock.length).toBeGreaterThan(10);
    expect(waiting?.unblock.length).toBeLessThanOrEqual(512);
  });

  test("a task that waits for others of its namespace is shown them: there are no units to look at", () => {
    expect(unblock("WaitingForAdmission", { namespace: "prod" })).toContain("kubectl get swt -n prod");
  });

  test("of a tenant whose record is gone, too, with the longest names there are", () => {
    const facts = {
      tenantState: "t".repeat(63),
      namespace: "n".repeat(63),
      tenant: "x".repeat(64),
      epoch: "9".repeat(10),
    };
    expect(remake(facts)).not.toMatch(/\{[a-zA-Z]+\}/);
    expect(remake(facts).length).toBeLessThanOrEqual(512);
    expect(remake(facts)).toContain(facts.tenantState);
  });

  test("what is not known stays visible as a blank", () => {
    expect(unblock("Paused", { name: "acme" })).toContain("swt acme -n {namespace}");
  });

  test("a message fits its field", () => {
    const view = aTask();
    const { waiting } = waitFor(view, view.status, { reason: "Waiting", message: "m".repeat(999) }, NOON);
    expect(waiting?.message).toHaveLength(256);
    const unknown = { ...view, spec: null, tenant: { ...view.tenant, status: null } };
    expect(waitFor(unknown, view.status, { reason: "Diverged", message: "" }, NOON).waiting?.unblock).toContain(
      '"epoch":0',
    );
    expect(waitFor(unknown, view.status, { reason: "WaitingForLock", message: "" }, NOON).waiting?.unblock).toContain(
      "tenantId=?",
    );
  });
});

describe("addresses", () => {
  test("[S25] each stands once, and an index that leads nowhere is nobody", () => {
    const first = intern(freshStatus(1), ["a", "b", "a"]);
    expect(first).toMatchObject({ status: { instances: ["a", "b"] }, indexes: [0, 1, 0] });
    const known = intern(first.status, ["b"]);
    expect(known.status).toBe(first.status);
    expect(addressesOf(first.status, [1, 9, -1])).toEqual(["b"]);
  });
});

test("[R5] a failure says what happened and what to do, in a field's length", () => {
  const what = { code: "Internal", message: "m".repeat(512), remedy: "r".repeat(256) } as const;
  const { failure } = withFailure(freshStatus(1), what, null, NOON);
  expect(failure).toMatchObject({ type: "System", code: "Internal", stage: null, retryable: true, at: NOON });
  expect(failure?.message).toHaveLength(512);
});

describe("a bug stops the turn of its task and nothing else", () => {
  const view = aTask({ stages: { route: "Mine" } });

  test("no spec, no stage, no kind", () => {
    expect(() => mustSpec({ ...view, spec: null })).toThrow("prod/acme-green was decided upon without a spec");
    expect(() => mustStage(view, "nobody")).toThrow("prod/acme-green has no stage nobody");
    expect(() => effectOf({ ...view, kinds: {} }, aStage("route", "write"))).toThrow("there is no kind write");
  });

  test("a member of no union: outcome, command, stage state, holder", () => {
    const claimed = aTask({ pipeline: { one: "write" } });
    const decision = decide(claimed, NOON);
    const outcome = { is: "lunch" as "done", outputs: {} } satisfies Outcome;
    expect(() => settle(after(claimed, decision), actOf(decision), outcome, NOON)).toThrow("unreachable");
    expect(() => valueOf("dance" as CommandField, NO_CONTROL)).toThrow("unreachable");
    const odd = { ...view.status, stages: [{ ...newEntry("a"), state: "Lost" as StageState }] };
    expect(() => conditionsOf(odd, NOON)).toThrow("unreachable");
    const facts = {
      status: heldTenant(),
      release: null,
      deleting: false,
      finalizer: true,
      namespaceTerminating: false,
      policiesMissing: false,
      holder: { is: "asleep" as "unread" } satisfies HolderFact,
    };
    expect(() => decideTenant(facts, NOON)).toThrow("unreachable");
  });

  test("a spec keeps its stages: every entry has one", () => {
    expect(aSpec().stages.map(({ name }) => mustStage(view, name).index)).toEqual([0, 1, 2]);
  });
});
