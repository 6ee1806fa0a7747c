import { describe, expect, test } from "vitest";

import { EVENTS, eventNameOf } from "../../src/kube/event.ts";
import { EVENT_BURST } from "../../src/kube/event-budget.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { formatMicroTime } from "../../src/kube/micro-time.ts";
import type { KubeRequest, KubeResponse } from "../../src/lib/seams.ts";
import { millisOf, minutes, plus, seconds } from "../../src/lib/time.ts";
import { ok, statusAnswer } from "../support/fake-kube-transport.ts";
import { aWidget } from "../support/kube-objects.ts";
import { NOON } from "../support/manual-clock.ts";
import { anEvent, away, failing, NOW, open, PATH } from "./events-rig.ts";

describe("one Event", () => {
  test("is written as events.k8s.io wants it, on its own lane", async () => {
    const rig = open();
    rig.recorder.record({
      ...anEvent(14),
      annotations: { "example.dev/sequence": "14" },
      action: "Start",
      type: "Warning",
    });
    await rig.clock.advance(NOW);
    expect(rig.kube.requests).toEqual([
      expect.objectContaining({
        lane: "event",
        point: { class: "api/event", subject: "ns/acme" },
        body: {
          apiVersion: "events.k8s.io/v1",
          kind: "Event",
          metadata: { name: eventNameOf(anEvent(14)), namespace: "ns", annotations: { "example.dev/sequence": "14" } },
          eventTime: "2026-06-01T12:00:00.000000Z",
          reportingController: "example.dev/operator",
          reportingInstance: "pod-1",
          regarding: anEvent(14).regarding,
          type: "Warning",
          reason: "Started",
          action: "Start",
          note: "note 14",
        },
      }),
    ]);
    expect(EVENTS.kind).toBe("Event");
  });

  test("of a cluster-scoped object stands in the namespace default; without an action the reason is one", async () => {
    const rig = open();
    rig.kube.on("POST /apis/events.k8s.io/v1/namespaces/default/events", ok(aWidget("event", 1)));
    rig.recorder.record({ ...anEvent(1), regarding: { ...anEvent(1).regarding, namespace: null } });
    await rig.clock.advance(NOW);
    expect(rig.kube.requests[0]?.body).toMatchObject({ metadata: { namespace: "default" }, action: "Started" });
  });

  test("has a name that is the same after a crash, and another for another object of that name", () => {
    const [one, again, young] = [
      anEvent(14),
      anEvent(14),
      { ...anEvent(14), regarding: { ...anEvent(14).regarding, uid: "young" } },
    ];
    expect(eventNameOf(one)).toMatch(/^acme\.[0-9a-f]{8}\.14$/);
    expect(eventNameOf(again)).toBe(eventNameOf(one));
    expect(eventNameOf(young)).not.toBe(eventNameOf(one));
    const long = eventNameOf(anEvent(9_999_999_999, { name: `${"x".repeat(219)}.-${"y".repeat(30)}` }));
    expect(long).toMatch(/^x{219}\.[0-9a-f]{8}\.9999999999$/);
    expect(long.length).toBeLessThanOrEqual(253);
  });

  test("keeps a note of 1 kB, cut between characters", async () => {
    const rig = open();
    for (const [i, note] of ["x".repeat(1024), "ä".repeat(600), `x${"ä".repeat(600)}`].entries())
      rig.recorder.record(anEvent(i, { note }));
    await rig.clock.advance(NOW);
    const bytes = rig
      .notes()
      .map((note) => [Buffer.byteLength(note) <= 1024, note.endsWith("…"), note.includes("\uFFFD")]);
    expect(bytes).toEqual([
      [true, false, false],
      [true, true, false],
      [true, true, false],
    ]);
  });

  test("that exists already was written before: that is success", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, statusAnswer(409, "AlreadyExists"));
    rig.recorder.record(anEvent(1, { importance: "terminal" }));
    await rig.clock.advance(NOW);
    expect([rig.recorder.depth, rig.flushed, rig.dropped]).toEqual([0, ["uid-acme"], []]);
  });
});

