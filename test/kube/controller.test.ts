import { describe, expect, test } from "vitest";

import {
  type Attention,
  type Controller,
  type Next,
  type Reconcile,
  type Result,
  runController,
} from "../../src/kube/controller.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { KubeLog } from "../../src/kube/log.ts";
import { openWorkqueue, type Workqueue } from "../../src/kube/workqueue.ts";
import type { Rng } from "../../src/lib/seams.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NEVER: Next = { again: "never" };
const ASKED = { verb: "update", resource: "widgets.example.dev", target: "ns/a" } as const;
const quiet: KubeLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** Full jitter at its upper end: waits are as long as they get. */
const latest: Rng = { float: () => 1 - Number.EPSILON, id: () => "" };

interface Rig extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly queue: Workqueue;
  readonly controller: Controller;
  readonly results: Result[];
  /** What each run of a key was, in order: `key@time`. */
  readonly runs: string[];
}

function run(
  reconcile: Reconcile,
  { workers = 4, log = quiet, onResult }: Partial<{ workers: number; log: KubeLog; onResult: () => void }> = {},
): Rig {
  const clock = new ManualClock();
  const queue = openWorkqueue({ clock });
  const results: Result[] = [];
  const runs: string[] = [];
  const controller = runController({
    name: "widgets",
    queue,
    workers,
    reconcile: (key, attention) => {
      runs.push(`${key}@${clock.monotonic() / 1000}`);
      return reconcile(key, attention);
    },
    clock,
    rng: latest,
    log,
    onResult: (result) => {
      results.push(result);
      onResult?.();
    },
  });
  return { clock, queue, controller, results, runs, [Symbol.asyncDispose]: () => controller.stop() };
}

describe("what a run asks for", () => {
  test.each<readonly [string, Next, readonly string[]]>([
    ["never: nothing more", { again: "never" }, ["ns/a@0"]],
    ["after 5 s: then", { again: "after", after: seconds(5) }, ["ns/a@0", "ns/a@5"]],
    ["now: at once", { again: "now", lane: "continuation" }, ["ns/a@0", "ns/a@0"]],
  ])("%s", async (_says, next, expected) => {
    let asked = 0;
    await using rig = run(async () => ((asked += 1) === 1 ? next : NEVER));
    rig.queue.add("ns/a", "user");
    await rig.clock.advance(minutes(1));
    expect(rig.runs).toEqual(expected);
    expect(rig.results.map(({ outcome }) => outcome)).toEqual(expected.map(() => "done"));
  });
});

