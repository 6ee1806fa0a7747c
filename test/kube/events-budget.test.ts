import { describe, expect, test } from "vitest";

import type { EventToRecord, Importance } from "../../src/kube/event.ts";
import { EVENT_BURST, EVENT_REFILL, openEventBudget } from "../../src/kube/event-budget.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { ok } from "../support/fake-kube-transport.ts";
import { aWidget } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { anEvent, away, NOW, open, PATH, type Rig } from "./events-rig.ts";

describe("[S25] the budget of an object", () => {
  test("25 at once, then one every five minutes that says for how many it stands", async () => {
    const rig = open();
    for (let i = 1; i <= 40; i += 1) rig.recorder.record(anEvent(i));
    rig.recorder.record(anEvent(1, { name: "other" }));
    await rig.clock.advance(minutes(4));
    expect(rig.notes()).toHaveLength(26);
    await rig.clock.advance(minutes(1.1));
    expect(rig.notes().slice(26)).toEqual(["note 40 (and 14 more before it)"]);
    expect(rig.dropped).toEqual(Array(14).fill("budget"));
    rig.recorder.record(anEvent(41));
    await rig.clock.advance(minutes(4));
    expect(rig.notes()).toHaveLength(27);
    await rig.clock.advance(minutes(1.1));
    expect(rig.notes().at(-1)).toBe("note 41");
  });

  test("terminal ones are written whatever the budget, and end what was held back", async () => {
    const rig = open();
    for (let i = 1; i <= 30; i += 1) rig.recorder.record(anEvent(i));
    rig.recorder.record(anEvent(31, { importance: "terminal" }));
    await rig.clock.advance(minutes(30));
    expect(rig.notes().slice(25)).toEqual(["note 31"]);
    expect(rig.dropped).toEqual(Array(5).fill("budget"));
  });

  test("terminal ones count too, and after them it is as before: one every five minutes, standing for what came since", async () => {
    const rig = open();
    for (let i = 1; i < EVENT_BURST; i += 1) rig.recorder.record(anEvent(i));
    rig.recorder.record(anEvent(25, { importance: "terminal" }));
    rig.recorder.record(anEvent(26));
    rig.recorder.record(anEvent(27));
    rig.recorder.record(anEvent(28, { importance: "terminal" }));
    rig.recorder.record(anEvent(29));
    await rig.clock.advance(minutes(4));
    expect(rig.notes().slice(24)).toEqual(["note 25", "note 28"]);
    await rig.clock.advance(minutes(30));
    expect(rig.notes().slice(26)).toEqual(["note 29"]);
    expect(rig.dropped).toEqual(["budget", "budget"]);
  });

  test("comes back with time, and objects beyond what is remembered begin anew", async () => {
    const clock = new ManualClock();
    const budget = openEventBudget(clock);
    const burst = (uid: string): number => Array.from({ length: 30 }, () => budget.take(uid)).filter(Boolean).length;
    expect([burst("a"), budget.wait("a") > EVENT_REFILL - 2, budget.wait("b")]).toEqual([EVENT_BURST, true, 1]);
    await clock.advance(budget.wait("a"));
    expect([budget.take("a"), budget.take("a")]).toEqual([true, false]);
    await clock.advance(minutes(5 * 26));
    expect(burst("a")).toBe(EVENT_BURST);
    burst("b");
    for (let i = 0; i < 19_998; i += 1) budget.take(`o-${i}`);
    expect([burst("a"), burst("b")]).toEqual([0, 0]);
    await clock.advance(EVENT_REFILL);
    expect(budget.take("a")).toBe(true); // asked for last, it is forgotten last
    budget.take("one more");
    expect([burst("b"), burst("a")]).toEqual([EVENT_BURST, 0]);
  });
});

describe("under load", () => {
  /** Room for eight, and an API server that takes nothing: all that is recorded waits. */
  async function full(): Promise<Rig> {
    const rig = open({ capacity: 8 });
    rig.kube.on(`POST ${PATH}`, away);
    rig.recorder.record(anEvent(0, { name: "first" }));
    rig.recorder.record(anEvent(0, { name: "second" }));
    await rig.clock.advance(NOW);
    return rig;
  }
  const other = (i: number, importance: Importance): EventToRecord => anEvent(i, { importance, name: `o-${i}` });

  test("droppable ones get half the room, normal ones the rest, then push droppable ones out, then are dropped", async () => {
    const rig = await full(); // two wait already
    for (let i = 0; i < 6; i += 1) rig.recorder.record(other(i, "droppable"));
    expect([rig.recorder.depth, rig.dropped.length]).toEqual([4, 4]);
    for (let i = 10; i < 14; i += 1) rig.recorder.record(other(i, "normal"));
    expect([rig.recorder.depth, rig.dropped.length]).toEqual([8, 4]);
    for (let i = 20; i < 23; i += 1) rig.recorder.record(other(i, "normal"));
    expect([rig.recorder.depth, rig.dropped]).toEqual([8, Array(7).fill("load")]);
  });

  test("terminal ones are never dropped, and are told as pending until they are out", async () => {
    const rig = await full();
    for (let i = 0; i < 50; i += 1) rig.recorder.record(other(i, "terminal"));
    rig.recorder.record(anEvent(99, { name: "o-7", importance: "terminal" }));
    expect([rig.recorder.depth, rig.dropped, rig.recorder.pending("uid-o-7"), rig.recorder.pending("uid-x")]).toEqual([
      53,
      [],
      true,
      false,
    ]);
    rig.kube.on(`POST ${PATH}`, ok(aWidget("event", 1)));
    await rig.clock.advance(minutes(1));
    expect([rig.recorder.depth, rig.flushed.length, rig.recorder.pending("uid-o-7")]).toEqual([0, 50, false]);
    expect(rig.notes().filter((note) => note === "note 99")).toHaveLength(1);
  });

  test("an object is pending until the last of its terminal ones is out", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, async ({ body }) => {
      await rig.clock.sleep(seconds((body as { note: string }).note === "note 1" ? 1 : 5));
      return ok(aWidget("event", 1));
    });
    for (const i of [1, 2]) rig.recorder.record(anEvent(i, { importance: "terminal" }));
    await rig.clock.advance(seconds(2));
    expect([rig.flushed, rig.recorder.pending("uid-acme")]).toEqual([[], true]);
    await rig.clock.advance(seconds(4));
    expect([rig.flushed, rig.recorder.pending("uid-acme")]).toEqual([["uid-acme"], false]);
  });

  test("what is held back has a bound too", async () => {
    const rig = open({ capacity: 1 });
    for (const name of ["a", "b"])
      for (let i = 0; i < EVENT_BURST; i += 1) {
        rig.recorder.record(anEvent(i, { name }));
        await rig.clock.advance(NOW);
      }
    for (const name of ["a", "b"]) rig.recorder.record(anEvent(30, { name }));
    expect(rig.dropped).toEqual(["load"]);
  });
});
