import { describe, expect, test } from "vitest";
import { formatFence } from "../../src/lib/fence.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { reconcileTask } from "../../src/controllers/switch-task.ts";
import { openEntry } from "../../src/domain/status.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { aStage } from "../support/build.ts";
import { ControllerRig, TASK } from "../support/controller-rig.ts";
import { aWriteOnly, ASK, LATE, LOST, REFUSED, SOAK } from "../support/controller-runs.ts";

describe("a whole switch", () => {
  test("[R46] stage after stage, then the tenant is given back and the watch forgets the task", async () => {
    const rig = new ControllerRig();
    expect(await rig.process().rest()).toBe("Completed");
    expect(rig.sent.map(({ stage }) => stage)).toEqual(["route", "notify", "notify"]);
    expect(rig.tenant?.holder).toBeNull();
    expect(rig.kube.get("switchtasks", TASK)?.metadata.labels).toEqual({ "turnout.dev/done": "true" });
  });

  test("[S3] nothing is sent before a claim with its fence is stored, forward and back", async () => {
    const rig = new ControllerRig({ stages: [...aWriteOnly, aStage("notify", "tell"), ASK] });
    const process = rig.process();
    await process.rest();
    rig.control({ rollback: true });
    expect(await process.rest()).toBe("RolledBack");
    const claims = rig.versions().flatMap(({ revision, status }) => {
      const open = openEntry(status);
      return open === undefined
        ? []
        : [{ revision, what: [open.name, open.part, formatFence(status.epoch, open.seq)] }];
    });
    const ahead = rig.sent.filter(
      ({ stage, part, fence, revision }) =>
        !claims.some((claim) => claim.revision <= revision && claim.what.join() === [stage, part, fence].join()),
    );
    expect(rig.sent).toHaveLength(6);
    expect(ahead).toEqual([]);
  });

  test("[R49] an outcome is stored once its attempt has ended, not before", async () => {
    const rig = new ControllerRig();
    const seen: (string | undefined)[] = [];
    rig.meanwhile.set("notify", [
      async (goOn) => {
        await rig.clock.advance(seconds(2));
        seen.push(rig.status()?.stages.find(({ name }) => name === "notify")?.state);
        return goOn();
      },
    ]);
    expect(await rig.process().rest()).toBe("Completed");
    expect(seen).toEqual(["Running"]);
  });

  test("[R49] an operation keeps its id through every attempt, so that it is found again and not done twice", async () => {
    const rig = new ControllerRig();
    const loseAnswer = async (goOn: () => Promise<Outcome>): Promise<Outcome> => {
      await goOn();
      return LOST;
    };
    rig.meanwhile.set("route", [loseAnswer]);
    expect(await rig.process().rest()).toBe("Completed");
    expect(rig.status()?.stages[0]).toMatchObject({ name: "route", attempts: 2, outcome: null });
    expect(rig.told("route", "Forward")).toHaveLength(1);
  });

  test("[S27] the finalizer is there before the first claim", async () => {
    const rig = new ControllerRig();
    await rig.process().rest();
    const claiming = rig.kube.writes.filter(({ object }) => JSON.stringify(object ?? {}).includes('"claim"'));
    expect(claiming.length).toBeGreaterThan(2);
    expect(claiming.map(({ object }) => object?.metadata.finalizers)).toEqual(claiming.map(() => ["turnout.dev/hold"]));
  });

  test("[R58] the tenant is given back before the finalizer goes", async () => {
    const rig = new ControllerRig();
    await rig.process().rest();
    const released = rig.kube.writes.findLast(({ point }) => point === "api/tenant");
    const letGo = rig.kube.writes.findLast(({ point }) => point === "api/finalizer");
    expect(rig.tenant?.holder).toBeNull();
    expect(Number(released?.revision)).toBeLessThan(Number(letGo?.revision));
  });
});

