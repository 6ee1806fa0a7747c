import { at } from "../lib/json-pointer.ts";
import { type Case, expect, expectRefused, expectStatus, FIRST, jsonOf, NotConforming } from "./conformance-play.ts";

const A = FIRST;

/** What is remembered, over failures and restarts. */
export const MEMORY_CASES: readonly Case[] = [
  {
    id: "restart-fence",
    rule: "a restart forgets no fence",
    needs: "restart",
    run: async (play) => {
      await play.apply({ seq: A + 1 });
      await play.target.restart?.();
      expectRefused(await play.put({ seq: A }), 412, "Fenced", play.fence(A + 1));
      expectRefused(await play.put({ seq: A + 1, operation: "other" }), 412, "Diverged", play.fence(A + 1));
    },
  },
  {
    id: "restart-in-force",
    rule: "a restart forgets neither what is in force nor which operation put it there",
    needs: "restart",
    run: async (play) => {
      const before = await play.apply({ seq: A, operation: "op", version: 41 });
      await play.target.restart?.();
      expect("GET", JSON.stringify(await play.inForce()), JSON.stringify(before));
      await play.withoutEffect(() => play.apply({ seq: A + 1, operation: "op", version: 41 }));
      expectRefused(await play.put({ seq: A + 2, operation: "op", version: 42 }), 409, "ContentDiffers");
    },
  },
  {
    id: "restart-new-claim",
    rule: "the fence of a repeat without effect survives a restart too",
    needs: "restart",
    run: async (play) => {
      await play.apply({ seq: A, operation: "op", version: 41 });
      await play.apply({ seq: A + 4, operation: "op", version: 41 });
      await play.target.restart?.();
      expectRefused(await play.put({ seq: A + 2, base: A }), 412, "Fenced", play.fence(A + 4));
    },
  },
  {
    id: "failed-fence",
    rule: "an operation that failed leaves its fence: nothing older is accepted",
    needs: "faults",
    run: async (play) => {
      await play.apply({ seq: A });
      await play.target.failNext?.(play.tenant);
      expectStatus(await play.put({ seq: A + 3, base: A }), 500);
      expectRefused(await play.put({ seq: A + 1, base: A }), 412, "Fenced", play.fence(A + 3));
    },
  },
  {
    id: "failed-again",
    rule: "an operation that failed is not in force, and is done again under the next claim",
    needs: "faults",
    run: async (play) => {
      await play.apply({ seq: A });
      await play.target.failNext?.(play.tenant);
      expectStatus(await play.put({ seq: A + 1, operation: "op", version: 42 }), 500);
      if (at(jsonOf(await play.get()), "/opId") === play.opId("op")) {
        throw new NotConforming("the operation that failed is said to be in force");
      }
      await play.apply({ seq: A + 2, operation: "op", version: 42 });
    },
  },
  {
    id: "failed-between",
    rule: "after a failed operation the one before it is done again when asked for: it may have been half replaced",
    needs: "faults",
    run: async (play) => {
      const { appliedAt } = await play.apply({ seq: A, operation: "op", version: 41 });
      await play.target.failNext?.(play.tenant);
      expectStatus(await play.put({ seq: A + 1, version: 42 }), 500);
      await play.target.pause();
      const again = await play.apply({ seq: A + 2, operation: "op", version: 41 });
      if (again.appliedAt === appliedAt) throw new NotConforming("it was answered from memory, without an effect");
    },
  },
];
