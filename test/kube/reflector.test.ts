import { describe, expect, onTestFinished, test } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import type { KubeLog } from "../../src/kube/log.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { openReflector, type Reflector, type ReflectorOptions } from "../../src/kube/reflector.ts";
import { createStore, type Store } from "../../src/kube/store.ts";
import type { Rng } from "../../src/lib/seams.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { type FakeKube, type FakeStream, ok, openFakeKube, statusAnswer } from "../support/fake-kube-transport.ts";
import { added, aList, aWidget, bookmark, deleted, modified, WIDGETS, WIDGETS_PATH } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** No jitter: waits are as long as they get, the periodic list comes after exactly five minutes less a tenth. */
const latest: Rng = { float: () => 1 - Number.EPSILON, id: () => "" };
const LIST = `GET ${WIDGETS_PATH}`;
const NOW = millisOf(0);

interface Rig {
  readonly clock: ManualClock;
  readonly kube: FakeKube;
  readonly store: Store;
  readonly reflector: Reflector;
  readonly warnings: string[];
  told(): string[];
  /** Names in the store. */
  held(): string[];
  /** The watch that is read now. */
  watch(): FakeStream;
  /** Query of each watch and list that was asked for. */
  asked(): string[];
}

function open(about: Partial<ReflectorOptions> = {}): Rig {
  const clock = new ManualClock();
  const kube = openFakeKube();
  kube.on(LIST, ({ query }) => ok(aList(query?.["limit"] === "1" ? 199 : 100, [])));
  const store = createStore();
  const warnings: string[] = [];
  const log: KubeLog = {
    info: () => undefined,
    warn: (_fields, text) => warnings.push(text),
    error: (_fields, text) => warnings.push(text),
  };
  const told: string[] = [];
  const version = ({ metadata }: KubeObject): string => `${metadata.name}@${metadata.resourceVersion}`;
  const reflector = openReflector({
    client: openClient(kube, { clock }),
    resource: WIDGETS,
    namespace: null,
    store,
    clock,
    rng: latest,
    log,
    on: {
      upsert: (object, _previous, source) => told.push(`${source} ${version(object)}`),
      gone: (object) => told.push(`gone ${version(object)}`),
      synced: () => told.push("synced"),
      rewound: () => told.push("rewound"),
    },
    ...about,
  });
  onTestFinished(() => reflector.close());
  return {
    clock,
    kube,
    store,
    reflector,
    warnings,
    told: () => told.splice(0),
    held: () => store.all().map(version).toSorted(),
    watch() {
      const stream = kube.streams.at(-1);
      if (stream === undefined) throw new Error("no watch was asked for");
      return stream;
    },
    asked: () => kube.requests.map(({ query }) => new URLSearchParams(query).toString()),
  };
}

/** Synced by a streaming list that showed these, at version 100. */
async function synced(objects: readonly KubeObject[] = [], about: Partial<ReflectorOptions> = {}): Promise<Rig> {
  const rig = open(about);
  await rig.clock.advance(NOW);
  rig.watch().send(...objects.map(added), bookmark(100, true));
  await rig.clock.advance(NOW);
  rig.told();
  return rig;
}

