import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Effect } from "../../src/domain/plan.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { STAGES, type StageKindName } from "../../src/stages/registry.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { type EffectRig, openStage, type QuietRig } from "../support/stage-rig.ts";
import { httpRig, noRedis, openReceiver, type Receivers, verifyRig } from "../support/stage-rig-http.ts";
import { redisRig } from "../support/stage-rig-redis.ts";

let receiver: Receivers;
beforeAll(async () => {
  receiver = await openReceiver();
});
afterAll(() => receiver[Symbol.asyncDispose]());

interface EffectRigs {
  readonly changes: Readonly<Record<string, () => Promise<EffectRig>>>;
}
interface QuietRigs {
  readonly looks: () => Promise<QuietRig>;
}

/** A kind without a rig does not compile. */
const RIGS: Readonly<Record<StageKindName, EffectRigs | QuietRigs>> = {
  http: {
    changes: { "http announce": () => httpRig(receiver, "Announce"), "http write": () => httpRig(receiver, "Write") },
  },
  redis: { changes: { "redis hash": () => redisRig("hash"), "redis string": () => redisRig("string") } },
  verify: { looks: () => verifyRig(receiver) },
  wait: { looks: () => gateRig("wait", { duration: "1h" }) },
  approval: { looks: () => gateRig("approval", { quorum: 1 }) },
};

async function gateRig(kind: StageKindName, config: Readonly<Record<string, string | number>>): Promise<QuietRig> {
  const ports = { http: REFUSES_ALL, redis: noRedis() };
  const stage = openStage({ kind, config, ports, endpoints: [], tenantId: "acme" });
  return { stage, state: async () => "", [Symbol.asyncDispose]: async () => undefined };
}

const REFUSES_ALL = {
  send: () => Promise.reject(new Error("a gate calls nobody")),
  refusal: () => null,
  close: async () => undefined,
};

const CHANGING = Object.values(RIGS).flatMap((rigs) => ("changes" in rigs ? Object.entries(rigs.changes) : []));
const QUIET = Object.entries(RIGS).flatMap(([kind, rigs]) => ("looks" in rigs ? [[kind, rigs.looks] as const] : []));

describe("the registry", () => {
  test("each kind's rig is of the kind's own effect", () => {
    const effects = (kind: string): readonly Effect[] => {
      const configs = kind === "http" ? [{}, { effect: "Write" }] : [{}];
      return configs.map((config) => effectOf(kind, config));
    };
    for (const [kind, rigs] of Object.entries(RIGS)) {
      const wanted = "changes" in rigs ? ["announce", "write"] : ["read", "gate"];
      expect(wanted).toEqual(expect.arrayContaining([...effects(kind)]));
    }
    expect(CHANGING).toHaveLength(4);
    expect(QUIET).toHaveLength(3);
  });
});

function effectOf(name: string, config: Readonly<Record<string, string>>): Effect {
  const needed: Readonly<Record<string, object>> = {
    http: { endpoint: "x" },
    redis: { endpoint: "x", key: "k", string: { value: "" } },
    verify: { endpoint: "x" },
    wait: { duration: "1s" },
    approval: {},
  };
  const kind = Object.values(STAGES).find((one) => one.kind === name);
  if (kind === undefined) throw new Error(`no kind ${name}`);
  return kind.effect({ ...needed[name], ...config });
}

const done = { is: "done" };
const seen = (is: "fenced" | "diverged", seq: number): object => ({
  is,
  fault: { code: is === "fenced" ? "Fenced" : "Diverged", message: expect.stringContaining(fenceOf(seq)) as string },
});
/** First claim of a task: nothing above claim 1 is known of the tenant. */
const FIRST = { seq: 10, base: 1 } as const;

