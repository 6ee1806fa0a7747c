import type { Clock } from "../lib/seams.ts";
import type { ReceiverLimits } from "./limits.ts";
import { within } from "./within.ts";

/** Ends the turn; the tenant's next operation begins. Calling it again does nothing. */
export type EndTurn = () => void;

export interface Turns {
  /** Null where too many wait already, the wait took too long, or the signal was aborted. */
  take(tenant: string, signal: AbortSignal): Promise<EndTurn | null>;
}

type Wake = () => void;

/** One operation per tenant at a time in this process; the others wait in the order in which they came. */
export function openTurns(limits: Pick<ReceiverLimits, "waiting" | "waitTimeout">, clock: Clock): Turns {
  /** Present while a turn is held: those who wait for it. */
  const queues = new Map<string, Wake[]>();

  const turnOf = (tenant: string): EndTurn => {
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const wakeNext = queues.get(tenant)?.shift();
      if (wakeNext === undefined) queues.delete(tenant);
      else wakeNext();
    };
  };

  const isWoken = async (queue: Wake[], signal: AbortSignal): Promise<boolean> => {
    const woken = Promise.withResolvers<void>();
    queue.push(woken.resolve);
    await within(woken.promise, { timeout: limits.waitTimeout, clock, signal }, undefined);
    const place = queue.indexOf(woken.resolve);
    if (place < 0) return true; // woken, perhaps in the very moment of giving up: the turn is ours and must not be lost
    queue.splice(place, 1);
    return false;
  };

  return {
    take: async (tenant, signal) => {
      const queue = queues.get(tenant);
      if (queue === undefined) {
        queues.set(tenant, []);
        return turnOf(tenant);
      }
      if (queue.length >= limits.waiting || signal.aborted) return null;
      return (await isWoken(queue, signal)) ? turnOf(tenant) : null;
    },
  };
}
