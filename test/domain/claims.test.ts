import { describe, expect, test } from "vitest";
import { formatFence } from "../../src/lib/fence.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { claim, ranSoFar } from "../../src/domain/claims.ts";
import { decide } from "../../src/domain/decide.ts";
import { forwardTarget } from "../../src/domain/forward.ts";
import { opIdOf } from "../../src/domain/plan.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { StageEntry, Status } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import {
  type About,
  actOf,
  after,
  anEntry,
  aPlacement,
  aPlan,
  aSpec,
  aStage,
  aTask,
  aTenant,
  at,
  EPOCH,
  heldTenant,
  MINE,
  NOON,
  say,
  storedBy,
  UID,
} from "../support/build.ts";
import { SETTINGS } from "../support/domain-kinds.ts";

/** Pending, with the lock: the next decision is the first claim. */
const atLock = (about: About = {}): TaskView =>
  aTask({ phase: "Pending", tenant: heldTenant(), ...about, view: { finalizer: true, ...about.view } });

const stageEntry = (status: Status, name: string): StageEntry => {
  const entry = entryOf(status, name);
  if (entry === undefined) throw new Error(`no entry ${name}`);
  return entry;
};

describe("the first claim", () => {
  const view = atLock({ spec: { progressDeadline: minutes(30) } });
  const decision = decide(view, NOON);
  const status = storedBy(decision);

  test("[S3] moves one stage, raises seq, and says who holds it until when", () => {
    expect(say(decision)).toBe("run route: LockTaken");
    expect([status.phase, status.seq, status.epoch, status.stages.length]).toEqual(["Running", 1, EPOCH, 1]);
    expect(stageEntry(status, "route")).toMatchObject({
      state: "Running",
      attempts: 1,
      seq: 1,
      startedAt: NOON,
      claim: { nonce: MINE, by: "turnout-0", at: NOON, until: at(20) },
    });
  });

  test("freezes the plan with what TenantState says when the lock is taken (◆)", () => {
    expect(status.plan).toEqual(aPlan(aSpec({ progressDeadline: minutes(30) })));
  });

  test("starts the clock of the task", () => {
    expect([status.startedAt, status.deadline]).toEqual([NOON, at(1800)]);
    expect(storedBy(decide(atLock(), NOON)).deadline).toBeNull();
  });

  test("[S10] its base is the greatest fence that is known for the tenant, its fence is above it", () => {
    const act = actOf(decision);
    expect([act.base, act.fence]).toEqual([heldTenant().fence, formatFence(EPOCH, 1)]);
  });

  test("[L8] one that has to wait starts nothing and is stored once", () => {
    const waiting = atLock({ view: { settings: { ...SETTINGS, endpoints: {} } } });
    const stored = after(waiting, decide(waiting, NOON));
    expect(stored.status).toMatchObject({ phase: "Pending", startedAt: null, plan: null });
    expect(stored.status.waiting?.reason).toBe("EndpointUnavailable");
    expect(say(decide(stored, at(60)))).toBe("sleep: EndpointUnavailable");
  });

  test("a plan that does not render is refused, and nothing was claimed", () => {
    const pipeline = { notify: aStage("notify", "tell", { to: "nobody" }) };
    const refused = decide(atLock({ pipeline }), NOON);
    expect(say(refused)).toBe("write ValidationFailed: SpecInvalid");
    expect(storedBy(refused)).toMatchObject({
      epoch: 0,
      finishedAt: NOON,
      stages: [],
      failure: { code: "InvalidSpec" },
    });
    expect(storedBy(refused).issues).toHaveLength(1);
  });
});

