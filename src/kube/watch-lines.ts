import { decodeJsonBytes } from "./list-decoder.ts";
import { asObject, isVersion, type KubeObject } from "./resource.ts";

/** One line of a watch. `unreadable` is never skipped: what it said is unknown, so everything is listed again. */
export type WatchEvent =
  | { readonly type: "upsert" | "delete"; readonly object: KubeObject }
  | { readonly type: "bookmark"; readonly resourceVersion: string; readonly isInitialEnd: boolean }
  | { readonly type: "error"; readonly status: unknown }
  | { readonly type: "unreadable"; readonly reason: string };

const INITIAL_END = "k8s.io/initial-events-end";

export function decodeWatchLine(line: Uint8Array): WatchEvent {
  let event: unknown;
  try {
    event = decodeJsonBytes(line);
  } catch {
    return { type: "unreadable", reason: "NotJson" };
  }
  const { type, object } = Object(event) as { readonly type?: unknown; readonly object?: unknown };
  switch (type) {
    case "ADDED":
    case "MODIFIED":
      return changeOf("upsert", object);
    case "DELETED":
      return changeOf("delete", object);
    case "BOOKMARK":
      return bookmarkOf(object);
    case "ERROR":
      return { type: "error", status: object };
    default:
      return { type: "unreadable", reason: "UnknownType" };
  }
}

function changeOf(type: "upsert" | "delete", value: unknown): WatchEvent {
  const object = asObject(value);
  return object === null ? { type: "unreadable", reason: "NotAnObject" } : { type, object };
}

function bookmarkOf(value: unknown): WatchEvent {
  const { metadata } = Object(value) as { readonly metadata?: unknown };
  const { resourceVersion, annotations } = Object(metadata) as Readonly<Record<string, unknown>>;
  if (!isVersion(resourceVersion)) return { type: "unreadable", reason: "NotABookmark" };
  const marks = Object(annotations) as Readonly<Record<string, unknown>>;
  return { type: "bookmark", resourceVersion, isInitialEnd: marks[INITIAL_END] === "true" };
}
