import { test } from "vitest";
import { aPlacement, aPrevious, aSpec, aStage, aTenant } from "../support/build.ts";
import { holds, LARGE } from "./model.ts";
import type { Scenario, World } from "./world.ts";

// Two tasks of one tenant, blue → green and → red, that write the same key: lock, release, done patch, rollback of Completed, force release,
// a TenantState that vanishes, a task made again under its name.

const stages = [aStage("route", "write", { key: "t:acme" })];
const TWO_TASKS: Scenario = {
  name: "two tasks",
  specs: [aSpec({ stages }), aSpec({ stages, plan: { id: 18, version: 43 }, target: aPlacement("red") })],
  tenant: aTenant(),
  processes: 2,
  may: {},
};
const hasClaimed = ({ tasks: [one] }: World): boolean => (one?.status?.seq ?? 0) > 0;
const isDone = ({ tasks: [one] }: World): boolean => one?.done === true;

test("[S9] [S10] [S28] two tasks and two processes, from the start", () => {
  holds(TWO_TASKS, 20_000);
});

test("[S9] [S12] [S26] [L9] both tasks may be cancelled; a crash and a lost answer", () => {
  holds(
    { ...TWO_TASKS, name: "cancelled", processes: 1, may: { cancels: [1, 1], crashes: 1, losses: LARGE ? 2 : 1 } },
    60_000,
  );
});

test("[S9] [S10] [S27] [S28] [S29] rollback of Completed while another task begins; a crash", () => {
  holds({ ...TWO_TASKS, name: "rollback of Completed", from: isDone, may: { rollbacks: [1, 0], crashes: 1 } }, 80_000);
});

test("[S9] [S10] [S29] both tasks may be rolled back, and each after the other", () => {
  const may = { rollbacks: [1, 1], crashes: 1, losses: 1 };
  holds({ ...TWO_TASKS, name: "both rolled back", processes: LARGE ? 2 : 1, may }, 60_000);
});

const RED_STATED = { plan: { id: 18, version: 43 }, target: aPlacement("red"), previous: aPrevious() };
const AFTER_FORCE: Scenario = { ...TWO_TASKS, specs: [aSpec({ stages }), aSpec({ stages, ...RED_STATED })] };

test("[S9] [S10] [S28] a force release in the middle of an act, then a task that states where the tenant was", () => {
  holds({ ...AFTER_FORCE, name: "force release", from: hasClaimed, may: { releases: 1 } }, 12_000);
  const may = { releases: 1, crashes: 1, rollbacks: LARGE ? [1, 1] : [0, 1] };
  holds({ ...AFTER_FORCE, name: "forced, one process", processes: 1, may }, 8000);
});

test("[S9] [S10] [S30] a TenantState that vanishes in the middle of an act", () => {
  const may = { vanishings: 1, rollbacks: LARGE ? [1, 0] : [] };
  holds({ ...TWO_TASKS, name: "vanished", from: hasClaimed, may }, 8000);
  holds(
    { ...TWO_TASKS, name: "vanished, one process", processes: 1, may: { ...may, rollbacks: [1, 0], crashes: 1 } },
    8000,
  );
});

test("[S13] a task made again under its name", () => {
  const may = { again: [1, 0], crashes: 1, rollbacks: [1, 0] };
  holds({ ...TWO_TASKS, name: "made again", processes: 1, may }, 5000);
});
