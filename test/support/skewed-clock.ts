import type { Clock } from "../../src/lib/seams.ts";
import { type Instant, instantOf, type Millis, millisOf, parseDuration } from "../../src/lib/time.ts";

/**
 * `TURNOUT_TEST_CLOCK=step:+10m@3s,rate:1.01`: after three seconds the wall clock jumps ten minutes ahead, and all along monotonic time
 * runs 1 % fast. Waiting really takes the time that a machine with such clocks would take.
 */
export function skewedClock(real: Clock, text: string): Clock {
  const rules = text.split(",").filter((rule) => rule !== "");
  const rate = Number(rules.find((rule) => rule.startsWith("rate:"))?.slice("rate:".length) ?? 1);
  const steps = rules.filter((rule) => rule.startsWith("step:")).map(parseStep);
  const started = real.monotonic();
  const elapsed = (): number => real.monotonic() - started;
  return {
    now: (): Instant => {
      const jumped = steps.filter(({ at }) => elapsed() >= at).reduce((sum, { by }) => sum + by, 0);
      return instantOf(real.now() + elapsed() * (rate - 1) + jumped);
    },
    monotonic: (): Millis => millisOf(started + elapsed() * rate),
    sleep: (after, signal) => real.sleep(millisOf(after / rate), signal),
  };
}

function parseStep(rule: string): { readonly by: number; readonly at: number } {
  const [, sign = "", by = "", at = ""] = /^step:([+-])([^@]+)@(.+)$/.exec(rule) ?? [];
  const [amount, moment] = [parseDuration(by), parseDuration(at)];
  if (amount === null || moment === null) throw new Error(`TURNOUT_TEST_CLOCK: ${rule} is no step`);
  return { by: sign === "-" ? 0 - amount : amount, at: moment };
}
