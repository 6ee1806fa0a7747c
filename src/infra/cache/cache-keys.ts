import type { Millis } from "../../lib/time.ts";
import { millisOf } from "../../lib/time.ts";
import { cacheError } from "./cache-failures.ts";

const LONGEST = 512;
export const MOST_ITEMS = 1000;
/** Milliseconds; Redis refuses a life of none. */
const SHORTEST = 1;

/** How keys are called in Redis. Names beginning with `~` are the cache's own. */
export interface KeyNames {
  value(key: string): string;
  /** Who may store what it loads for the key. */
  lease(key: string): string;
  lock(name: string): string;
}

export function keyNames(prefix: string): KeyNames {
  const checked = (key: string): string => {
    if (key === "" || key.length > LONGEST || key.startsWith("~") || /\p{Cc}/u.test(key) || !key.isWellFormed())
      throw cacheError("KeyInvalid", key.slice(0, 64).replaceAll(/\p{Cc}/gu, "?"));
    return key;
  };
  return {
    value: (key) => `${prefix}${checked(key)}`,
    lease: (key) => `${prefix}~lease:${checked(key)}`,
    lock: (name) => `${prefix}~lock:${checked(name)}`,
  };
}

/** @throws InfraError `TooMany` */
export function bounded<T>(items: readonly T[], at: string): readonly T[] {
  if (items.length > MOST_ITEMS) throw cacheError("TooMany", at);
  return items;
}

/** The life that a value really gets: up to the share `jitter` shorter, so that values stored together do not end together. */
export const jittered = (ttl: Millis, jitter: number, random: number): Millis =>
  millisOf(Math.max(SHORTEST, Math.round(ttl * (1 - jitter * random))));