describe("every claim", () => {
  test("[S10] has the claim before as its base", () => {
    const act = actOf(decide(aTask({ stages: { route: "Completed" } }), NOON));
    expect([act.base, act.fence]).toEqual([formatFence(EPOCH, 1), formatFence(EPOCH, 2)]);
  });

  test("◆ [S10] the first one of a rollback of Completed has the tenant's fence as its base, and seq goes on", () => {
    const current = {
      ...aPlacement("green"),
      planVersion: 42,
      since: NOON,
      task: { name: "acme-green", uid: UID },
      restorable: true,
    };
    const tenant = heldTenant({
      current,
      epoch: EPOCH + 9,
      fence: formatFence(EPOCH, 3),
      holder: { task: "acme-green", uid: UID, unit: null, direction: "Back", since: NOON },
    });
    const view = aTask({
      phase: "Completed",
      stages: { route: "Completed", notify: "Completed", check: "Completed" },
      tenant,
      control: { rollback: true },
      view: { finalizer: true },
    });
    const decision = decide(view, NOON);
    expect(say(decision)).toBe("undo route/write: Claimed");
    expect([actOf(decision).base, actOf(decision).fence]).toEqual([formatFence(EPOCH, 3), formatFence(EPOCH + 9, 4)]);
  });

  test("[S9] is refused without the lock: a bug, never an effect", () => {
    const { stage } = { stage: aStage("route", "write") };
    const about = { phase: "Running", because: "Claimed", now: NOON } as const;
    for (const tenant of [aTenant(), null]) {
      const view = aTask({ tenant });
      expect(() => claim(view, view.status, forwardTarget(view, stage), about)).toThrow(
        "claim of route without the lock",
      );
    }
  });

  test("of a read or gate has no end", () => {
    const view = aTask({ pipeline: { check: "look" } });
    const decision = decide(view, NOON);
    expect(stageEntry(storedBy(decision), "check").claim?.until).toBeNull();
    expect(actOf(decision).attemptTimeout).toBeNull();
  });

  test("carries what the attempt needs and nothing that may change", () => {
    const view = aTask({
      pipeline: { notify: aStage("notify", "tell", { to: "gateway" }) },
      view: { policiesMissing: true },
    });
    expect(actOf(decide(view, NOON))).toEqual({
      stage: "notify",
      kind: "tell",
      does: "run",
      direction: "Forward",
      part: null,
      probe: "no",
      recover: "probe",
      nonce: MINE,
      seq: 1,
      opId: opIdOf(UID, "notify", "Forward", null),
      undoes: { opId: opIdOf(UID, "notify", "Forward", null), settled: false },
      fence: formatFence(EPOCH, 1),
      base: heldTenant().fence,
      inputs: { value: { version: 42 } },
      addresses: ["gateway|10.2.0.1:8080", "gateway|10.2.0.2:8080"],
      endpoint: "receivers",
      attemptTimeout: seconds(15),
      instanceTimeout: seconds(3),
      ran: 0,
      age: 0,
      onDrift: "Hold",
      approvals: {},
      requestedBy: "alice",
      policiesMissing: true,
      digest: view.status.plan?.digest,
      memo: null,
    });
  });

  test("a stage's own limits outrank the task's, and these the settings", () => {
    const limits = { attemptTimeout: seconds(1), instanceTimeout: seconds(2) };
    const view = aTask({ pipeline: { route: aStage("route", "write", {}, limits) } });
    const act = actOf(decide(view, NOON));
    expect([act.attemptTimeout, act.instanceTimeout]).toEqual([1000, 2000]);
    expect(stageEntry(storedBy(decide(view, NOON)), "route").claim?.until).toBe(at(6));
  });

  test("the audience of the first claim belongs to the stage from then on", () => {
    const pipeline = { notify: "tell" } as const;
    const view = aTask({
      pipeline,
      stages: { notify: { state: "Running", audience: [0] } },
      status: { instances: ["receivers|10.9.9.9:1"] },
    });
    expect(actOf(decide(view, NOON)).addresses).toEqual(["receivers|10.9.9.9:1"]);
  });

  test("only those are called who have not acknowledged", () => {
    const view = aTask({
      pipeline: { notify: "tell" },
      stages: { notify: { state: "Running", audience: [0, 1], acked: [0] } },
      status: { instances: ["a", "b"] },
    });
    expect(actOf(decide(view, NOON)).addresses).toEqual(["b"]);
  });

  test("[R44] a later stage reads the outputs of an earlier one, and the first start of its own", () => {
    const content = { key: "${stages.route.outputs.key}", at: "${now}", op: "${opId}", way: "${direction}" };
    const view = aTask({
      pipeline: { route: "write", notify: aStage("notify", "tell", { content }) },
      stages: {
        route: { state: "Completed", outputs: { key: "k:1" } },
        notify: { state: "Running", startedAt: at(-60) },
      },
    });
    expect(actOf(decide(view, NOON)).inputs).toEqual({
      value: { key: "k:1", at: "2026-06-01T11:59:00.000Z", op: opIdOf(UID, "notify", "Forward", null), way: "Forward" },
    });
  });

  test("an output that is missing fails the stage, which may be retried or skipped", () => {
    const content = "${stages.route.outputs.key}";
    const pipeline = { route: "write", notify: aStage("notify", "tell", { content }) } as const;
    const fresh = decide(aTask({ pipeline, stages: { route: "Skipped" } }), NOON);
    expect(say(fresh)).toBe("write Failed: StageFailed");
    expect(storedBy(fresh).failure).toMatchObject({ stage: "notify", code: "CannotRender" });
    const begun = decide(
      aTask({ pipeline, stages: { route: "Skipped", notify: { state: "Running", retryAt: at(0) } } }),
      NOON,
    );
    expect(stageEntry(storedBy(begun), "notify")).toMatchObject({
      state: "Failed",
      claim: null,
      retryAt: null,
      finishedAt: NOON,
    });
    const resuming = decide(aTask({ phase: "Resuming", pipeline, stages: { route: "Skipped" } }), NOON);
    expect(say(resuming)).toBe("write Failed: StageFailed");
  });

  test("an undo that does not render is a failed rollback", () => {
    const view = aTask({
      phase: "RollingBack",
      pipeline: { notify: aStage("notify", "tell", { content: "${target.parameters.x}" }) },
      spec: { target: aPlacement("green", { parameters: { x: "1" } }) },
      stages: { notify: "Completed" },
    });
    const decision = decide(view, NOON);
    expect(say(decision)).toBe("write RollbackFailed: UndoFailed");
    expect(storedBy(decision).failure?.stage).toBe("notify");
  });

  test("[S14] undo content sees the previous configuration, its addresses are the forward ones and the previous ones", () => {
    const view = aTask({
      phase: "RollingBack",
      pipeline: {
        notify: aStage("notify", "tell", {
          to: "gateway",
          content: { unit: "${target.deployUnit.name}", v: "${plan.version}" },
        }),
      },
      stages: { notify: { state: "Completed", audience: [0] } },
      status: { instances: ["gateway|10.2.0.1:8080"] },
    });
    const act = actOf(decide(view, NOON));
    expect(act.inputs).toEqual({ value: { unit: "blue", v: 41 } });
    expect(act.addresses).toEqual(["gateway|10.2.0.1:8080", "gateway|10.1.0.1:8080", "gateway|10.1.0.2:8080"]);
    expect([act.does, act.direction, act.part]).toEqual(["undo", "Back", "announce"]);
  });

  test("a verify of the undo asks the previous unit only", () => {
    const view = aTask({
      phase: "RollingBack",
      pipeline: { route: "write", check: aStage("check", "look", { to: "gateway" }) },
      stages: {
        route: { state: "RolledBack", undone: ["write"] },
        check: { state: "Completed", audience: [0] },
      },
      status: { instances: ["gateway|10.2.0.1:8080"] },
    });
    const act = actOf(decide(view, NOON));
    expect([act.does, act.addresses]).toEqual(["run", ["gateway|10.1.0.1:8080", "gateway|10.1.0.2:8080"]]);
    expect(act.inputs).toEqual({ version: 41 });
  });

  test("the undo knows the forward operation and whether it settled", () => {
    const opId = opIdOf(UID, "route", "Forward", null);
    const undoOf = (entry: Partial<StageEntry>): unknown =>
      actOf(decide(aTask({ phase: "RollingBack", stages: { route: entry } }), NOON)).undoes;
    expect(undoOf({ state: "Completed", outputs: {} })).toEqual({ opId, settled: true });
    expect(undoOf({ state: "Failed" })).toEqual({ opId, settled: false });
  });

  test("[S7] what others changed is reported until the end, whatever part of the undo comes next", () => {
    const drift = { keys: ["colour"], digests: { before: null, ours: null, now: null } };
    const about: About = {
      phase: "RollingBack",
      pipeline: { route: "duo" },
      stages: { route: { state: "RollingBack", part: "write", undone: ["write"], drift, acked: [0] } },
    };
    const next = stageEntry(storedBy(decide(aTask(about), NOON)), "route");
    expect([next.part, next.drift, next.acked]).toEqual(["publish", drift, []]);
    const first = aTask({ ...about, stages: { route: { state: "Completed", drift } } });
    expect(stageEntry(storedBy(decide(first, NOON)), "route").drift).toBeNull();
  });
});