describe("a heartbeat", () => {
  test("is one Event whose count and last time move", async () => {
    const rig = open();
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(7))}`, ok(aWidget("event", 2)));
    for (const count of [1, 2, 3]) {
      rig.recorder.record(anEvent(7, { count, importance: "droppable" }));
      await rig.clock.advance(seconds(10));
    }
    expect(rig.kube.requests.map(({ method, body }) => [method, (body as { series?: unknown }).series])).toEqual([
      ["POST", undefined],
      ["PATCH", { count: 2, lastObservedTime: formatMicroTime(plus(NOON, seconds(10))) }],
      ["PATCH", { count: 3, lastObservedTime: formatMicroTime(plus(NOON, seconds(20))) }],
    ]);
  });

  test("whose Event is not there any more makes it again, with its count", async () => {
    const rig = open();
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(7))}`, statusAnswer(404, "NotFound"));
    rig.recorder.record(anEvent(7, { count: 5 }));
    await rig.clock.advance(NOW);
    expect(rig.kube.requests.map(({ method }) => method)).toEqual(["PATCH", "POST"]);
    expect(rig.kube.requests[1]?.body).toMatchObject({ series: { count: 5 } });
  });

  test("that still waits is overtaken by the next: the newest count is enough", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, ...failing(1, away));
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(7))}`, ok(aWidget("event", 2)));
    rig.recorder.record(anEvent(1));
    await rig.clock.advance(NOW); // the API server is away: the recorder waits
    for (const count of [2, 3, 4]) rig.recorder.record(anEvent(7, { count }));
    expect(rig.recorder.depth).toBe(2);
    await rig.clock.advance(seconds(2));
    expect(
      rig.kube.requests
        .filter(({ method }) => method === "PATCH")
        .map(({ body }) => (body as { series: { count: number } }).series.count),
    ).toEqual([4]);
  });

  test("never overtakes another one on the wire: counts only grow", async () => {
    const rig = open();
    const counts: number[] = [];
    const slow = async ({ body }: KubeRequest): Promise<Partial<KubeResponse>> => {
      const { series } = body as { series?: { count: number } };
      await rig.clock.sleep(seconds(series?.count === 2 ? 5 : 1));
      counts.push(series?.count ?? 1);
      return ok(aWidget("event", 1));
    };
    rig.kube.on(`POST ${PATH}`, slow);
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(7))}`, slow, slow, new NoAnswer("Ambiguous", "Timeout"), slow);
    for (let count = 1; count <= 9; count += 1) {
      rig.recorder.record(anEvent(7, { count }));
      await rig.clock.advance(millisOf(700));
    }
    await rig.clock.advance(minutes(1));
    expect([counts, rig.recorder.depth]).toEqual([[1, 2, 9], 0]);
  });

  test("whose Event is not there is left out where the object's budget is used up", async () => {
    const rig = open();
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(70))}`, statusAnswer(404, "NotFound"));
    for (let i = 1; i <= EVENT_BURST; i += 1) rig.recorder.record(anEvent(i));
    rig.recorder.record(anEvent(70, { count: 5 }));
    await rig.clock.advance(NOW);
    expect([rig.notes().length, rig.dropped, rig.clock.sleeping]).toEqual([EVENT_BURST, ["budget"], 0]);
  });

  test("following the first costs nothing of the object's budget", async () => {
    const rig = open();
    rig.kube.on(`PATCH ${PATH}/${eventNameOf(anEvent(7))}`, ok(aWidget("event", 2)));
    for (let count = 1; count <= 60; count += 1) {
      rig.recorder.record(anEvent(7, { count }));
      await rig.clock.advance(NOW);
    }
    expect([rig.kube.requests.length, rig.dropped]).toEqual([60, []]);
  });
});

describe("closing", () => {
  test("sends what waits, then takes nothing more", async () => {
    const rig = open();
    for (let i = 0; i < 10; i += 1) rig.recorder.record(anEvent(i));
    const closed = rig.recorder.close(seconds(5));
    await rig.clock.advance(NOW);
    await closed;
    rig.recorder.record(anEvent(11));
    expect([rig.notes().length, rig.dropped, rig.clock.sleeping]).toEqual([10, ["unavailable"], 0]);
  });

  test("ends at once where nothing waits, and closing twice does nothing", async () => {
    const rig = open();
    await rig.recorder.close(minutes(5));
    await rig.recorder.close(minutes(5));
    expect(rig.clock.sleeping).toBe(0);
  });

  test("gives up after its time", async () => {
    const rig = open();
    rig.kube.on(`POST ${PATH}`, away);
    rig.recorder.record(anEvent(1, { importance: "terminal" }));
    await rig.clock.advance(NOW);
    let isClosed = false;
    const closed = rig.recorder.close(seconds(3)).then(() => (isClosed = true));
    await rig.clock.advance(millisOf(2999));
    expect(isClosed).toBe(false);
    await rig.clock.advance(millisOf(1));
    expect([await closed, rig.clock.sleeping]).toEqual([true, 0]);
  });
});