describe("two processes", () => {
  test("[S5] [S6] a claim decided on an old copy is refused and decided anew: nothing that settled is lost", async () => {
    const rig = new ControllerRig();
    const [slow, fast] = [rig.process("turnout-0"), rig.process("turnout-1")];
    rig.kube.before("api/status", 2, async () => {
      expect(await fast.rest()).toBe("Completed");
    });
    await slow.rest();
    const settled = rig
      .versions()
      .map(({ status }) => status.stages.filter(({ state }) => state === "Completed").length);
    expect(settled).toEqual(settled.toSorted((a, b) => a - b));
    expect(rig.status()?.phase).toBe("Completed");
    expect(rig.sent.map(({ stage, process }) => `${stage} ${process}`)).toEqual([
      "route turnout-1",
      "notify turnout-1",
      "notify turnout-1",
    ]);
  });

  test("[S3] [S11] the claim of another process is not taken for one's own", async () => {
    const rig = new ControllerRig();
    const [slow, fast] = [rig.process("turnout-0"), rig.process("turnout-1")];
    const entered = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    rig.meanwhile.set("route", [
      async (goOn) => {
        entered.resolve();
        await held.promise;
        return goOn();
      },
    ]);
    let turn: Promise<unknown> = Promise.resolve();
    rig.kube.before("api/status", 2, async () => {
      fast.sync();
      turn = fast.turn();
      await entered.promise;
    });
    slow.sync();
    expect(await slow.turn()).toMatchObject({ again: "after" });
    expect(rig.sent).toEqual([]);
    held.resolve();
    await turn;
    expect(rig.sent.map(({ process }) => process)).toEqual(["turnout-1", "turnout-1", "turnout-1"]);
  });

  test("[S8] [S10] what is taken over is claimed anew, above everything that was sent under the old claim", async () => {
    const rig = new ControllerRig({ stages: aWriteOnly });
    const [gone, next] = [rig.process("turnout-0"), rig.process("turnout-1")];
    rig.meanwhile.set("route", [() => new Promise(() => undefined)]);
    gone.sync();
    void gone.turn();
    await rig.clock.advance(seconds(1));
    const old = rig.status();
    expect(old?.stages[0]).toMatchObject({ state: "Running", seq: 1 });
    expect(await next.rest()).toBe("Completed");
    expect(rig.told("route", "Forward").map(({ fence }) => fence)).toEqual([formatFence(old?.epoch ?? 0, 2)]);
  });

  test.each([
    ["while its claim was stored", "claim"],
    ["in the middle of its attempt", "attempt"],
  ])("[S8] a process that slept %s sends nothing for it any more", async (_when, where) => {
    const rig = new ControllerRig({ stages: aWriteOnly });
    const sleep = (): Promise<void> => rig.clock.advance(minutes(1));
    if (where === "claim") rig.kube.before("api/status", 2, sleep);
    else
      rig.meanwhile.set("route", [
        async (goOn) => {
          await sleep();
          return goOn();
        },
      ]);
    expect(await rig.process().rest()).toBe("Completed");
    const { epoch = 0 } = rig.status() ?? {};
    expect(rig.told("route", "Forward").map(({ fence }) => fence)).toEqual([formatFence(epoch, 2)]);
  });
});

describe("people", () => {
  test("[L2] told to roll back while a stage runs, it goes back, whatever the stage waits for", async () => {
    const rig = new ControllerRig({ stages: [...aWriteOnly, ASK] });
    const process = rig.process();
    expect(await process.rest()).toBe("Running");
    rig.control({ rollback: true });
    expect(await process.rest()).toBe("RolledBack");
  });

  test("[S21] told to retry and to roll back, it claims nothing forward any more", async () => {
    const rig = new ControllerRig({ stages: aWriteOnly });
    rig.meanwhile.set("route", [async () => REFUSED]);
    const process = rig.process();
    expect(await process.rest()).toBe("Failed");
    rig.control({ retry: 1, rollback: true });
    expect(await process.rest()).toBe("RolledBack");
    expect(rig.told("route", "Forward")).toEqual([]);
  });

  test("[R25] RolledBack is said once the previous unit was asked, and only if it says so", async () => {
    const rig = new ControllerRig({ stages: [...aWriteOnly, aStage("notify", "tell"), aStage("check", "look"), ASK] });
    const asked: string[] = [];
    rig.meanwhile.set("check", [
      (goOn) => goOn(),
      async (_goOn, { direction }) => {
        asked.push(direction);
        return LATE;
      },
    ]);
    const process = rig.process();
    await process.rest();
    rig.control({ rollback: true });
    expect(await process.rest()).toBe("RollbackFailed");
    expect(asked).toEqual(["Back"]);
    rig.control({ retry: 1 });
    expect(await process.rest()).toBe("RolledBack");
  });

  test("[S28] a failed task keeps its tenant", async () => {
    const rig = new ControllerRig();
    rig.meanwhile.set("route", [async () => REFUSED]);
    expect(await rig.process().rest()).toBe("Failed");
    expect(rig.tenant?.holder?.task).toBe("acme-green");
  });

  test("[S13] made again under its name, a task does not inherit the lock", async () => {
    const rig = new ControllerRig({ stages: [...aWriteOnly, ASK] });
    const process = rig.process();
    await process.rest();
    const before = rig.sent.length;
    rig.kube.apply("switchtasks", { metadata: { name: "acme-green", finalizers: [] }, spec: {} });
    rig.kube.delete("switchtasks", TASK);
    expect(rig.kube.get("switchtasks", TASK)).toBeUndefined();
    rig.create("acme-green", { stages: aWriteOnly });
    expect(await process.rest()).toBe("Pending");
    expect(rig.sent).toHaveLength(before);
  });

  test("[S10] the fences of a tenant grow, also where the task before is deleted", async () => {
    const rig = new ControllerRig({ stages: aWriteOnly }, null);
    const process = rig.process();
    expect(await process.rest()).toBe("Completed");
    rig.kube.delete("switchtasks", TASK);
    await process.rest();
    rig.create("acme-red", { stages: aWriteOnly });
    expect(await process.rest("prod/acme-red")).toBe("Completed");
    const fences = rig.sent.map(({ fence }) => fence);
    expect(fences).toHaveLength(2);
    expect(new Set(fences).size).toBe(2);
    expect(fences).toEqual(fences.toSorted());
  });
});

