import type { Apply, CarryOutDeps, Ending } from "../../src/receiver/carry-out.ts";
import { carryOut } from "../../src/receiver/carry-out.ts";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { nobodyElse } from "../../src/receiver/others-turns.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import type { Operation } from "../../src/receiver/verdict.ts";
import { ManualClock } from "./manual-clock.ts";

/** Where a process dies or fails: the n-th call of its store or of `apply`, before or after it takes effect. */
export interface Fault {
  readonly at: "load" | "begin" | "apply" | "settle";
  readonly position: "before" | "after";
  readonly as: "death" | "error";
}

export const FAULTS: readonly Fault[] = (["load", "begin", "apply", "settle"] as const).flatMap((at) =>
  (["before", "after"] as const).flatMap((position) =>
    (["death", "error"] as const).map((as) => ({ at, position, as })),
  ),
);

export interface Effect {
  readonly seq: number;
  readonly opId: string;
  readonly version: number;
}

const forever = new AbortController().signal;

/** One service on one disk, process after process. */
export function openWorld(disk: ReceiverStore = openMemoryStore()) {
  const effects: Effect[] = [];
  const clock = new ManualClock();

  /** Runs one operation in a process that meets the fault; null where it died. */
  async function run(operation: Operation, fault: Fault | null = null): Promise<Ending | null> {
    const death = Promise.withResolvers<null>();
    const met = async <T>(at: Fault["at"], work: () => Promise<T>): Promise<T> => {
      if (fault?.at !== at) return work();
      const result = fault.position === "after" ? await work() : undefined;
      if (fault.as === "error") throw new Error(`told to fail ${fault.position} ${at}`);
      death.resolve(null);
      await new Promise(() => undefined); // no later line of this process runs
      return result as T;
    };
    const store: ReceiverStore = {
      ...disk,
      load: (tenant) => met("load", () => disk.load(tenant)),
      save: (tenant, next) => met(next.unsettled === "running" ? "begin" : "settle", () => disk.save(tenant, next)),
    };
    const apply: Apply = (configuration, { fence, opId }) =>
      met("apply", async () => {
        effects.push({ seq: Number(fence.slice(-8)), opId, version: configuration.version });
      });
    const deps: CarryOutDeps = { store, apply, clock, others: nobodyElse };
    return Promise.race([carryOut(operation, deps, forever), death.promise]);
  }
  return { disk, effects, clock, run };
}

/** `applied 5`, `repeated 8`, `Fenced 7`, `ApplyFailed`, `died`. */
export function sayEnding(ending: Ending | null): string {
  if (ending === null) return "died";
  if (ending.is !== "refused") return `${ending.is} ${Number(ending.view.fence.slice(-8))}`;
  return ending.seen === undefined ? ending.code : `${ending.code} ${Number(ending.seen.slice(-8))}`;
}
