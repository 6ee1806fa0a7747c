import { describe, expect, test } from "vitest";

import type { Controller } from "../../src/kube/controller.ts";
import type { Election, Term } from "../../src/kube/lease.ts";
import { type ManagerOptions, runManager } from "../../src/kube/manager.ts";
import type { Reflector } from "../../src/kube/reflector.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { WIDGETS } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";

const NOW = millisOf(0);

interface Rig {
  readonly clock: ManualClock;
  readonly did: string[];
  readonly stop: AbortController;
  readonly warnings: string[];
  readonly run: Promise<void>;
  sync(): void;
  lead(): AbortController;
}

function start(
  about: { readonly elects?: boolean; readonly stopTakes?: number; readonly options?: Partial<ManagerOptions> } = {},
): Rig {
  const clock = new ManualClock();
  const [did, warnings]: [string[], string[]] = [[], []];
  const stop = new AbortController();
  const synced = Promise.withResolvers<void>();
  const reflector = (name: string): Reflector => ({
    resource: WIDGETS,
    isSynced: false,
    whenSynced: (signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
        void synced.promise.then(resolve);
      }),
    age: () => NOW,
    counts: { stale: 0, unreadable: 0, failures: 0, relists: 0 },
    close: async () => void did.push(`close ${name}`),
  });
  const controller = (name: string): Controller => ({
    name,
    workers: 1,
    active: 0,
    stop: async () => {
      did.push(`stop ${name}`);
      await clock.sleep(millisOf(about.stopTakes ?? 0));
      did.push(`ended ${name}`);
    },
  });
  const terms: Term[] = [];
  let won: ((term: Term) => void) | null = null;
  const election: Election = {
    identity: "a",
    isLeader: false,
    observedHolder: null,
    hasEnded: () => false,
    campaign: (signal) => {
      did.push("campaign");
      return new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error));
        const term = terms.shift();
        if (term === undefined) won = resolve;
        else resolve(term);
      });
    },
  };
  const run = runManager(
    {
      reflectors: [reflector("r1"), reflector("r2")],
      election: about.elects === false ? null : election,
      start: () => {
        did.push("start");
        return [controller("c1"), controller("c2")];
      },
      settle: async () => void did.push("settle"),
      clock,
      log: { info: () => undefined, warn: (_fields, text) => warnings.push(text), error: () => undefined },
      stopWithin: seconds(10),
      ...about.options,
    },
    stop.signal,
  );
  const lead = (): AbortController => {
    const lost = new AbortController();
    const term: Term = { lost: lost.signal, release: async () => void did.push("release") };
    if (won === null) terms.push(term);
    else won(term);
    won = null;
    return lost;
  };
  return { clock, did, stop, warnings, run, sync: () => synced.resolve(), lead };
}

describe("the order", () => {
  test("caches, leadership, controllers; and back in reverse", async () => {
    const rig = start();
    await rig.clock.advance(NOW);
    expect(rig.did).toEqual([]);
    rig.sync();
    await rig.clock.advance(NOW);
    expect(rig.did).toEqual(["campaign"]);
    rig.lead();
    await rig.clock.advance(NOW);
    rig.stop.abort();
    await rig.clock.advance(NOW);
    await rig.run;
    expect(rig.did).toEqual([
      "campaign",
      "start",
      "stop c2",
      "stop c1",
      "ended c2",
      "ended c1",
      "settle",
      "release",
      "close r2",
      "close r1",
    ]);
  });

  test("without an election controllers start as soon as the caches are complete", async () => {
    const rig = start({ elects: false });
    rig.sync();
    await rig.clock.advance(NOW);
    rig.stop.abort();
    await rig.clock.advance(NOW);
    await rig.run;
    expect(rig.did).toEqual(["start", "stop c2", "stop c1", "ended c2", "ended c1", "settle", "close r2", "close r1"]);
  });
});

test("a lost lease stops the controllers, and the next term starts them again on warm caches", async () => {
  const rig = start();
  rig.sync();
  const lost = rig.lead();
  await rig.clock.advance(NOW);
  lost.abort();
  await rig.clock.advance(NOW);
  rig.lead();
  await rig.clock.advance(NOW);
  expect(rig.did).toEqual([
    "campaign",
    "start",
    "stop c2",
    "stop c1",
    "ended c2",
    "ended c1",
    "settle",
    "release",
    "campaign",
    "start",
  ]);
  rig.stop.abort();
  await rig.clock.advance(NOW);
  await rig.run;
});

test.each([
  ["before the caches are complete", () => undefined, []],
  ["while it campaigns", (rig: Rig) => rig.sync(), ["campaign"]],
])("stopped %s it ends, and closes what was opened", async (_when, before, did) => {
  const rig = start();
  before(rig);
  await rig.clock.advance(NOW);
  rig.stop.abort();
  await rig.run;
  expect(rig.did).toEqual([...did, "close r2", "close r1"]);
});

test("what controllers are at ends before the lease is given free", async () => {
  const rig = start({ stopTakes: 3000 });
  rig.sync();
  rig.lead();
  await rig.clock.advance(NOW);
  rig.stop.abort();
  await rig.clock.advance(millisOf(2999));
  expect(rig.did).toEqual(["campaign", "start", "stop c2", "stop c1"]);
  await rig.clock.advance(millisOf(1));
  await rig.run;
  expect([rig.did.slice(4), rig.warnings]).toEqual([
    ["ended c2", "ended c1", "settle", "release", "close r2", "close r1"],
    [],
  ]);
});

test("controllers that do not end in time are left, said so, and the lease is given free all the same", async () => {
  const rig = start({ stopTakes: 60_000 });
  rig.sync();
  rig.lead();
  await rig.clock.advance(NOW);
  rig.stop.abort();
  await rig.clock.advance(seconds(10));
  await rig.run;
  expect(rig.warnings).toEqual([expect.stringContaining("did not end in time")]);
  expect(rig.did.slice(-4)).toEqual(["settle", "release", "close r2", "close r1"]);
});

test("what cannot start is thrown, after everything was closed", async () => {
  const options = {
    start: () => {
      throw new Error("no such stage kind");
    },
  };
  const rig = start({ options });
  rig.sync();
  rig.lead();
  await expect(rig.run).rejects.toThrow("no such stage kind");
  expect(rig.did).toEqual(["campaign", "release", "close r2", "close r1"]);
});
