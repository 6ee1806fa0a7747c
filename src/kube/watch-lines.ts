import { decodeJsonBytes } from "./list-decoder.ts";
import { asObject, isVersion, type KubeObject } from "./resource.ts";

/** One line of a watch. `unreadable` is never skipped: what it said is unknown, so everything is listed again. */
export type WatchEvent =
  | { readonly type: "upsert" | "delete"; readonly object: KubeObject }
  | { readonly type: "bookmark"; readonly resourceVersion: string; readonly isInitialEnd: boolean }
  | { readonly type: "error"; readonly status: unknown }
  | { readonly type: "unreadable"; readonly reason: string };

/** Cuts a stream into lines. Bytes are copied once at most, and only for lines that span chunks. */
export interface LineCutter {
  /** Whole lines that this chunk completes, empty ones left out. @throws RangeError for a line beyond the limit */
  push(chunk: Uint8Array): Generator<Uint8Array>;
}

const NEWLINE = 0x0a;

export function openLineCutter(longest: number): LineCutter {
  let pieces: Uint8Array[] = [];
  let held = 0;
  const bounded = (bytes: number): void => {
    if (bytes > longest) throw new RangeError("LineTooLong");
  };
  return {
    *push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        bounded(held + end - start);
        const rest = chunk.subarray(start, end);
        const line = held === 0 ? rest : Buffer.concat([...pieces, rest]);
        [pieces, held] = [[], 0];
        start = end + 1;
        if (line.length > 0) yield line;
      }
      if (start === chunk.length) return;
      held += chunk.length - start;
      bounded(held);
      pieces.push(chunk.subarray(start));
    },
  };
}

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