describe("[S24] a throw concerns its key alone", () => {
  test("the key backs off, twice as long each time, and others are not kept waiting", async () => {
    await using rig = run(
      async (key) => {
        if (key === "ns/bad") throw new Error("poison");
        return NEVER;
      },
      { workers: 1 },
    );
    rig.queue.add("ns/bad", "user");
    rig.queue.add("ns/good", "user");
    await rig.clock.advance(seconds(3));
    expect(rig.runs).toEqual(["ns/bad@0", "ns/good@0", "ns/bad@1", "ns/bad@3"]);
    rig.queue.add("ns/good", "user");
    await rig.clock.advance(seconds(1));
    expect(rig.runs.at(-1)).toBe("ns/good@3");
  });

  test("[SEC-42] after three throws in a row it is quarantined, for ten minutes at most, and reported", async () => {
    await using rig = run(async () => Promise.reject(new Error("poison")));
    rig.queue.add("ns/bad", "user");
    await rig.clock.advance(minutes(60));
    const at = rig.runs.map((text) => Number(text.split("@")[1]));
    expect(at.slice(0, 7)).toEqual([0, 1, 3, 63, 183, 423, 903]);
    const waits = at.slice(1).map((time, i) => time - (at[i] ?? 0));
    expect(Math.max(...waits)).toBe(600);
    expect(rig.results.slice(0, 4).map(({ outcome, failures }) => [outcome, failures])).toEqual([
      ["failed", 1],
      ["failed", 2],
      ["quarantined", 3],
      ["quarantined", 4],
    ]);
    expect(String(rig.results[0]?.error)).toBe("Error: poison");
  });

  test("[L10] a quarantined key that changes is tried at once, and one good run clears its record", async () => {
    let isCorrected = false;
    await using rig = run(async () => {
      if (!isCorrected) throw new Error("poison");
      return NEVER;
    });
    rig.queue.add("ns/bad", "user");
    await rig.clock.advance(seconds(4));
    isCorrected = true;
    rig.queue.add("ns/bad", "user");
    await rig.clock.advance(millisOf(0));
    expect(rig.results.at(-1)).toMatchObject({ outcome: "done", failures: 0 });
    expect(rig.runs.at(-1)).toBe("ns/bad@4");
    isCorrected = false;
    rig.queue.add("ns/bad", "user");
    await rig.clock.advance(millisOf(0));
    expect(rig.results.at(-1)).toMatchObject({ outcome: "failed", failures: 1 });
  });

  test.each(["Refused", "Ambiguous", "Throttled", "Unauthorized", "BadAnswer"] as const)(
    "[kube-apiserver/down] [L1] an API server that takes no requests (%s) is no failure of the object: tried every ten seconds, for ever",
    async (kind) => {
      let isAway = true;
      await using rig = run(async () => {
        if (isAway) throw new KubeError(ASKED, { kind, status: null, reason: "ECONNREFUSED" });
        return NEVER;
      });
      rig.queue.add("ns/a", "user");
      await rig.clock.advance(minutes(20));
      const at = rig.runs.map((text) => Number(text.split("@")[1]));
      expect(at.slice(0, 7)).toEqual([0, 1, 3, 7, 15, 25, 35]);
      expect(new Set(rig.results.map(({ outcome, failures }) => `${outcome} ${failures}`))).toEqual(
        new Set(["unavailable 0"]),
      );
      isAway = false;
      await rig.clock.advance(seconds(10));
      expect(rig.results.at(-1)).toMatchObject({ outcome: "done", failures: 0 });
    },
  );

  test("[kube-apiserver/denied] a refusal is logged with its verb, resource and the API server's words", async () => {
    const said: string[] = [];
    const log: KubeLog = { ...quiet, error: (_fields, text) => void said.push(text) };
    const answered = { kind: "Forbidden", status: 403, reason: "Forbidden", says: "no such right" } as const;
    await using rig = run(async () => Promise.reject(new KubeError(ASKED, answered)), { log });
    rig.queue.add("ns/a", "user");
    await rig.clock.advance(millisOf(0));
    expect(said).toEqual([
      "ns/a: reconcile failed (failed): update widgets.example.dev ns/a: Forbidden (403 Forbidden): no such right",
    ]);
  });

  test("[kube-apiserver/busy] Retry-After is kept, up to a minute", async () => {
    const asked = [seconds(20), minutes(5)];
    await using rig = run(async () => {
      const retryAfter = asked.shift();
      if (retryAfter !== undefined)
        throw new KubeError(ASKED, { kind: "Throttled", status: 429, reason: null, retryAfter });
      return NEVER;
    });
    rig.queue.add("ns/a", "user");
    await rig.clock.advance(minutes(6));
    expect(rig.runs).toEqual(["ns/a@0", "ns/a@20", "ns/a@80"]);
  });

  test("neither a synchronous throw, nor a log or a listener that throws, ends a worker", async () => {
    const fails = (): never => {
      throw new Error("no");
    };
    await using rig = run(fails, { workers: 1, log: { info: fails, warn: fails, error: fails }, onResult: fails });
    for (let i = 0; i < 20; i += 1) rig.queue.add(`ns/${i}`, "user");
    await rig.clock.advance(millisOf(0));
    expect(rig.runs).toHaveLength(20);
    expect(rig.results).toHaveLength(20);
  });
});