describe("approvals", () => {
  const yes = { decision: "Approve", comment: null, expect: null } as const;
  const pipeline = { hold: "approval" } as const;

  test("[S18] [SEC-13] what stands before the stage waits never counts", () => {
    const view = aTask({ pipeline, control: { approvals: { hold: { bob: yes } } } });
    const stored = after(view, decide(view, NOON));
    expect(actOf(decide(view, NOON)).approvals).toEqual({});
    const polling = { ...stored, mine: { nonce: MINE, elapsed: millisOf(0), waitLeft: millisOf(0), memo: null } };
    expect(actOf(decide(polling, at(1))).approvals).toEqual({});
    const again = {
      ...polling,
      control: { ...view.control, approvals: { hold: { bob: { ...yes, comment: "now" } } } },
    };
    expect(actOf(decide(again, at(1))).approvals).toEqual({ bob: { ...yes, comment: "now" } });
  });

  test("what was given while nobody looked counts: the stage waited", () => {
    const view = aTask({ pipeline, stages: { hold: "Running" }, control: { approvals: { hold: { bob: yes } } } });
    expect(actOf(decide(view, NOON)).approvals).toEqual({ bob: yes });
  });
});

describe("time under a claim that is gone", () => {
  const entry = anEntry(aStage("hold", "wait"), "Running");

  test("[S19] counts less than it was: clocks run fast and dates are late", () => {
    expect(ranSoFar(entry, at(100))).toBe(97_000);
    expect(ranSoFar({ ...entry, ran: seconds(5) }, at(100))).toBe(102_000);
    expect(ranSoFar({ ...entry, ran: seconds(5) }, at(1))).toBe(5000);
  });

  test("[S19] a gate that is claimed again keeps it, a read begins anew", () => {
    const hold = aTask({ pipeline: { hold: "wait" }, stages: { hold: "Running" } });
    expect(actOf(decide(hold, at(100))).ran).toBe(97_000);
    const check = aTask({ pipeline: { check: "look" }, stages: { check: "Running" } });
    expect(actOf(decide(check, at(100))).ran).toBe(0);
  });
});
