import { describe, expect, test } from "vitest";
import { formatDuration, millisOf, minutes } from "../../src/lib/time.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { mustPlan, refusals, undecodable } from "../support/stage-rig-plan.ts";
import { openStage } from "../support/stage-rig.ts";
import { noPorts } from "../support/stage-rig-gates.ts";

const wait = (duration: string): object => ({ wait: { duration } });

/** What the stage says after so much counted time by the operator's own clock. */
function after(ran: number, duration: string): Promise<Outcome> {
  const stage = openStage({ kind: "wait", config: { duration }, ports: noPorts, endpoints: [], tenantId: "acme" });
  return stage.kind.run({ ...stage.call("Forward", null, { seq: 1 }), ran: millisOf(ran) });
}

test("it is a gate that touches nobody", () => {
  expect(STAGES.wait.effect({ duration: "1s" })).toBe("gate");
  expect(STAGES.wait.undoParts({ duration: "1s" })).toEqual([]);
  const { preview, audience, endpoint } = mustPlan(wait("1h30m"));
  expect({ preview, audience, endpoint }).toEqual({ preview: "wait 1h30m", audience: [], endpoint: null });
});

test("what is no duration is refused", () => {
  expect(undecodable(wait("soon"))).toHaveLength(1);
  expect(refusals(wait("367d"))).toEqual(["wait.duration 367d: must be a duration of at most 366 days"]);
  expect(mustPlan(wait("366d")).inputs["duration"]).toBe(366 * 86_400_000);
});

describe("[S19] a wait of d never ends before d has passed, whatever the operator's clock does:", () => {
  const DURATIONS = ["1ms", "999ms", "1s", "2s", "59s", "1m", "10m", "1h", "24h", "366d"];
  test.each(DURATIONS)("%s by a clock that runs 1 %% fast", async (duration) => {
    const real = Number(mustPlan(wait(duration)).inputs["duration"]);
    // A clock that is 1 % fast shows this when d is not quite over.
    const shown = Math.floor((real - 1) * 1.01);
    expect(await after(shown, duration)).toMatchObject({ is: "waiting", reason: "Waiting" });
  });

  test("and ends soon after, also by one that runs 1 % slow", async () => {
    const outcome = await after(0, "10m");
    if (outcome.is !== "waiting" || outcome.again === null) throw new Error("does not wait");
    expect(outcome.again / 0.99).toBeLessThan(minutes(10) * 1.025);
    expect(await after(outcome.again, "10m")).toEqual({ is: "done", outputs: {} });
  });

  test("what is left is what has not been counted", async () => {
    const whole = await after(0, "10m");
    const part = await after(minutes(4), "10m");
    if (whole.is !== "waiting" || part.is !== "waiting") throw new Error("does not wait");
    expect((whole.again ?? 0) - (part.again ?? 0)).toBe(minutes(4));
    expect(part).toMatchObject({ message: `stage it waits ${formatDuration(minutes(10))}`, memo: null });
  });

  test("time that was not counted, such as a pause, does not count", async () => {
    expect(await after(0, "1h")).toEqual(await after(0, "1h"));
  });

  test("nothing is nothing", async () => expect(await after(0, "0s")).toEqual({ is: "done", outputs: {} }));
});
