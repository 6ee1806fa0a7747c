import type { Clock } from "../../lib/seams.ts";

/** Seconds since the Unix epoch and nanoseconds beyond them. */
export type EpochTime = () => [number, number];

/** What the wall clock may be away from before it is followed: it was set, or the process slept. */
const APART = 20;

/** The wall clock with the fineness of the monotonic one, so that spans of less than a millisecond keep their order. */
export function epochTimeOf(clock: Clock): EpochTime {
  const offsetNow = (): number => clock.now() - clock.monotonic();
  let offset = offsetNow();
  return () => {
    if (Math.abs(offsetNow() - offset) > APART) offset = offsetNow();
    const millis = clock.monotonic() + offset;
    const whole = Math.floor(millis / 1000);
    return [whole, Math.round((millis - whole * 1000) * 1e6)];
  };
}
