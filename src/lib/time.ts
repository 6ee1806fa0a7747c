// lib: pure helpers that know nothing of switches. No clock, no randomness, no I/O, no package but node:crypto's digest.
// Nothing here may import from another folder of src/.

declare const instant: unique symbol;
declare const millis: unique symbol;

/** A point in time: milliseconds since the Unix epoch. Names: now, at, since, until, deadline. */
export type Instant = number & { readonly [instant]: true };

/** A length of time in milliseconds. Names: timeout, after, interval, elapsed. */
export type Millis = number & { readonly [millis]: true };

export const millisOf = (value: number): Millis => Math.max(0, value) as Millis;
export const seconds = (value: number): Millis => (value * 1000) as Millis;
export const minutes = (value: number): Millis => (value * 60_000) as Millis;
export const instantOf = (epochMillis: number): Instant => epochMillis as Instant;

export const plus = (at: Instant, after: Millis): Instant => (at + after) as Instant;

/** Time from `since` to `now`; zero where the clock seems to have gone back. */
export const between = (since: Instant, now: Instant): Millis => millisOf(now - since);

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION = /^(?:\d{1,9}(?:ms|[smhd]))+$/;
const DURATION_PART = /(\d{1,9})(ms|[smhd])/g;

/** Longest duration that the API takes: 366 days. Anything longer is a typing error, not a wait. */
export const LONGEST = millisOf(366 * 86_400_000);

/** `90s`, `5m`, `1h30m`, `300ms` → milliseconds; null where the text is not a duration or longer than {@link LONGEST}. */
export function parseDuration(text: string): Millis | null {
  if (text.length > 32 || !DURATION.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART)) total += Number(amount) * (UNITS[unit ?? ""] ?? 0);
  return total > LONGEST ? null : millisOf(total);
}

/** The shortest text that {@link parseDuration} reads back to the same value: `90000` → `1m30s`. */
export function formatDuration(value: Millis): string {
  let rest = Math.round(value);
  let text = "";
  for (const [unit, size] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
    ["ms", 1],
  ] as const) {
    const amount = Math.floor(rest / size);
    if (amount > 0) text += `${amount}${unit}`;
    rest -= amount * size;
  }
  return text === "" ? "0s" : text;
}

/** RFC 3339 with milliseconds, UTC, as the status stores it. */
export const formatInstant = (at: Instant): string => new Date(at).toISOString();

/** RFC 3339 → Instant; null for anything else. */
export function parseInstant(text: string): Instant | null {
  const value = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(value) ? null : instantOf(value);
}
