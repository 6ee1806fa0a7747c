import { test } from "vitest";
import { aSpec, aStage, aTenant } from "../support/build.ts";
import { holds, LARGE, refuted } from "./model.ts";
import { PREVIOUS_ONLY } from "./weaker.ts";
import type { Scenario, World } from "./world.ts";

// One announce to the instances of the target (two of green; two of blue hear of the undo too), of which some fail.

const announces = (kind: "tell" | "repeat"): Scenario => ({
  name: `announces, ${kind}`,
  specs: [aSpec({ stages: [aStage("notify", kind, { to: "gateway" })] })],
  tenant: aTenant(),
  processes: 1,
  may: {},
  from: ({ tenant }: World) => tenant.status?.holder?.uid === "uid-1",
});

test("[S7] [S8] [S26] some instances refuse, one answer is lost, a rollback at any time", () => {
  holds({ ...announces("tell"), may: { rollbacks: [1], refusals: 1, losses: 1 } }, 3000);
  holds({ ...announces("repeat"), may: { rollbacks: [1], refusals: 1, losses: 1 } }, 3000);
});

test("[S7] [S8] [S26] two processes, one instance refuses, a crash", () => {
  const may = { rollbacks: [1], refusals: 1, crashes: 1, losses: LARGE ? 1 : 0 };
  holds({ ...announces("tell"), processes: 2, may }, 150_000);
});

test("[S7] an undo that goes to the previous unit alone leaves the others where they are", () => {
  refuted({ ...announces("tell"), may: { rollbacks: [1] }, rules: PREVIOUS_ONLY }, "[S7]");
});
