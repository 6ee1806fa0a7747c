import { type Millis, seconds } from "../lib/time.ts";

export interface ReceiverLimits {
  /** Largest body of a PUT (SEC-41: what the operator sends at most). */
  readonly bodyBytes: number;
  /** From the arrival of the headers until the caller is authenticated, and again until its body is there. */
  readonly readTimeout: Millis;
  /** PUTs in hand at once, over all tenants; the next one is told to come back. */
  readonly operations: number;
  /** PUTs of one tenant that wait for the one being applied. */
  readonly waiting: number;
  /** How long they wait. Below the operator's instance timeout (3 s), so that it hears "busy", not silence. */
  readonly waitTimeout: Millis;
  /**
   * How long one operation may take from its turn to its answer; then `signal` is aborted. All processes that share a store
   * use the same value: after twice this time they take an operation that another one began for dead.
   */
  readonly applyTimeout: Millis;
}

export const DEFAULT_LIMITS: ReceiverLimits = {
  bodyBytes: 256 * 1024,
  readTimeout: seconds(5),
  operations: 64,
  waiting: 4,
  waitTimeout: seconds(2),
  applyTimeout: seconds(5),
};

/** Largest answer (SEC-32). */
export const ANSWER_BYTES = 4096;

/** How much of a body that nobody wants is read, and for how long, so that the caller gets to read its answer. */
export const LINGER = { bytes: 1024 * 1024, timeout: seconds(1) };

/** How often one operation is judged anew because another process wrote in between. */
export const JUDGED_AT_MOST = 4;

/** Tenants whose operation in another process is being waited for. The one watched longest makes room. */
export const WATCHED_TENANTS = 10_000;
