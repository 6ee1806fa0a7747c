import fc from "fast-check";
import { expect, test } from "vitest";
import { viewOf } from "../../src/receiver/verdict.ts";
import { anOperation, TENANT } from "../support/receiver-build.ts";
import { FAULTS, openWorld, sayEnding } from "../support/receiver-world.ts";

/** One delivery: any claim, in any order, doubled, late, with any fault. Content follows from the operation. */
const delivery = fc.record({
  seq: fc.integer({ min: 4, max: 9 }),
  back: fc.integer({ min: 1, max: 3 }),
  operation: fc.constantFrom(41, 42, 43),
  fault: fc.option(fc.constantFrom(...FAULTS), { freq: 3 }),
});
const deliveries = fc.array(delivery, { maxLength: 12 });

/** One commit, one answer (testing.md, section 9). */
const SETTINGS = { numRuns: 2000, seed: Number.parseInt(process.env.TURNOUT_TEST_SEED ?? "1", 16) | 0 };

interface Delivery {
  readonly seq: number;
  readonly back: number;
  readonly operation: number;
}

const operationOf = ({ seq, back, operation }: Delivery) =>
  anOperation({ seq, base: seq - back, opId: `op${operation}`, version: operation });

test("[S8] [S10] effects happen in the order of their fences, whatever arrives and whatever fails", async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, async (sent) => {
      const { run, effects } = openWorld();
      for (const each of sent) await run(operationOf(each), each.fault);
      const fences = effects.map(({ seq }) => seq);
      expect(fences).toEqual(fences.toSorted((a, b) => a - b));
    }),
    SETTINGS,
  );
});

test("[S26] what GET says is in force is the last effect, or it names the operation that leaves a doubt", async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, async (sent) => {
      const { run, effects, disk } = openWorld();
      for (const each of sent) await run(operationOf(each), each.fault);
      const record = await disk.load(TENANT);
      const view = record === null ? null : viewOf(record);
      const last = effects.at(-1);
      const settledView = view !== null && view.unfinished === undefined;
      expect(settledView ? view.opId : last?.opId).toBe(last?.opId);
      expect(last === undefined || Number(record?.fence.slice(-8)) >= last.seq).toBe(true);
    }),
    SETTINGS,
  );
});

test("[S30] what was refused leaves nothing behind", async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, delivery, async (sent, last) => {
      const { run, disk } = openWorld();
      for (const each of sent) await run(operationOf(each), each.fault);
      const before = await disk.load(TENANT);
      const said = sayEnding(await run(operationOf(last)));
      const refused = /^(?:Fenced|Diverged|ContentDiffers)/.test(said);
      expect(refused ? await disk.load(TENANT) : before).toEqual(before);
    }),
    SETTINGS,
  );
});

test("[S8] after an undo settled, no older claim has an effect", async () => {
  await fc.assert(
    fc.asyncProperty(deliveries, deliveries, async (before, late) => {
      const { run, effects } = openWorld();
      for (const each of before) await run(operationOf(each), each.fault);
      expect(sayEnding(await run(anOperation({ seq: 10, base: 9, opId: "undo" })))).toBe("applied 10");
      const undone = effects.length;
      for (const each of late) await run(operationOf(each), each.fault);
      expect(effects.slice(undone)).toEqual([]);
    }),
    SETTINGS,
  );
});
