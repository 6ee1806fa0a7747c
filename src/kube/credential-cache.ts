import { untilAborted, withDeadline } from "../lib/deadline.ts";
import type { Clock } from "../lib/seams.ts";
import { seconds } from "../lib/time.ts";
import type { Credentials, KubeConnection } from "./connection.ts";
import { NoAnswer } from "./errors.ts";

/** SEC-29: tokens, authorities and keys are read again at least this often. */
const READ_AGAIN_AFTER = seconds(60);
/** A plugin that takes longer counts as a failed read. */
const READ_TIMEOUT = seconds(10);
/** After a 401 or a failed read the next one comes this late at the earliest, however many requests ask. */
const READ_AT_MOST_EVERY = seconds(1);

export interface CredentialCache {
  /** At most 60 s old. A failed read leaves the last good ones in use. @throws NoAnswer Refused while there are none */
  current(): Promise<Credentials>;
  /** The API server answered 401 to these: the next request reads anew, unless that was just done. */
  rejected(used: Credentials): void;
}

export function openCredentialCache(connection: KubeConnection, clock: Clock): CredentialCache {
  const never = new AbortController().signal;
  let held: Credentials | null = null;
  let readAt = Number.NEGATIVE_INFINITY;
  let goodUntil = Number.NEGATIVE_INFINITY;
  let isDoubted = false;
  let reading: Promise<Credentials> | null = null;

  const read = async (): Promise<Credentials> => {
    readAt = clock.monotonic();
    try {
      const bound = { clock, timeout: READ_TIMEOUT, signal: never };
      held = await withDeadline(bound, (late) => untilAborted(connection.read(isDoubted), late));
      isDoubted = false;
      goodUntil = readAt + READ_AGAIN_AFTER;
      return held;
    } catch (error) {
      goodUntil = readAt + READ_AT_MOST_EVERY;
      if (held === null) throw new NoAnswer("Refused", "CredentialsUnreadable", error);
      return held;
    } finally {
      reading = null;
    }
  };
  return {
    current() {
      if (held !== null && clock.monotonic() < goodUntil) return Promise.resolve(held);
      reading ??= read();
      return reading;
    },
    rejected(used) {
      if (used !== held) return;
      isDoubted = true;
      goodUntil = Math.min(goodUntil, readAt + READ_AT_MOST_EVERY);
    },
  };
}
