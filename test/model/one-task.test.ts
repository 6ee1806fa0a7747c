import { expect, test } from "vitest";
import { aSpec, aStage, aTenant } from "../support/build.ts";
import { holds, refuted } from "./model.ts";
import { NO_FENCES } from "./weaker.ts";
import type { Scenario } from "./world.ts";

/** One write and one announce to two instances; the lock is taken already. */
const ONE_TASK: Scenario = {
  name: "one task",
  specs: [aSpec({ stages: [aStage("route", "write"), aStage("notify", "tell")] })],
  tenant: aTenant(),
  processes: 1,
  may: {},
  from: ({ tenant }) => tenant.status?.holder?.uid === "uid-1",
};

test("[S1] [S3] [S7] [S8] [S26] one process, one crash, one lost answer, a rollback at any time", () => {
  const found = holds({ ...ONE_TASK, may: { rollbacks: [1], crashes: 1, losses: 1 } }, 8000);
  expect(found.depth).toBeGreaterThan(15);
});

test("[S8] without fences at the receivers an original lands after its undo", () => {
  refuted({ ...ONE_TASK, may: { rollbacks: [1], crashes: 1 }, rules: NO_FENCES }, "[S8]");
});
