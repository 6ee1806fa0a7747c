import { test } from "vitest";
import { aSpec, aStage, aTenant } from "../support/build.ts";
import { holds, LARGE } from "./model.ts";
import type { Scenario } from "./world.ts";

// One task: one write and one announce to two instances; two processes with copies that are as old as you like. The lock is taken already.

const ONE_TASK: Scenario = {
  name: "one task",
  specs: [aSpec({ stages: [aStage("route", "write"), aStage("notify", "tell")] })],
  tenant: aTenant(),
  processes: 2,
  may: {},
  from: ({ tenant }) => tenant.status?.holder?.uid === "uid-1",
};

test("[S1] [S2] [S3] [S5] [S6] [S7] [S8] [S26] one process that crashes, loses answers, is told to go back", () => {
  const name = "one process";
  const { depth } = holds({ ...ONE_TASK, name, processes: 1, may: { rollbacks: [1], crashes: 1, losses: 1 } }, 4000);
  if (depth < 15) throw new Error(`no run is longer than ${depth} steps`);
});

test("[S3] [S8] [S10] [S12] [S21] two processes, one crash, one lost answer, a rollback at any time", () => {
  holds({ ...ONE_TASK, may: { rollbacks: [1], crashes: 1, losses: 1 } }, 250_000);
});

test("[S3] [S4] [S8] [S11] a claim is taken over while its claimant lives, a rollback at any time", () => {
  const losses = LARGE ? 1 : 0;
  holds({ ...ONE_TASK, name: "taken over", may: { rollbacks: [1], early: 1, crashes: LARGE ? 1 : 0, losses } }, 10_000);
});
