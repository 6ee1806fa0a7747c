import type { Clock } from "../../src/lib/seams.ts";
import { formatDuration, type Millis, millisOf } from "../../src/lib/time.ts";

export interface Poll {
  readonly clock: Clock;
  readonly timeout: Millis;
  readonly every?: Millis;
  /** Completes "waited 30s for …". */
  readonly what: string;
  readonly signal?: AbortSignal;
}

export class PollTimeoutError extends Error {
  override name = "PollTimeoutError";
}

const OFTEN = millisOf(50);

/**
 * Asks until the answer is something else than false or null, and gives it back. A question that throws counts as "not yet".
 * @throws PollTimeoutError, which says what was seen last; the signal's reason once it is aborted
 */
export async function until<T>(ask: () => Promise<T> | T, poll: Poll): Promise<Exclude<T, false | null>> {
  const started = poll.clock.monotonic();
  for (;;) {
    poll.signal?.throwIfAborted();
    const seen = await attempt(ask);
    if (seen.ok && seen.value !== false && seen.value !== null) return seen.value as Exclude<T, false | null>;
    if (poll.clock.monotonic() - started >= poll.timeout) {
      const last = seen.ok ? JSON.stringify(seen.value) : seen.problem;
      throw new PollTimeoutError(`waited ${formatDuration(poll.timeout)} for ${poll.what}; last seen: ${last}`);
    }
    await poll.clock.sleep(poll.every ?? OFTEN, poll.signal);
  }
}

type Seen<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

async function attempt<T>(ask: () => Promise<T> | T): Promise<Seen<T>> {
  try {
    return { ok: true, value: await ask() };
  } catch (error) {
    return { ok: false, problem: error instanceof Error ? error.message : String(error) };
  }
}
