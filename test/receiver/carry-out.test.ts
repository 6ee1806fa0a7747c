import { describe, expect, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { carryOut, type CarryOutDeps } from "../../src/receiver/carry-out.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { watchOthersTurns } from "../../src/receiver/others-turns.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import { viewOf } from "../../src/receiver/verdict.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { anOperation, TENANT } from "../support/receiver-build.ts";
import { FAULTS, openWorld, sayEnding } from "../support/receiver-world.ts";

const forever = new AbortController().signal;

describe("an operation", () => {
  test("is applied once, with the claim it came under, and answered from memory afterwards", async () => {
    const { run, effects } = openWorld();
    expect(sayEnding(await run(anOperation({ seq: 5 })))).toBe("applied 5");
    expect(sayEnding(await run(anOperation({ seq: 5 })))).toBe("repeated 5");
    expect(sayEnding(await run(anOperation({ seq: 8, base: 5 })))).toBe("repeated 8");
    expect(effects).toEqual([{ seq: 5, opId: "op", version: 42 }]);
  });

  test("[S10] the fence of a repeat without effect is stored", async () => {
    const { run } = openWorld();
    await run(anOperation({ seq: 5 }));
    await run(anOperation({ seq: 8, base: 5 }));
    expect(sayEnding(await run(anOperation({ seq: 7, base: 5, opId: "other" })))).toBe("Fenced 8");
  });

  test("a signal that is aborted before its turn has no effect", async () => {
    const { disk, effects, clock } = openWorld();
    const apply = async (): Promise<void> => void effects.push({ seq: 0, opId: "", version: 0 });
    const others = watchOthersTurns(seconds(10), 10, clock);
    const ending = await carryOut(anOperation(), { store: disk, apply, clock, others }, AbortSignal.abort());
    expect(sayEnding(ending)).toBe("ApplyFailed");
    expect(effects).toEqual([]);
  });
});

/** What came of claim 5 where it met the fault, and what a probe is told: in force, the claim's fence, unfinished. */
const AFTER: Readonly<Record<string, readonly [ending: string, effects: number, view: string]>> = {
  "load before death": ["died", 0, "nothing"],
  "load after death": ["died", 0, "nothing"],
  "begin before death": ["died", 0, "nothing"],
  "begin after death": ["died", 0, "fence 5"],
  "apply before death": ["died", 0, "fence 5"],
  "apply after death": ["died", 1, "fence 5"],
  "settle before death": ["died", 1, "fence 5"],
  "settle after death": ["died", 1, "op in force"],
  "load before error": ["StoreUnavailable", 0, "nothing"],
  "load after error": ["StoreUnavailable", 0, "nothing"],
  "begin before error": ["StoreUnavailable", 0, "nothing"],
  "begin after error": ["StoreUnavailable", 0, "fence 5"],
  "apply before error": ["ApplyFailed", 0, "fence 5"],
  "apply after error": ["ApplyFailed", 1, "fence 5"],
  "settle before error": ["StoreFailed", 1, "fence 5"],
  "settle after error": ["StoreFailed", 1, "op in force"],
};

test("no fault is lost", () => expect(FAULTS).toHaveLength(Object.keys(AFTER).length));

describe.each(FAULTS)("[S8] [S26] $as $position $at", (fault) => {
  const expected = AFTER[`${fault.at} ${fault.position} ${fault.as}`];
  const struck = async () => {
    const world = openWorld();
    const ending = sayEnding(await world.run(anOperation({ seq: 5 }), fault));
    return { ...world, ending };
  };

  test("leaves nothing, or a fence and a doubt, or the operation in force", async () => {
    const { disk, effects, ending } = await struck();
    const record = await disk.load(TENANT);
    const view = record === null ? null : viewOf(record);
    const said = view === null ? (record === null ? "nothing" : "fence 5") : `${view.opId} in force`;
    expect([ending, effects.length, said]).toEqual(expected);
  });

  test("once an effect may have happened, nothing older is accepted", async () => {
    const { run, effects } = await struck();
    const happened = effects.length;
    const original = sayEnding(await run(anOperation({ seq: 4, opId: "older" })));
    expect(happened === 0 || original === "Fenced 5").toBe(true);
    expect(effects.slice(happened).every(({ seq }) => happened === 0 || seq >= 5)).toBe(true);
  });

  test("the next claim of the operation brings it into force, with one more effect unless it is there already", async () => {
    const { run, effects, disk } = await struck();
    const again = sayEnding(await run(anOperation({ seq: 6 })));
    expect(again).toBe(expected?.[2] === "op in force" ? "repeated 6" : "applied 6");
    expect(effects.at(-1)?.opId).toBe("op");
    expect((await disk.load(TENANT))?.inForce?.opId).toBe("op");
  });

  test("an undo takes force over it, and the original cannot land any more", async () => {
    const { run, effects } = await struck();
    expect(sayEnding(await run(anOperation({ seq: 6, opId: "undo", version: 41 })))).toBe("applied 6");
    expect(sayEnding(await run(anOperation({ seq: 5 })))).toBe("Fenced 6");
    expect(effects.at(-1)).toEqual({ seq: 6, opId: "undo", version: 41 });
  });
});

describe("processes that share a store", () => {
  function twoProcesses() {
    const clock = new ManualClock();
    const disk: ReceiverStore = { ...openMemoryStore(), shared: true };
    const held = Promise.withResolvers<void>();
    const effects: string[] = [];
    const process = (name: string, hold: Promise<void>): CarryOutDeps => ({
      store: disk,
      clock,
      others: watchOthersTurns(seconds(10), 10, clock),
      apply: async (_configuration, { opId }) => {
        await hold;
        effects.push(`${name} ${opId}`);
      },
    });
    return { clock, disk, held, effects, a: process("a", held.promise), b: process("b", Promise.resolve()) };
  }

  test("[S8] an undo waits until the operation that another process runs has ended", async () => {
    const { clock, held, effects, a, b } = twoProcesses();
    const original = carryOut(anOperation({ seq: 5 }), a, forever);
    await clock.advance(seconds(1));
    const undo = anOperation({ seq: 6, opId: "undo" });
    expect(sayEnding(await carryOut(undo, b, forever))).toBe("Busy");
    held.resolve();
    expect(sayEnding(await original)).toBe("applied 5");
    expect(sayEnding(await carryOut(undo, b, forever))).toBe("applied 6");
    expect(effects).toEqual(["a op", "b undo"]);
  });

  test("one that died is given up after the lease, and what it still stores is refused", async () => {
    const { clock, held, a, b, disk } = twoProcesses();
    const original = carryOut(anOperation({ seq: 5 }), a, forever);
    await clock.advance(seconds(1));
    const undo = anOperation({ seq: 6, opId: "undo" });
    expect(sayEnding(await carryOut(undo, b, forever))).toBe("Busy");
    await clock.advance(seconds(10));
    expect(sayEnding(await carryOut(undo, b, forever))).toBe("applied 6");
    held.resolve();
    expect(sayEnding(await original)).toBe("Fenced 6");
    expect((await disk.load(TENANT))?.inForce?.opId).toBe("undo");
  });

  test("what was written in between is judged again", async () => {
    const { a, disk } = twoProcesses();
    let other: Promise<unknown> | null = null;
    const raced: ReceiverStore = {
      ...disk,
      load: async (tenant) => {
        const record = await disk.load(tenant);
        other ??= carryOut(anOperation({ seq: 9, opId: "faster" }), { ...a, apply: async () => undefined }, forever);
        await other;
        return record;
      },
    };
    expect(sayEnding(await carryOut(anOperation({ seq: 5 }), { ...a, store: raced }, forever))).toBe("Fenced 9");
  });

  test("a store that changes under every look is given up after four", async () => {
    const { a, disk } = twoProcesses();
    let looks = 0;
    const restless: ReceiverStore = {
      ...disk,
      load: (tenant) => {
        looks += 1;
        return disk.load(tenant);
      },
      save: async () => "changed",
    };
    expect(sayEnding(await carryOut(anOperation(), { ...a, store: restless }, forever))).toBe("Busy");
    expect(looks).toBe(4);
  });

  test("our own operation that could not be settled is not waited for", async () => {
    const { b, disk } = twoProcesses();
    let broken = true;
    const store: ReceiverStore = {
      ...disk,
      save: async (tenant, next) => {
        if (next.unsettled === "no" && broken) throw new Error("the connection is gone");
        return disk.save(tenant, next);
      },
    };
    const deps = { ...b, store };
    expect(sayEnding(await carryOut(anOperation({ seq: 5 }), deps, forever))).toBe("StoreFailed");
    broken = false;
    expect(sayEnding(await carryOut(anOperation({ seq: 6 }), deps, forever))).toBe("applied 6");
  });

  test("nor is one of which nobody knows whether its beginning was stored", async () => {
    const { b, disk } = twoProcesses();
    let broken = true;
    const store: ReceiverStore = {
      ...disk,
      save: async (tenant, next) => {
        const outcome = await disk.save(tenant, next);
        if (broken) throw new Error("the answer is lost");
        return outcome;
      },
    };
    const deps = { ...b, store };
    expect(sayEnding(await carryOut(anOperation({ seq: 5 }), deps, forever))).toBe("StoreUnavailable");
    broken = false;
    expect(sayEnding(await carryOut(anOperation({ seq: 6 }), deps, forever))).toBe("applied 6");
  });

  test("[S8] the operation of another process that was faster is waited for, whatever fails here afterwards", async () => {
    const { a, b, disk } = twoProcesses();
    let looks = 0;
    const store: ReceiverStore = {
      ...disk,
      load: async (tenant) => {
        looks += 1;
        if (looks === 2) throw new Error("the connection is gone");
        return disk.load(tenant);
      },
      save: async (tenant, next) => {
        void carryOut(anOperation({ seq: 5, opId: "faster" }), a, forever); // held
        await new Promise(setImmediate);
        return disk.save(tenant, next);
      },
    };
    expect(sayEnding(await carryOut(anOperation({ seq: 6 }), { ...b, store }, forever))).toBe("StoreUnavailable");
    expect((await disk.load(TENANT))?.opId).toBe("faster");
    expect(sayEnding(await carryOut(anOperation({ seq: 6 }), b, forever))).toBe("Busy");
  });
});
