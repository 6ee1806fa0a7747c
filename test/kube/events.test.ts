import { describe, expect, onTestFinished, test } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import { EVENTS, eventNameOf, type EventToRecord, type Importance } from "../../src/kube/event.ts";
import { EVENT_BURST, EVENT_REFILL, openEventBudget } from "../../src/kube/event-budget.ts";
import { type DropReason, type EventRecorder, openEventRecorder, type RecorderOptions } from "../../src/kube/events.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { formatMicroTime } from "../../src/kube/micro-time.ts";
import type { KubeRequest, KubeResponse, Rng } from "../../src/lib/seams.ts";
import { millisOf, minutes, plus, seconds } from "../../src/lib/time.ts";
import { type FakeKube, ok, openFakeKube, type Reply, statusAnswer } from "../support/fake-kube-transport.ts";
import { aWidget } from "../support/kube-objects.ts";
import { ManualClock, NOON } from "../support/manual-clock.ts";

const latest: Rng = { float: () => 1 - Number.EPSILON, id: () => "" };
const NOW = millisOf(0);
const PATH = "/apis/events.k8s.io/v1/namespaces/ns/events";

interface About {
  readonly importance?: Importance;
  readonly name?: string;
  readonly count?: number;
  readonly note?: string;
}

const anEvent = (
  sequence: number,
  { importance = "normal", name = "acme", count, note = `note ${sequence}` }: About = {},
): EventToRecord => ({
  regarding: { apiVersion: "example.dev/v1", kind: "Widget", namespace: "ns", name, uid: `uid-${name}` },
  type: "Normal",
  reason: "Started",
  note,
  sequence,
  importance,
  ...(count === undefined ? {} : { series: { count } }),
});

interface Rig {
  readonly clock: ManualClock;
  readonly kube: FakeKube;
  readonly recorder: EventRecorder;
  readonly flushed: string[];
  readonly dropped: DropReason[];
  readonly warnings: string[];
  /** Notes of the Events that were asked to be made, in order. */
  notes(): string[];
}

function open(about: Partial<RecorderOptions> = {}): Rig {
  const [clock, kube] = [new ManualClock(), openFakeKube()];
  const [flushed, dropped, warnings]: [string[], DropReason[], string[]] = [[], [], []];
  kube.on(`POST ${PATH}`, ok(aWidget("event", 1)));
  const recorder = openEventRecorder({
    client: openClient(kube, { clock }),
    clock,
    rng: latest,
    log: { info: () => undefined, warn: (_fields, text) => warnings.push(text), error: () => undefined },
    wall: () => clock.now(),
    reportingController: "example.dev/operator",
    reportingInstance: "pod-1",
    onFlushed: (uid) => flushed.push(uid),
    onDropped: (reason) => dropped.push(reason),
    ...about,
  });
  onTestFinished(() => recorder.close(NOW));
  const notes = (): string[] =>
    kube.requests.flatMap(({ method, body }) => (method === "POST" ? [(body as { note: string }).note] : []));
  return { clock, kube, recorder, flushed, dropped, warnings, notes };
}

const failing = (times: number, reply: Reply): Reply[] => [
  ...Array.from({ length: times }, () => reply),
  ok(aWidget("event", 1)),
];
const away = new NoAnswer("Refused", "ECONNREFUSED");

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
