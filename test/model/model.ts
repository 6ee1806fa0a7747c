import { expect, vi } from "vitest";
import { Machine } from "./machine.ts";
import { modelOf } from "./moves.ts";
import { type Searched, search } from "./search.ts";
import { story } from "./story.ts";
import type { Scenario } from "./world.ts";

// How a test asks a model.

/** `npm run model` with TURNOUT_MODEL_SIZE=large searches the greater bounds too. */
export const LARGE = process.env["TURNOUT_MODEL_SIZE"] === "large";

// A search ends by its bounds. The clock gives up where a state space has grown without one.
vi.setConfig({ testTimeout: (LARGE ? 60 : 5) * 60_000 });

/** Everything that can happen within the scenario is looked at and breaks nothing. Fewer states than `floor` would mean that it did not happen. */
export function holds(scenario: Scenario, floor: number): Searched {
  const found = search(modelOf(new Machine(scenario)));
  const { states, transitions, depth, seconds, counterexample } = found;
  console.log(
    `${scenario.name}: ${states} states, ${transitions} transitions, longest shortest run ${depth}, ${seconds.toFixed(1)} s`,
  );
  expect(counterexample === null ? "" : story(scenario.name, counterexample)).toBe("");
  expect(states).toBeGreaterThan(floor);
  return found;
}

/** The looser reading breaks what it is said to break; the shortest run that does is printed. */
export function refuted(scenario: Scenario, breaks: string): Searched {
  const found = search(modelOf(new Machine(scenario)));
  const { states, counterexample } = found;
  console.log(`${states} states\n${counterexample === null ? "no violation" : story(scenario.name, counterexample)}`);
  expect(counterexample?.wrong ?? "no violation").toContain(breaks);
  return found;
}
