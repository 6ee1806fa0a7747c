import { expect, test } from "vitest";
import { laneOf } from "../../src/controllers/lanes.ts";
import type { KubeObject } from "../../src/kube/resource.ts";

const aTask = (phase: string | null, epoch = 0, generation = 1): KubeObject => ({
  apiVersion: "turnout.dev/v1alpha1",
  kind: "SwitchTask",
  metadata: { name: "acme-green", namespace: "prod", uid: "u", resourceVersion: "1", generation },
  status: phase === null ? undefined : { phase, epoch },
});

test.each<readonly [what: string, task: KubeObject, lane: string]>([
  ["under way", aTask("Running", 7), "continuation"],
  ["going back", aTask("RollingBack", 7), "continuation"],
  ["held after a failure", aTask("Failed", 7), "continuation"],
  ["over, to leave the watch", aTask("Completed", 7), "start-up"],
  ["waiting for its tenant", aTask("Pending"), "start-up"],
  ["never seen", aTask(null), "start-up"],
])("[L3] after a start: %s", (_what, task, lane) => {
  expect(laneOf(task, undefined, "list")).toBe(lane);
});

test("[R62] a person's word and a new task come first, whatever the operator wrote itself next", () => {
  const running = aTask("Running", 7);
  expect(laneOf(aTask("Running", 7, 2), running, "watch")).toBe("user");
  expect(laneOf(aTask(null), undefined, "watch")).toBe("user");
  expect(laneOf(running, running, "watch")).toBe("continuation");
});