describe("the first list", () => {
  test("streams: objects, the mark of their end, then the watch goes on in the same answer", async () => {
    const rig = open({ labelSelector: "!done", fieldSelector: "spec.colour=red" });
    await rig.clock.advance(NOW);
    expect(rig.asked()).toEqual([
      "watch=true&allowWatchBookmarks=true&timeoutSeconds=600&labelSelector=%21done&fieldSelector=spec.colour%3Dred" +
        "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    ]);
    rig.watch().send(added(aWidget("a", 7)), added(aWidget("b", 9)));
    await rig.clock.advance(NOW);
    expect([rig.reflector.isSynced, rig.told()]).toEqual([false, ["list a@7", "list b@9"]]);
    rig.watch().send(bookmark(100, true), modified(aWidget("a", 101)), deleted(aWidget("b", 102)));
    await rig.clock.advance(NOW);
    expect([rig.reflector.isSynced, rig.told(), rig.held()]).toEqual([
      true,
      ["synced", "watch a@101", "gone b@9"],
      ["a@101"],
    ]);
    expect(rig.kube.requests).toHaveLength(1);
  });

  test("comes in pages where the server refuses to stream, and the watch goes on from its version", async () => {
    const kube = openFakeKube();
    const clock = new ManualClock();
    kube.onStream(statusAnswer(422, "Invalid", { message: "sendInitialEvents is forbidden" }));
    kube.on(LIST, ok(aList(100, [aWidget("a", 7)], "next")), ok(aList(100, [aWidget("b", 9)])));
    const rig = open({ client: openClient(kube, { clock }), clock });
    await clock.advance(seconds(1));
    expect([rig.held(), rig.reflector.isSynced]).toEqual([["a@7", "b@9"], true]);
    const asked = kube.requests.map(({ query }) => query ?? {});
    expect(asked.map(({ limit, continue: token, resourceVersion }) => [limit, token, resourceVersion])).toEqual([
      [undefined, undefined, undefined],
      ["500", undefined, undefined],
      ["500", "next", undefined],
      [undefined, undefined, "100"],
    ]);
    kube.streams[0]?.send(added(aWidget("c", 101)));
    await clock.advance(NOW);
    expect(rig.held()).toEqual(["a@7", "b@9", "c@101"]);
    await kube.close();
  });

  test("comes in pages where the server streams but never marks the end of the first objects", async () => {
    const rig = open();
    rig.kube.on(LIST, ok(aList(100, [aWidget("a", 7)])));
    await rig.clock.advance(NOW);
    rig.watch().send(added(aWidget("a", 7)), bookmark(100));
    await rig.clock.advance(seconds(1));
    expect([rig.reflector.isSynced, rig.held()]).toEqual([true, ["a@7"]]);
    expect(rig.asked().map((query) => query.includes("sendInitialEvents"))).toEqual([true, false, false]);
  });

  test("cut in the middle it begins again", async () => {
    const rig = open();
    await rig.clock.advance(NOW);
    rig.watch().send(added(aWidget("a", 7)), added(aWidget("b", 9)));
    rig.watch().cut();
    await rig.clock.advance(seconds(1));
    expect(rig.reflector.isSynced).toBe(false);
    rig.watch().send(added(aWidget("b", 9)), bookmark(100, true));
    await rig.clock.advance(NOW);
    expect([rig.told(), rig.held()]).toEqual([["list a@7", "list b@9", "gone a@7", "synced"], ["b@9"]]);
  });

  test("who waits for it is told, or gets his own signal's reason, or that the reflector was closed", async () => {
    const rig = open();
    const stop = new AbortController();
    const [waits, gives] = [
      rig.reflector.whenSynced(new AbortController().signal),
      rig.reflector.whenSynced(stop.signal),
    ];
    stop.abort(new Error("enough"));
    await expect(gives).rejects.toThrow("enough");
    await rig.clock.advance(NOW);
    rig.watch().send(bookmark(100, true));
    await rig.clock.advance(NOW);
    await expect(waits).resolves.toBeUndefined();
    const another = open();
    const never = another.reflector.whenSynced(new AbortController().signal);
    await Promise.all([expect(never).rejects.toThrow("closed"), another.reflector.close()]);
  });
});

describe("a watch that ends", () => {
  test("in order is taken up from where it was, bookmarks included, without a new list", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send(modified(aWidget("a", 101)), bookmark(150));
    await rig.clock.advance(minutes(1));
    rig.watch().end();
    await rig.clock.advance(NOW);
    expect(rig.asked().at(-1)).toBe("watch=true&allowWatchBookmarks=true&timeoutSeconds=600&resourceVersion=150");
    rig.watch().send(added(aWidget("b", 151)));
    await rig.clock.advance(NOW);
    expect([rig.held(), rig.reflector.counts.failures]).toEqual([["a@101", "b@151"], 0]);
  });

  test("by a cut is taken up from where it was", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().cut();
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=100");
    expect([rig.reflector.counts.failures, rig.warnings]).toEqual([
      1,
      ["the watch ended (ECONNRESET); it is begun again"],
    ]);
  });

  test("is begun again for ever, at most 30 s apart, and quickly again after it held for a while", async () => {
    const rig = await synced();
    rig.kube.onStream(...Array.from({ length: 40 }, () => new NoAnswer("Refused", "ECONNREFUSED")));
    const at: number[] = [];
    rig.watch().cut();
    for (let tries = rig.kube.requests.length; at.length < 9;) {
      await rig.clock.advance(seconds(1));
      if (rig.kube.requests.length > tries) at.push(rig.clock.monotonic() / 1000);
      tries = rig.kube.requests.length;
    }
    expect(at.map((time, i) => time - (at[i - 1] ?? 0))).toEqual([1, 2, 4, 8, 16, 30, 30, 30, 30]);
    expect(rig.reflector.age()).toBeGreaterThan(seconds(150));
  });

  test("that the server ends at once, in order, again and again, is not begun again in a hot loop", async () => {
    const rig = await synced();
    for (let second = 0; second < 60; second += 1) {
      rig.watch().end();
      await rig.clock.advance(seconds(1));
    }
    expect(rig.kube.requests.length).toBeLessThan(10);
  });

  test("[kube-apiserver/busy] asked to wait by Retry-After it waits so long, but never beyond its own limit", async () => {
    const rig = await synced();
    rig.kube.onStream({ ...statusAnswer(429, "TooManyRequests"), headers: { "retry-after": "20" } });
    rig.watch().cut();
    await rig.clock.advance(seconds(2));
    const asked = rig.kube.requests.length;
    await rig.clock.advance(seconds(17));
    expect(rig.kube.requests).toHaveLength(asked);
    await rig.clock.advance(seconds(3));
    expect(rig.kube.requests).toHaveLength(asked + 1);
  });

  test("[kube-apiserver/silent] by silence of 90 s is dropped and taken up; bytes of any kind count as life", async () => {
    const rig = await synced();
    await rig.clock.advance(seconds(80));
    rig.watch().send(bookmark(120));
    await rig.clock.advance(seconds(80));
    expect([rig.reflector.age(), rig.kube.streams.length]).toEqual([seconds(80), 1]);
    const silent = rig.watch();
    await rig.clock.advance(seconds(10));
    expect([silent.isOpen, rig.warnings]).toEqual([false, ["the watch ended (no byte for 90 s); it is begun again"]]);
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=120");
  });
});

