import { expect, test } from "vitest";
import { admitted, type Breaker, type BreakerRules, closedBreaker, failed } from "../../src/lib/breaker.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";

const RULES: BreakerRules = { failures: 3, rest: seconds(5) };
const at = (second: number) => seconds(second);

/** `f` fails, `s` succeeds, a number moves the clock there; `?` asks whether a call passes. */
function play(script: readonly ("f" | "s" | "?" | number)[]): {
  readonly asked: readonly boolean[];
  readonly end: Breaker;
} {
  let breaker = closedBreaker;
  let now = millisOf(0);
  const asked: boolean[] = [];
  for (const step of script) {
    if (typeof step === "number") now = at(step);
    else if (step === "f") breaker = failed(breaker, now, RULES);
    else if (step === "s") breaker = closedBreaker;
    else {
      const answer = admitted(breaker, now, RULES);
      breaker = answer.breaker;
      asked.push(answer.pass);
    }
  }
  return { asked, end: breaker };
}

const ROWS: readonly (readonly [rule: string, script: Parameters<typeof play>[0], asked: readonly boolean[]])[] = [
  ["calls pass while fewer than the limit failed in a row", ["f", "f", "?"], [true]],
  ["a success in between begins the count anew", ["f", "f", "s", "f", "f", "?"], [true]],
  ["the last failure of the row opens it", ["f", "f", "f", "?"], [false]],
  ["it stays open for its rest, to the millisecond", ["f", "f", "f", 4.999, "?", 5, "?"], [false, true]],
  ["after the rest one call tries, the others are held back", ["f", "f", "f", 5, "?", "?", "?"], [true, false, false]],
  ["a trial that succeeds closes it", ["f", "f", "f", 5, "?", "s", "?", "?"], [true, true, true]],
  ["a trial that fails opens it for another rest", ["f", "f", "f", 5, "?", "f", 9, "?", 10, "?"], [true, false, true]],
  ["a trial that never ends gives way to another", ["f", "f", "f", 5, "?", 9, "?", 10, "?"], [true, false, true]],
  ["what fails late while it is open does not make the rest longer", ["f", "f", "f", 4, "f", 5, "?"], [true]],
];

test("no row is lost", () => expect(ROWS).toHaveLength(9));
test.each(ROWS)("[R133] %s", (_rule, script, asked) => {
  expect(play(script).asked).toEqual(asked);
});
