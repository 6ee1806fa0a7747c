import { describe, expect, test } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import { seconds } from "../../src/lib/time.ts";
import { ok, openFakeKube, statusAnswer } from "../support/fake-kube-transport.ts";
import { added, aList, aWidget, bookmark, deleted, modified } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { LIST, NOW, open } from "./reflector-rig.ts";

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