test("[kube-apiserver/silent] a streaming list that falls silent before its end is told in pages instead", async () => {
  const rig = open();
  await rig.clock.advance(NOW);
  rig.watch().send(added(aWidget("a", 7)));
  rig.kube.on(LIST, ok(aList(40, [aWidget("a", 7)])));
  await rig.clock.advance(seconds(92));
  expect([rig.told(), rig.held()]).toEqual([["list a@7", "synced"], ["a@7"]]);
  expect(rig.warnings).toEqual([
    "the watch ended (the server does not mark the end of the initial events: no byte for 90 s); it is begun again",
  ]);
});

describe("[L4] 410 in each of its shapes leads to a new list", () => {
  test("as the status of a watch", async () => {
    const rig = await synced([aWidget("a", 7), aWidget("b", 9)]);
    rig.kube.onStream(statusAnswer(410, "Expired"));
    rig.watch().cut();
    await rig.clock.advance(seconds(3));
    rig.watch().send(added(aWidget("b", 120)), bookmark(200, true));
    await rig.clock.advance(NOW);
    expect([rig.told(), rig.held()]).toEqual([["list b@120", "gone a@7"], ["b@120"]]);
  });

  test("as an ERROR event", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } });
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("sendInitialEvents");
    rig.watch().send(bookmark(200, true));
    await rig.clock.advance(NOW);
    expect(rig.told()).toEqual(["gone a@7"]);
  });

  test("on a continuation", async () => {
    const kube = openFakeKube();
    const clock = new ManualClock();
    kube.onStream(statusAnswer(422, "Invalid"));
    const gone = statusAnswer(410, "Expired");
    kube.on(
      LIST,
      ok(aList(100, [aWidget("a", 7)], "next")),
      gone,
      ok(aList(200, [aWidget("b", 150)], "more")),
      ok(aList(200, [aWidget("c", 160)])),
    );
    const rig = open({ client: openClient(kube, { clock }), clock });
    await clock.advance(seconds(1));
    expect([rig.held(), rig.told()]).toEqual([
      ["b@150", "c@160"],
      ["list a@7", "list b@150", "list c@160", "gone a@7", "synced"],
    ]);
    await kube.close();
  });
});

