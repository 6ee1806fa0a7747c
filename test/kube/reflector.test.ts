import { expect, test } from "vitest";

import { minutes, seconds } from "../../src/lib/time.ts";
import { added, aWidget, deleted, modified } from "../support/kube-objects.ts";
import { NOW, synced } from "./reflector-rig.ts";

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
