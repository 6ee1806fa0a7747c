import { describe, expect, test } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { ok, openFakeKube, statusAnswer } from "../support/fake-kube-transport.ts";
import { added, aList, aWidget, bookmark, modified } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { LIST, NOW, open, synced } from "./reflector-rig.ts";

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