describe("other errors inside the stream", () => {
  test("take the watch up from where it was", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send(modified(aWidget("a", 101)), {
      type: "ERROR",
      object: { kind: "Status", code: 500, reason: "InternalError" },
    });
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toContain("resourceVersion=101");
  });
});

describe("[L4] [kube-apiserver/hostile] what cannot be read is never skipped: everything is listed again", () => {
  test.each<readonly [string, string | Uint8Array]>([
    ["garbage", "}{\n"],
    ["half a line and the next", '{"type":"MODIFIED","object":{"metadata":{"name":"a"\n'],
    ["an unknown type", '{"type":"SPLIT","object":{}}\n'],
    ["an object without a version", '{"type":"MODIFIED","object":{"metadata":{"name":"a","uid":"u"}}}\n'],
    ["bytes that are no text", Buffer.from([0x7b, 0xff, 0xfe, 0x0a])],
    ["a line beyond the limit", "x".repeat(5 * 1024 * 1024)],
  ])("%s", async (_what, bytes) => {
    const rig = await synced([aWidget("a", 7), aWidget("b", 9)]);
    rig.watch().raw(bytes);
    await rig.clock.advance(seconds(1));
    expect([rig.reflector.counts.unreadable, rig.asked().at(-1)?.includes("sendInitialEvents")]).toEqual([1, true]);
    rig.watch().send(added(aWidget("a", 120)), bookmark(200, true));
    await rig.clock.advance(NOW);
    expect(rig.told()).toEqual(["list a@120", "gone b@9"]);
  });
});

describe("[L4] the periodic list", () => {
  test("with every event lost a change is seen within six minutes, while the watch goes on", async () => {
    const rig = await synced([aWidget("a", 7), aWidget("b", 9)]);
    rig.kube.on(LIST, ok(aList(300, [aWidget("a", 250)], "next")), ok(aList(300, [aWidget("c", 260)])));
    const watch = rig.watch();
    for (let minute = 0; minute < 6; minute += 1) {
      watch.send(bookmark(100)); // the server is alive, it only tells nothing
      await rig.clock.advance(seconds(55));
    }
    expect([rig.told(), rig.held()]).toEqual([
      ["relist a@250", "relist c@260", "gone b@9"],
      ["a@250", "c@260"],
    ]);
    expect([watch.isOpen, rig.reflector.counts.relists]).toEqual([true, 1]);
    watch.send(modified(aWidget("c", 301)));
    await rig.clock.advance(NOW);
    expect(rig.told()).toEqual(["watch c@301"]);
  });

  test("failed or expired in the middle it is tried again soon, and nothing is gone by the half that came", async () => {
    const rig = await synced([aWidget("a", 7), aWidget("b", 9)]);
    const half = ok(aList(300, [aWidget("a", 7)], "next"));
    rig.kube.on(
      LIST,
      half,
      new NoAnswer("Ambiguous", "Timeout"),
      half,
      statusAnswer(410, "Expired"),
      ok(aList(310, [aWidget("a", 7), aWidget("b", 9)])),
    );
    for (let second = 0; second < 310; second += 10) {
      rig.watch().send(bookmark(100));
      await rig.clock.advance(seconds(10));
    }
    expect([rig.told(), rig.held(), rig.reflector.counts.relists]).toEqual([[], ["a@7", "b@9"], 1]);
  });

  test("does not begin before the first list is complete, nor after the reflector is closed", async () => {
    const rig = open();
    for (let minute = 1; minute <= 6; minute += 1) {
      await rig.clock.advance(minutes(1));
      rig.watch().send(added(aWidget("a", minute)));
    }
    expect(rig.kube.requests.filter(({ answer }) => answer === "list")).toEqual([]);
    await rig.reflector.close();
    expect(rig.clock.sleeping).toBe(0);
  });
});

