import { type Millis, millisOf } from "./time.ts";

export interface BreakerRules {
  /** Failures in a row after which nothing is sent any more. */
  readonly failures: number;
  /** Time until one call may try again; also how long that one may take before another one may. */
  readonly rest: Millis;
}

/** `closed`: calls pass. `open`: none does. `trial`: one was let through, and its end decides. All times are monotonic. */
export type Breaker =
  | { readonly state: "closed"; readonly failures: number }
  | { readonly state: "open"; readonly until: Millis }
  | { readonly state: "trial"; readonly until: Millis };

/** As it begins, and as it is after any call that the other side answered: a refusal is an answer too. */
export const closedBreaker: Breaker = { state: "closed", failures: 0 };

/** Whether a call may be made now, and the breaker after it was let through or held back. */
export function admitted(
  breaker: Breaker,
  now: Millis,
  { rest }: BreakerRules,
): { readonly pass: boolean; readonly breaker: Breaker } {
  if (breaker.state === "closed") return { pass: true, breaker };
  if (now < breaker.until) return { pass: false, breaker };
  // The one that tries; one that never says how it ended gives way to the next after `rest`.
  return { pass: true, breaker: { state: "trial", until: millisOf(now + rest) } };
}

/** The breaker after a call that the other side did not answer. */
export function failed(breaker: Breaker, now: Millis, { failures, rest }: BreakerRules): Breaker {
  if (breaker.state === "open") return breaker;
  const seen = breaker.state === "closed" ? breaker.failures + 1 : failures;
  return seen >= failures ? { state: "open", until: millisOf(now + rest) } : { state: "closed", failures: seen };
}