describe("workers", () => {
  const held = (): { reconcile: Reconcile; release: () => void; seen: { most: number } } => {
    const waiting: (() => void)[] = [];
    let [active, isOpen] = [0, false];
    const seen = { most: 0 };
    return {
      seen,
      release: () => {
        isOpen = true;
        for (const go of waiting.splice(0)) go();
      },
      reconcile: async () => {
        active += 1;
        seen.most = Math.max(seen.most, active);
        if (!isOpen) await new Promise<void>((resolve) => waiting.push(resolve));
        active -= 1;
        return NEVER;
      },
    };
  };

  test("no more keys are worked on than there are workers, and their number may change", async () => {
    const work = held();
    await using rig = run(work.reconcile, { workers: 2 });
    for (let i = 0; i < 10; i += 1) rig.queue.add(`ns/${i}`, "user");
    await rig.clock.advance(millisOf(0));
    expect([work.seen.most, rig.controller.active, rig.controller.workers]).toEqual([2, 2, 2]);
    rig.controller.workers = 5;
    await rig.clock.advance(millisOf(0));
    expect(rig.controller.active).toBe(5);
    rig.controller.workers = 1;
    work.release();
    await rig.clock.advance(millisOf(0));
    expect([rig.runs.length, rig.controller.active, work.seen.most]).toEqual([10, 0, 5]);
  });

  test("stopping takes no further key, aborts those that run and waits for them", async () => {
    const ended: string[] = [];
    await using rig = run(
      async (key, { signal }: Attention) => {
        await rig.clock.sleep(minutes(5), signal).catch(() => undefined);
        ended.push(key);
        return NEVER;
      },
      { workers: 2 },
    );
    for (const key of ["ns/a", "ns/b", "ns/c"]) rig.queue.add(key, "user");
    await rig.clock.advance(millisOf(0));
    await rig.controller.stop();
    expect([ended, rig.queue.depth()]).toEqual([["ns/a", "ns/b"], 1]);
  });

  test("what the stop cut short is queued for whoever runs on the queue next, and was no failure of the object", async () => {
    await using rig = run(
      async (_key, { signal }) => {
        await rig.clock.sleep(minutes(5), signal);
        return NEVER;
      },
      { workers: 1 },
    );
    rig.queue.add("ns/a", "user");
    await rig.clock.advance(millisOf(0));
    rig.controller.workers = 2;
    await rig.clock.advance(millisOf(0));
    rig.queue.add("ns/b", "user"); // handed to the dispatcher that was waiting, in the moment of the stop
    await rig.controller.stop();
    expect(rig.queue.depth()).toBe(2);
    expect(rig.results.map(({ outcome, failures }) => [outcome, failures])).toEqual([["stopped", 0]]);
  });
});

describe("attention", () => {
  test("a run sees each change of its key once, whether it waits for it or comes later", async () => {
    const seen: string[] = [];
    await using rig = run(async (_key, { changed, lane }) => {
      if (seen.length > 0) return NEVER;
      seen.push(lane);
      await changed();
      seen.push("first");
      await rig.clock.sleep(seconds(1));
      await changed();
      seen.push("second");
      const waits = changed();
      expect(changed()).toBe(waits);
      await waits;
      seen.push("third");
      return NEVER;
    });
    rig.queue.add("ns/a", "user");
    await rig.clock.advance(millisOf(0));
    rig.queue.add("ns/a", "continuation");
    await rig.clock.advance(millisOf(0));
    expect(seen).toEqual(["user", "first"]);
    rig.queue.add("ns/a", "continuation"); // while the run is busy with something else
    rig.queue.add("ns/a", "continuation");
    await rig.clock.advance(seconds(1));
    expect(seen).toEqual(["user", "first", "second"]);
    rig.queue.add("ns/a", "continuation");
    await rig.clock.advance(millisOf(0));
    expect(seen).toEqual(["user", "first", "second", "third"]);
    expect(rig.runs).toHaveLength(2);
  });
});