describe("[S30] [kube-apiserver/reborn] history that went back", () => {
  test("is told once two consistent lists in a row are older than what is known, then everything is begun anew", async () => {
    const rig = await synced([aWidget("a", 7), aWidget("b", 9)]);
    rig.kube.on(LIST, ok(aList(40, [aWidget("a", 7)])));
    const watch = rig.watch();
    for (let second = 0; second < 280; second += 40) {
      watch.send(bookmark(100));
      await rig.clock.advance(seconds(40));
    }
    expect(rig.told()).toEqual(["rewound", "gone a@7", "gone b@9"]);
    expect(watch.isOpen).toBe(false);
    await rig.clock.advance(seconds(1));
    rig.watch().send(added(aWidget("a", 7)), bookmark(41, true));
    await rig.clock.advance(NOW);
    expect([rig.told(), rig.held()]).toEqual([["list a@7"], ["a@7"]]);
  });

  test("is found when the watch was lost, which would be silent until that history has caught up", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().send(modified(aWidget("a", 140)));
    await rig.clock.advance(NOW);
    rig.kube.on(LIST, ok(aList(40, [aWidget("a", 7)])));
    rig.watch().cut();
    await rig.clock.advance(seconds(1));
    expect(rig.asked().at(-1)).toBe("limit=1");
    await rig.clock.advance(seconds(2));
    rig.watch().send(added(aWidget("a", 7)), bookmark(40, true));
    await rig.clock.advance(NOW);
    expect(rig.told()).toEqual(["watch a@140", "rewound", "gone a@140"]);
    await rig.clock.advance(seconds(4));
    rig.watch().send(added(aWidget("a", 7)), bookmark(41, true));
    await rig.clock.advance(NOW);
    expect([rig.told(), rig.held()]).toEqual([["list a@7"], ["a@7"]]);
  });

  test("a first list that is older than what is known is asked for once more", async () => {
    const rig = await synced([aWidget("a", 7)]);
    rig.watch().raw("garbage\n");
    await rig.clock.advance(seconds(1));
    rig.watch().send(bookmark(40, true));
    await rig.clock.advance(seconds(4));
    expect(rig.warnings.at(-1)).toContain("the list of 40 is older than what is known");
    rig.watch().send(added(aWidget("a", 7)), bookmark(101, true));
    await rig.clock.advance(NOW);
    expect([rig.told(), rig.held()]).toEqual([[], ["a@7"]]);
  });
});

test("[S29] events doubled on the wire, and replayed after a reconnect, wake nobody", async () => {
  const rig = await synced([aWidget("a", 7)]);
  const events = [modified(aWidget("a", 101)), added(aWidget("b", 102)), deleted(aWidget("b", 103))];
  rig.watch().send(...events, ...events);
  rig.watch().cut();
  await rig.clock.advance(seconds(1));
  rig.watch().send(...events, added(aWidget("b", 102)));
  await rig.clock.advance(NOW);
  expect([rig.told(), rig.held()]).toEqual([["watch a@101", "watch b@102", "gone b@102"], ["a@101"]]);
  expect(rig.reflector.counts.stale).toBe(7);
});

test("[S24] a handler that throws is logged and ends nothing", async () => {
  const fails = (): never => {
    throw new Error("handler");
  };
  const rig = await synced([aWidget("a", 7)], { on: { upsert: fails, gone: fails, synced: fails, rewound: fails } });
  rig.watch().send(deleted(aWidget("a", 101)), added(aWidget("b", 102)));
  await rig.clock.advance(NOW);
  expect([rig.held(), rig.kube.streams.length, rig.warnings.length]).toEqual([["b@102"], 1, 4]);
});

test("closed, it reads nothing more and leaves no timer and no stream", async () => {
  const rig = await synced([aWidget("a", 7)]);
  const watch = rig.watch();
  await rig.reflector.close();
  watch.send(modified(aWidget("a", 101)));
  await rig.clock.advance(minutes(10));
  expect([rig.held(), watch.isOpen, rig.clock.sleeping, rig.kube.requests.length]).toEqual([["a@7"], false, 0, 1]);
});
