import { onTestFinished } from "vitest";

import { openClient } from "../../src/kube/client.ts";
import type { EventToRecord, Importance } from "../../src/kube/event.ts";
import { type DropReason, type EventRecorder, openEventRecorder, type RecorderOptions } from "../../src/kube/events.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import type { Rng } from "../../src/lib/seams.ts";
import { millisOf } from "../../src/lib/time.ts";
import { type FakeKube, ok, openFakeKube, type Reply } from "../support/fake-kube-transport.ts";
import { aWidget } from "../support/kube-objects.ts";
import { ManualClock } from "../support/manual-clock.ts";

const latest: Rng = { float: () => 1 - Number.EPSILON, id: () => "" };
export const NOW = millisOf(0);
export const PATH = "/apis/events.k8s.io/v1/namespaces/ns/events";

interface About {
  readonly importance?: Importance;
  readonly name?: string;
  readonly count?: number;
  readonly note?: string;
}

export const anEvent = (
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

export interface Rig {
  readonly clock: ManualClock;
  readonly kube: FakeKube;
  readonly recorder: EventRecorder;
  readonly flushed: string[];
  readonly dropped: DropReason[];
  readonly warnings: string[];
  /** Notes of the Events that were asked to be made, in order. */
  notes(): string[];
}

export function open(about: Partial<RecorderOptions> = {}): Rig {
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

export const failing = (times: number, reply: Reply): Reply[] => [
  ...Array.from({ length: times }, () => reply),
  ok(aWidget("event", 1)),
];
export const away = new NoAnswer("Refused", "ECONNREFUSED");
