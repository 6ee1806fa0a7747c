import { describe, expect, test } from "vitest";

import { minutes, seconds } from "../../src/lib/time.ts";
import { ok, statusAnswer } from "../support/fake-kube-transport.ts";
import { aWidget } from "../support/kube-objects.ts";
import { anEvent, away, failing, NOW, open, PATH } from "./events-rig.ts";

describe("an API server that", () => {
  test("is away is tried again at most every 30 s; what is not terminal three times, terminal ones until they are out", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, ...failing(40, away));
    rig.recorder.record(anEvent(1, { name: "a" }));
    rig.recorder.record(anEvent(2, { name: "b", importance: "terminal" }));
    await rig.clock.advance(minutes(5));
    expect([rig.dropped, rig.recorder.pending("uid-b")]).toEqual([["unavailable"], true]);
    expect(rig.notes().filter((note) => note === "note 1")).toHaveLength(3);
    expect(rig.notes().length).toBeLessThan(20);
    await rig.clock.advance(minutes(30));
    expect([rig.flushed, rig.recorder.depth]).toEqual([["uid-b"], 0]);
  });

  test("refuses an Event for good is not asked again; the refusal is counted and logged", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, statusAnswer(403, "Forbidden", { message: "no" }));
    rig.recorder.record(anEvent(1, { importance: "terminal" }));
    await rig.clock.advance(NOW);
    expect(rig.clock.sleeping).toBe(0); // a refusal is an answer: others are not kept waiting
    await rig.clock.advance(minutes(5));
    expect([rig.notes().length, rig.dropped, rig.flushed, rig.warnings.length]).toEqual([
      1,
      ["refused"],
      ["uid-acme"],
      1,
    ]);
  });

  test.each([
    [
      "says that the namespace goes away",
      statusAnswer(403, "Forbidden", { details: { causes: [{ reason: "NamespaceTerminating" }] } }),
    ],
    ["says that there is no such namespace", statusAnswer(404, "NotFound")],
  ])("%s: dropped quietly, and counted", async (_what, reply) => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, reply);
    rig.recorder.record(anEvent(1, { importance: "terminal" }));
    await rig.clock.advance(NOW);
    expect([rig.dropped, rig.flushed, rig.warnings]).toEqual([["namespace"], ["uid-acme"], []]);
    expect(rig.clock.sleeping).toBe(0);
  });

  test("answers slowly has two requests at most under way", async () => {
    const rig = open();
    let [active, most] = [0, 0];
    rig.kube.on(`POST ${PATH}`, async () => {
      active += 1;
      most = Math.max(most, active);
      await rig.clock.sleep(seconds(1));
      active -= 1;
      return ok(aWidget("event", 1));
    });
    for (let i = 0; i < 9; i += 1) rig.recorder.record(anEvent(i));
    await rig.clock.advance(seconds(5));
    expect([most, rig.recorder.depth]).toEqual([2, 0]);
  });
});
