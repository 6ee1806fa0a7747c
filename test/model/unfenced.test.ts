import { test } from "vitest";
import { aPlacement, aPrevious, aSpec, aStage, aTenant } from "../support/build.ts";
import { holds, LARGE, refuted } from "./model.ts";
import { BY_THE_WALL, FORCED_BEFORE_QUIET, OWN_STAGE_ONLY, RELEASED_BEFORE_QUIET, SENT_AGAIN } from "./weaker.ts";
import type { Scenario, World } from "./world.ts";

// A receiver that checks no fence. Time passes in ticks: a claim lives two, a request arrives within one of being sent or never.

const stages = [aStage("notify", "repeat", { endpoint: "legacy" })];
const UNFENCED: Scenario = {
  name: "no fences",
  specs: [aSpec({ stages })],
  tenant: aTenant(),
  processes: 1,
  timed: true,
  may: {},
  from: ({ tenant }: World) => tenant.status?.holder?.uid === "uid-1",
};
const red = { plan: { id: 18, version: 43 }, target: aPlacement("red"), previous: aPrevious() };
const TWO_TASKS: Scenario = { ...UNFENCED, specs: [aSpec({ stages }), aSpec({ stages, ...red })] };

test("[S7] [S8] a rollback at any time, a lost answer", () => {
  holds({ ...UNFENCED, may: { rollbacks: [1], losses: 1 } }, 10_000);
});

test("[S7] [S8] a rollback at any time, a crash; the receiver may be asked", () => {
  const specs = [aSpec({ stages: [aStage("notify", "tell", { endpoint: "legacy" })] })];
  holds({ ...UNFENCED, name: "no fences, asked", specs, may: { rollbacks: [1], crashes: 1 } }, 10_000);
});

test("[S8] [S28] [L9] a force release while something is under way, then another task; a crash", () => {
  const crashes = LARGE ? 1 : 0;
  holds({ ...TWO_TASKS, name: "no fences, forced", may: { releases: 1, crashes } }, 1000);
});

test("[S8] [S9] another task follows as soon as it may; a rollback", () => {
  holds({ ...TWO_TASKS, name: "no fences, two tasks", may: { rollbacks: [1, 0], losses: LARGE ? 1 : 0 } }, 1000);
});

test("[S8] sent again without a claim: nobody waits long enough", () => {
  const may = { rollbacks: [1], crashes: 1 };
  refuted({ ...UNFENCED, processes: 2, may, rules: SENT_AGAIN, only: ["[S8]"] }, "[S8]");
});

test("[S8] ◆ a claim waited for by its own `until` and a clock that is ahead", () => {
  refuted({ ...UNFENCED, may: { rollbacks: [1], crashes: 1 }, rules: BY_THE_WALL }, "[S8]");
});

test("[S8] ◆ only claims of the same operation waited for", () => {
  refuted({ ...UNFENCED, may: { rollbacks: [1], losses: 1 }, rules: OWN_STAGE_ONLY }, "[S8]");
});

test("[S8] the lock given back before it is quiet", () => {
  refuted({ ...TWO_TASKS, may: { rollbacks: [1, 0], losses: 1 }, rules: RELEASED_BEFORE_QUIET }, "[S8]");
});

test("[L9] ◆ a force release before it is quiet", () => {
  refuted({ ...TWO_TASKS, may: { releases: 1, crashes: 1 }, rules: FORCED_BEFORE_QUIET }, "[L9]");
});
