import { expect, inject, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { aSwitch, NOTIFY, openTestStand, SOAK } from "../support/stand.ts";
import { effectLines, effectsAt, stagesOf } from "../support/stand-read.ts";

test("[process/term] [L7] SIGTERM: what is in flight settles, nothing new begins, the process ends; the next goes on", async () => {
  await using stand = await openTestStand(inject("env"));
  const first = await stand.operator();
  await stand.create(aSwitch(stand, { name: "rests", tenantId: "rests", stages: [SOAK("1h")] }));
  await stand.waits("rests", "Waiting");
  const tenant = `${stand.namespace}/acme`;
  await stand.green.tell({ mode: "slow", tenant, ms: 800, times: 1 });
  await stand.create(aSwitch(stand, { stages: [NOTIFY, { ...(NOTIFY as object), name: "again" }] }));
  await stand.until("acme-green", "to be telling", (task) => stagesOf(task)["notify"] === "Running");
  // It kills what does not end by itself, but later than that.
  const stopped = first.stop();
  await first.ended(seconds(10));
  await stopped;
  expect(stagesOf(await stand.task("acme-green"))).toEqual({ notify: "Completed" });

  await stand.operator();
  await stand.over("acme-green", "Completed");
  const effects = await effectsAt([stand.green], tenant);
  expect(effectLines(effects)).toEqual(["green 42 applied", "green 42 applied"]);
  expect(new Set(effects.map(({ opId }) => opId)).size).toBe(2);
});
