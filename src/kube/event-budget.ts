import type { Clock } from "../lib/seams.ts";
import { type Millis, millisOf, minutes } from "../lib/time.ts";

/** S25: Events of one object in a burst, and how long until each further one. */
export const EVENT_BURST = 25;
export const EVENT_REFILL: Millis = minutes(5);

/** Objects whose budget is remembered; beyond them the one asked for longest ago begins anew. */
const MOST_OBJECTS = 20_000;

/** A bucket per object, filled with {@link EVENT_BURST}, refilled by one every {@link EVENT_REFILL}. */
export interface EventBudget {
  /** Takes one if there is one. */
  take(uid: string): boolean;
  /** Time until there is one. */
  wait(uid: string): Millis;
}

export function openEventBudget(clock: Clock): EventBudget {
  /** When (monotonic) the bucket will be full again (GCRA: one number per bucket). */
  const fullAt = new Map<string, number>();
  const short = (uid: string): number => (fullAt.get(uid) ?? 0) - clock.monotonic() - (EVENT_BURST - 1) * EVENT_REFILL;
  return {
    take(uid) {
      if (short(uid) > 0) return false;
      const full = Math.max(fullAt.get(uid) ?? 0, clock.monotonic()) + EVENT_REFILL;
      fullAt.delete(uid);
      fullAt.set(uid, full);
      if (fullAt.size > MOST_OBJECTS) fullAt.delete(fullAt.keys().next().value ?? uid);
      return true;
    },
    wait: (uid) => millisOf(Math.floor(Math.max(0, short(uid))) + 1),
  };
}
