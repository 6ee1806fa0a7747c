import { describe, expect, inject, onTestFinished, test } from "vitest";

import { EVENTS, eventNameOf, type EventToRecord, type Regarding } from "../../src/kube/event.ts";
import { type DropReason, type EventRecorder, openEventRecorder } from "../../src/kube/events.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { systemRng } from "../../src/kube/clock.ts";
import { isNotFound } from "../../src/kube/errors.ts";
import { refOf } from "../../src/kube/resource.ts";
import { seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { aNamespace, NAMESPACES, openApiProxy, openKubeRig, POINT } from "../support/kube-rig.ts";
import { wallClock } from "../support/wall-clock.ts";

const { KUBECONFIG_ADMIN: admin = "" } = inject("env");

interface Rig {
  readonly recorder: EventRecorder;
  readonly dropped: DropReason[];
  readonly flushed: string[];
}

function recorderOver(client: KubeClient): Rig {
  const [dropped, flushed]: [DropReason[], string[]] = [[], []];
  const recorder = openEventRecorder({
    client,
    clock: wallClock,
    rng: systemRng,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    wall: () => wallClock.now(),
    reportingController: "test.local/operator",
    reportingInstance: "pod-0",
    onDropped: (reason) => dropped.push(reason),
    onFlushed: (uid) => flushed.push(uid),
  });
  onTestFinished(() => recorder.close(seconds(0)));
  return { recorder, dropped, flushed };
}

const regarding = (namespace: string): Regarding => ({
  apiVersion: "test.local/v1",
  kind: "Widget",
  namespace,
  name: "acme",
  uid: "11111111-2222-4333-8444-555555555555",
});
const anEvent = (namespace: string, sequence: number, more: Partial<EventToRecord> = {}): EventToRecord => ({
  regarding: regarding(namespace),
  type: "Normal",
  reason: "Started",
  note: `number ${sequence}`,
  sequence,
  importance: "normal",
  annotations: { "test.local/sequence": String(sequence) },
  ...more,
});

const idle = ({ recorder }: Rig): Promise<unknown> => recorder.close(seconds(10));
const eventsOf = async (client: KubeClient, namespace: string): Promise<Record<string, unknown>[]> => {
  const { items } = await client.list(EVENTS, { namespace });
  return items.map(({ metadata, reason, note, series, deprecatedCount }) => ({
    name: metadata.name,
    reason,
    note,
    series,
    deprecatedCount,
    sequence: metadata.annotations?.["test.local/sequence"],
  }));
};

describe("the real API server", () => {
  test("takes what is recorded, with reason, note and sequence; recorded again after a crash it makes no second one", async () => {
    const { client } = openKubeRig({ kubeconfig: admin });
    const namespace = await aNamespace(client, "events");
    for (let process = 0; process < 2; process += 1) {
      const rig = recorderOver(client);
      rig.recorder.record(anEvent(namespace, 1));
      rig.recorder.record(
        anEvent(namespace, 2, { type: "Warning", reason: "Failed", importance: "terminal", note: "ä".repeat(2000) }),
      );
      await idle(rig);
      expect([rig.dropped, rig.flushed]).toEqual([[], [regarding(namespace).uid]]);
    }
    const events = await eventsOf(client, namespace);
    expect(events.map(({ reason, sequence }) => [reason, sequence])).toEqual([
      ["Started", "1"],
      ["Failed", "2"],
    ]);
    expect(Buffer.byteLength(String(events[1]?.note))).toBeLessThanOrEqual(1024);
  });

  test("shows a heartbeat as one Event whose series moves", async () => {
    const { client } = openKubeRig({ kubeconfig: admin });
    const namespace = await aNamespace(client, "events");
    const rig = recorderOver(client);
    for (const count of [1, 2, 3]) {
      rig.recorder.record(anEvent(namespace, 7, { reason: "Progress", series: { count }, importance: "droppable" }));
      await until(
        () => rig.recorder.depth,
        (depth) => depth === 0,
      );
    }
    await idle(rig);
    expect(await eventsOf(client, namespace)).toMatchObject([{ reason: "Progress", series: { count: 3 } }]);
    await client.delete(
      EVENTS,
      { namespace, name: eventNameOf(anEvent(namespace, 7)) },
      await preconditionOf(client, namespace),
      { point: POINT },
    );
    const later = recorderOver(client);
    later.recorder.record(anEvent(namespace, 7, { reason: "Progress", series: { count: 9 } }));
    await idle(later);
    expect(await eventsOf(client, namespace)).toMatchObject([{ reason: "Progress", series: { count: 9 } }]);
  });

  test("away for a while: what waits is written once it is back, each once though an answer was lost", async () => {
    const { client } = openKubeRig({ kubeconfig: admin });
    const namespace = await aNamespace(client, "events");
    const proxy = await openApiProxy(admin);
    const rig = recorderOver(openKubeRig({ kubeconfig: admin, proxy }).client);
    rig.recorder.record(anEvent(namespace, 1));
    await until(
      () => eventsOf(client, namespace),
      ({ length }) => length === 1,
    );
    proxy.swallow("toClient");
    rig.recorder.record(anEvent(namespace, 2, { importance: "terminal" }));
    await until(
      () => eventsOf(client, namespace),
      ({ length }) => length === 2,
    );
    proxy.refuse();
    proxy.cut();
    rig.recorder.record(anEvent(namespace, 3, { importance: "terminal" }));
    expect(rig.recorder.pending(regarding(namespace).uid)).toBe(true);
    proxy.clear();
    await idle(rig);
    expect([
      (await eventsOf(client, namespace)).map(({ sequence }) => sequence),
      rig.recorder.pending(regarding(namespace).uid),
    ]).toEqual([["1", "2", "3"], false]);
  });

  test("says that a namespace goes away, or is not there: dropped quietly, nobody waits for them", async () => {
    const { client } = openKubeRig({ kubeconfig: admin });
    const namespace = await aNamespace(client, "events");
    const { metadata } = await client.get(NAMESPACES, { namespace: null, name: namespace });
    await client.delete(NAMESPACES, { namespace: null, name: namespace }, { uid: metadata.uid }, { point: POINT });
    const rig = recorderOver(client);
    rig.recorder.record(anEvent(namespace, 1, { importance: "terminal" }));
    rig.recorder.record(anEvent("never-was", 1, { importance: "terminal" }));
    await idle(rig);
    expect([rig.dropped, rig.recorder.pending(regarding(namespace).uid)]).toEqual([["namespace", "namespace"], false]);
  });
});

async function preconditionOf(client: KubeClient, namespace: string): Promise<{ uid: string }> {
  const { items } = await client.list(EVENTS, { namespace });
  const [first] = items;
  if (first === undefined) throw new Error("no Event to delete");
  expect(refOf(first).namespace).toBe(namespace);
  return { uid: first.metadata.uid };
}

test("an Event that was never written is not there", async () => {
  const { client } = openKubeRig({ kubeconfig: admin });
  const error = await client.get(EVENTS, { namespace: "default", name: "never" }).catch((thrown: unknown) => thrown);
  expect(isNotFound(error)).toBe(true);
});
