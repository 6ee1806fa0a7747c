import { hexDigest } from "../lib/digest.ts";
import type { NewObject, Resource } from "./resource.ts";

export const EVENTS: Resource = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  namespaced: true,
};

export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  /** null: cluster-scoped; its Events stand in `default`. */
  readonly namespace: string | null;
  readonly name: string;
  readonly uid: string;
}

/** Under load `droppable` ones go first, `terminal` ones never. */
export type Importance = "terminal" | "normal" | "droppable";

export interface EventToRecord {
  readonly regarding: Regarding;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  /** What was done, in a word; default: the reason. */
  readonly action?: string;
  /** 1 kB of it is kept. */
  readonly note: string;
  /** Grows per object: names the Event, so that recording it again after a crash makes no second one. */
  readonly sequence: number;
  readonly importance: Importance;
  /** A heartbeat: all with one sequence are one Event, whose count and last time move. 1 is the first. */
  readonly series?: { readonly count: number };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** How the API server holds it. */
export function eventObjectOf(event: EventToRecord, by: Reported): NewObject & { readonly series?: unknown } {
  const { regarding, type, reason, annotations, series } = event;
  const { time, reportingController, reportingInstance } = by;
  const metadata = { name: eventNameOf(event), namespace: namespaceOfEvent(event) };
  return {
    metadata: annotations === undefined ? metadata : { ...metadata, annotations },
    eventTime: time,
    reportingController,
    reportingInstance,
    regarding: { ...regarding, namespace: regarding.namespace ?? undefined },
    type,
    reason,
    action: event.action ?? reason,
    note: upTo1024Bytes(event.note),
    ...(isFollowing(event) ? { series: { count: series?.count, lastObservedTime: time } } : {}),
  };
}

interface Reported {
  readonly time: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
}

/** A heartbeat whose Event was created by an earlier one. */
export const isFollowing = ({ series }: EventToRecord): boolean => series !== undefined && series.count > 1;

export const namespaceOfEvent = ({ regarding }: EventToRecord): string => regarding.namespace ?? "default";

/** Room for the digest and a sequence of 16 digits below the 253 characters of a name. */
const LONGEST_STEM = 220;

/** `acme-green.3f9c21ab.14`: the same for the same Event of the same object, another for an object of the same name. */
export function eventNameOf({ regarding, sequence }: Pick<EventToRecord, "regarding" | "sequence">): string {
  const stem = regarding.name.slice(0, LONGEST_STEM).replace(/[^a-z0-9]+$/, "");
  return `${stem}.${hexDigest(regarding.uid).slice(0, 8)}.${sequence}`;
}

/** What the API server takes for a note. */
function upTo1024Bytes(note: string): string {
  const bytes = Buffer.from(note);
  if (bytes.length <= 1024) return note;
  return `${bytes
    .subarray(0, 1018)
    .toString()
    .replace(/\uFFFD+$/, "")}…`;
}