test("[S18] an approval opens the stage that it names, and no other", async () => {
  const rig = new ControllerRig({ stages: [...aWriteOnly, ASK, aStage("ask-again", "approval")] });
  const process = rig.process();
  expect(await process.rest()).toBe("Running");
  rig.control({ approvals: { ask: { ann: { decision: "Approve", expect: null, comment: "" } } } });
  expect(await process.rest()).toBe("Running");
  expect(rig.status()?.waiting?.reason).toBe("AwaitingApproval");
  expect(rig.status()?.stages.map(({ state }) => state)).toEqual(["Completed", "Completed", "Running"]);
  rig.control({ approvals: { "ask-again": { ann: { decision: "Approve", expect: null, comment: "" } } } });
  expect(await process.rest()).toBe("Completed");
});

const ANN = { ask: { ann: { decision: "Approve", expect: null, comment: "" } } };
test("[SEC-14] an approval that comes in the middle of a turn does not count either while the policies are missing", async () => {
  const rig = new ControllerRig({ stages: [ASK] });
  rig.policiesMissing = true;
  rig.meanwhile.set("ask", [
    async (goOn) => {
      const outcome = await goOn();
      rig.control({ approvals: ANN });
      return outcome;
    },
  ]);
  const process = rig.process();
  process.sync();
  await process.turn();
  process.sync();
  await process.turn();
  expect(rig.status()?.waiting?.reason).toBe("AdmissionPolicyMissing");
});

test("[R49] what is in hand is stored also while nobody can say whether the policies are there", async () => {
  const rig = new ControllerRig({ stages: aWriteOnly });
  const process = rig.process();
  rig.meanwhile.set("route", [
    async (goOn) => {
      const outcome = await goOn();
      rig.control({ skip: { stage: "route", by: "ann", reason: "" }, approvals: ANN });
      return outcome;
    },
  ]);
  const away = { ...process.deps, policiesMissing: () => Promise.reject(new Error("the API server is away")) };
  process.sync();
  const attention = { signal: new AbortController().signal, lane: "continuation", changed: () => NOTHING } as const;
  await reconcileTask(TASK, away, attention).catch(() => undefined);
  expect(rig.status()?.stages[0]).toMatchObject({ name: "route", state: "Completed" });
});
const NOTHING = new Promise<void>(() => undefined);

test("[S19] a wait counts from when its claim was stored, however long the API server took", async () => {
  const rig = new ControllerRig({ stages: [SOAK(minutes(5))] });
  const process = rig.process();
  const { client } = process.deps;
  let claims = 0;
  const slow: typeof client.replaceStatus = async (...args) => {
    const stored = await client.replaceStatus(...args);
    claims += JSON.stringify(stored["status"]).includes('"claim"') ? 1 : 0;
    if (claims === 1) await rig.clock.advance(seconds(2));
    return stored;
  };
  const slowly = new Proxy(client, {
    get: (target, key) => {
      const found: unknown = Reflect.get(target, key);
      if (key === "replaceStatus") return slow;
      return typeof found === "function" ? (found as () => unknown).bind(target) : found;
    },
  });
  process.sync();
  const attention = { signal: new AbortController().signal, lane: "continuation", changed: () => NOTHING } as const;
  expect(await reconcileTask(TASK, { ...process.deps, client: slowly }, attention)).toMatchObject({ again: "after" });
  await rig.clock.advance(seconds(299));
  rig.control({ paused: false });
  process.sync();
  expect(await process.turn()).toEqual({ again: "after", after: seconds(1) });
});

test("[S19] a wait ends by monotonic time, whatever the local wall clock says meanwhile", async () => {
  const rig = new ControllerRig({ stages: [SOAK(minutes(5))] });
  const process = rig.process();
  process.sync();
  expect(await process.turn()).toEqual({ again: "after", after: minutes(5) });
  rig.clock.step(minutes(10));
  await rig.clock.advance(seconds(1));
  expect(await process.turn()).toEqual({ again: "after", after: minutes(5) - seconds(1) });
  await rig.clock.advance(minutes(5));
  expect(await process.rest()).toBe("Completed");
});