describe.each(CHANGING)("%s", (_name, open) => {
  test("a run takes effect once and leaves its fence", async () => {
    await using rig = await open();
    expect(await rig.state()).toBe(rig.before);
    expect(await rig.stage.run(FIRST)).toMatchObject(done);
    expect(await rig.state()).toBe(rig.after);
    expect(await rig.effects()).toBe(1);
    expect(await rig.fence()).toBe(fenceOf(10));
  });

  test("[R49] the same operation again, under the same or a later claim, has no second effect", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    expect(await rig.stage.run(FIRST)).toMatchObject(done);
    expect(await rig.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await rig.effects()).toBe(1);
    expect(await rig.state()).toBe(rig.after);
    expect(await rig.fence()).toBe(fenceOf(11));
  });

  test("[S10] a lower fence is refused, whoever's it is", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    const fence = await rig.fence();
    expect(await rig.stage.run({ seq: 9, base: 1, opId: "other" })).toMatchObject(seen("fenced", 10));
    expect(await rig.stage.run({ seq: 9, base: 1 })).toMatchObject(seen("fenced", 10));
    expect(await rig.stage.undo({ seq: 9, base: 1 })).toMatchObject(seen("fenced", 10));
    expect(await rig.fence()).toBe(fence);
    expect(await rig.state()).toBe(rig.after);
  });

  test("[S30] a fence that was seen above base is a history that nobody knows: Diverged", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    expect(await rig.stage.run({ seq: 12, base: 9, opId: "other" })).toMatchObject(seen("diverged", 10));
    expect(await rig.stage.run({ seq: 12, base: 9 })).toMatchObject(seen("diverged", 10));
    expect(await rig.stage.undo({ seq: 12, base: 9 })).toMatchObject(seen("diverged", 10));
    expect(await rig.fence()).toBe(fenceOf(10));
    expect(await rig.state()).toBe(rig.after);
  });

  test("[S30] an equal fence of another operation is Diverged", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    expect(await rig.stage.run({ ...FIRST, opId: "other" })).toMatchObject(seen("diverged", 10));
    expect(await rig.stage.undo(FIRST)).toMatchObject(seen("diverged", 10));
    expect(await rig.state()).toBe(rig.after);
  });

  test("[S7] an undo puts back what was before, and leaves its fence", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    expect(await rig.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await rig.state()).toBe(rig.before);
    expect((await rig.fence()) ?? "").toMatch(/-0000002[01]$/);
  });

  test("undo twice is undo once, under the same and under a later claim", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    for (const [i, part] of rig.stage.parts.entries()) {
      const claim = { seq: 20 + i, base: i === 0 ? 10 : 20 };
      expect(await rig.stage.undoPart(part, claim)).toMatchObject(done);
      expect(await rig.stage.undoPart(part, claim)).toMatchObject(done);
    }
    expect(await rig.stage.undo({ seq: 30, base: 21, settled: true })).toMatchObject(done);
    expect(await rig.state()).toBe(rig.before);
  });

  test("[S8] an undo of what never ran changes nothing and still writes the fence", async () => {
    await using rig = await open();
    expect(await rig.stage.undo({ seq: 20, base: 1 })).toMatchObject(done);
    expect(await rig.state()).toBe(rig.before);
    expect((await rig.fence()) ?? "").toMatch(/-0000002[01]$/);
    expect(await rig.stage.run(FIRST)).toMatchObject({ is: "fenced" });
    expect(await rig.state()).toBe(rig.before);
  });

  test("[S8] a delayed original cannot land after its undo", async () => {
    await using rig = await open();
    const original = await rig.delay(FIRST);
    expect(await rig.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await original.deliver()).toMatchObject({ is: "fenced" });
    expect(await rig.state()).toBe(rig.before);
  });

  test("[S8] a delayed first attempt cannot land after a later one and its undo", async () => {
    await using rig = await open();
    const original = await rig.delay(FIRST);
    await rig.stage.run({ seq: 11 });
    await rig.stage.undo({ seq: 20, base: 11 });
    expect(await original.deliver()).toMatchObject({ is: "fenced" });
    expect(await rig.state()).toBe(rig.before);
    expect(await rig.effects()).toBe(1);
  });

  test("[S26] a probe says in-force with our operation, under a later claim too", async () => {
    await using rig = await open();
    await rig.stage.run(FIRST);
    expect(await rig.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
  });

  test("[S26] a probe says not-in-force where nothing of ours arrived", async () => {
    await using rig = await open();
    expect(await rig.stage.probe({ seq: 11, base: 10 })).toEqual({ is: "not-in-force" });
  });

  test("[S26] a probe says foreign where somebody else's operation is in force", async () => {
    await using rig = await open();
    await rig.takenByOthers();
    expect(await rig.stage.probe({ seq: 11, base: 8 })).toMatchObject({ is: "foreign" });
  });

  test("[S26] a probe says unreadable where nobody answers", async () => {
    await using rig = await open();
    await rig.unreadable();
    expect(await rig.stage.probe({ seq: 11, base: 10 })).toMatchObject({ is: "unreadable" });
  });

  test("a probe changes nothing", async () => {
    await using rig = await open();
    const fence = await rig.fence();
    await rig.stage.probe({ seq: 30, base: 29 });
    expect(await rig.fence()).toBe(fence);
    expect(await rig.state()).toBe(rig.before);
  });

  test("[S11] after the claim's time nothing is sent", async () => {
    await using rig = await open();
    const expired = { alive: () => false };
    const refused = { is: "retryable", fault: { code: "ClaimExpired" } };
    expect(await rig.stage.run({ ...FIRST, ...expired })).toMatchObject(refused);
    expect(await rig.stage.undo({ ...FIRST, ...expired })).toMatchObject(refused);
    expect(rig.arrived()).toBe(0);
  });

  test("aborted before it was sent, it is known not to have happened", async () => {
    await using rig = await open();
    const signal = AbortSignal.abort(new Error("over"));
    expect(await rig.stage.run({ ...FIRST, signal, alive: () => true })).toMatchObject({ is: "retryable" });
    expect(await rig.state()).toBe(rig.before);
  });

  test("[S26] aborted after it was sent, nobody knows", async () => {
    await using rig = await open();
    await rig.loseAnswers();
    const end = new AbortController();
    const running = rig.stage.run({ ...FIRST, timeout: seconds(30), signal: end.signal });
    await until(rig.effects, (count) => count === 1);
    end.abort();
    expect(await running).toMatchObject({ is: "unknown" });
  });

  test("[S26] without an answer in time nobody knows; afterwards a repeat has one effect", async () => {
    await using rig = await open();
    await rig.loseAnswers();
    expect(await rig.stage.run({ ...FIRST, timeout: millisOf(400) })).toMatchObject({ is: "unknown" });
    rig.mend();
    expect(await rig.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
    expect(await rig.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await rig.effects()).toBe(1);
  });

  test("where nobody listens it may be tried again", async () => {
    await using rig = await open();
    await rig.down();
    expect(await rig.stage.run(FIRST)).toMatchObject({ is: "retryable", fault: { code: "ConnectRefused" } });
    expect(await rig.state()).toBe(rig.before);
  });
});

describe.each(QUIET)("%s", (_kind, open) => {
  test("changes nothing and fences nothing, whatever it is asked", async () => {
    await using rig = await open();
    const before = await rig.state();
    await rig.stage.run(FIRST);
    await rig.stage.undo({ seq: 20, base: 10 });
    expect(await rig.state()).toBe(before);
  });

  test("has nothing to undo", async () => {
    await using rig = await open();
    expect(await rig.stage.kind.undo(rig.stage.call("Back", "verify", { seq: 20 }))).toEqual({
      is: "done",
      outputs: {},
    });
  });

  test("cannot say what is in force", async () => {
    await using rig = await open();
    expect(await rig.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "OutcomeUnknown" } });
  });

  test("needs no fence: it starts again under any claim", async () => {
    await using rig = await open();
    const first = await rig.stage.run({ seq: 10 });
    expect(await rig.stage.run({ seq: 3, base: null, opId: "other" })).toEqual(first);
  });
});
