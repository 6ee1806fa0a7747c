import { randomBytes } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { clearTimeout, setImmediate, setTimeout } from "node:timers";

import type { Clock, Rng } from "../lib/seams.ts";
import { type Instant, instantOf, type Millis, millisOf, seconds } from "../lib/time.ts";

/** Longest delay that a Node timer takes; a longer one would fire at once. */
const LONGEST_TIMER = 2_147_483_647;

const monotonic = (): Millis => millisOf(performance.now());

/** The only clock of the product. A sleep never ends early: timers of the event loop may fire up to a millisecond before. */
export const systemClock: Clock = {
  now: () => instantOf(Date.now()),
  monotonic,
  async sleep(after, signal) {
    const due = monotonic() + after;
    do await timer(Math.min(due - monotonic(), LONGEST_TIMER), signal);
    while (monotonic() < due);
  },
};

function timer(after: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const handle = setTimeout(
      () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      },
      Math.max(0, Math.ceil(after)),
    );
    const abort = (): void => {
      clearTimeout(handle);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";
/** 26 digits of base 36 carry 134 bits. */
const ID_LENGTH = 26;

/** Bytes of the system's generator, fetched many at a time: a call for each number was 3 % of the operator's CPU. Each is used once. */
function openPool(): (count: number) => Buffer {
  let pool = Buffer.alloc(0);
  return (count) => {
    if (pool.length < count) pool = randomBytes(POOL_BYTES);
    const taken = pool.subarray(0, count);
    pool = pool.subarray(count);
    return taken;
  };
}
const POOL_BYTES = 4096;

function openSystemRng(): Rng {
  const bytes = openPool();
  return {
    float: () => bytes(6).readUIntBE(0, 6) / 2 ** 48,
    id: () => {
      let text = "";
      while (text.length < ID_LENGTH) {
        for (const byte of bytes(ID_LENGTH)) {
          // 252 = 7 × 36: what lies above would favour the first digits.
          if (byte < 252 && text.length < ID_LENGTH) text += ALPHABET[byte % 36] ?? "";
        }
      }
      return text;
    },
  };
}

export const systemRng: Rng = openSystemRng();

const LOOP_SAMPLE: Millis = millisOf(10);

/** From now on watches how late the event loop serves its timers; each call gives the longest delay since the call before. */
export function watchEventLoop(): () => Millis {
  const seen = monitorEventLoopDelay({ resolution: LOOP_SAMPLE });
  seen.enable();
  return () => {
    const longest = seen.max / 1e6 - LOOP_SAMPLE;
    seen.reset();
    return millisOf(longest);
  };
}

/** Lets the event loop serve sockets and timers before the caller goes on: between slices of long work. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Date headers count whole seconds: {@link ApiTime.now} may lie up to this much, plus the way of one answer, behind the API
 * server, never ahead of it. Whoever compares two readings of different processes rounds up by this (S19).
 */
export const API_TIME_RESOLUTION: Millis = seconds(1);

export interface ApiTime {
  /** Takes the Date header of an answer to a request sent at `sentAt` (monotonic); anything that is no date is left out. */
  observe(dateHeader: string, sentAt?: Millis): void;
  /** API-server time. @throws Error while no answer has come: the local wall clock is never used instead. */
  now(): Instant;
  readonly known: boolean;
}

/**
 * Date header of good answers plus monotonic time since (protocol.md). Each answer bounds the offset between the server's clock
 * and our monotonic one: the header was written after the request was sent and before the answer came, and is cut to the
 * second. The estimate moves only as far as these bounds force it, so it is steady within the second; it never goes back, even
 * where the server's clock does.
 */
export function apiTime(clock: Clock): ApiTime {
  let offset: number | null = null;
  let latest = Number.NEGATIVE_INFINITY;
  return {
    get known() {
      return offset !== null;
    },
    observe(dateHeader, sentAt = clock.monotonic()) {
      const date = Date.parse(dateHeader);
      if (Number.isNaN(date)) return;
      const least = date - clock.monotonic();
      const most = date + API_TIME_RESOLUTION - sentAt;
      offset = offset === null ? least : Math.min(Math.max(offset, least), most);
    },
    now() {
      if (offset === null) throw new Error("API-server time is not known before its first answer");
      latest = Math.max(latest, Math.floor(clock.monotonic() + offset));
      return instantOf(latest);
    },
  };
}
