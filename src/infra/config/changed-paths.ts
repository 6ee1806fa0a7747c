import { deepEqual } from "../../lib/deep-equal.ts";
import type { Json } from "../../lib/json.ts";

export interface Difference {
  readonly path: string;
  /** Undefined where the field was, or is, not there. */
  readonly old: Json | undefined;
  readonly new: Json | undefined;
}

/** What differs, field by field; lists are compared as a whole. In the order of the paths. */
export function differences(old: Json | undefined, next: Json | undefined, path = ""): readonly Difference[] {
  if (deepEqual(old, next)) return [];
  if (!isObject(old) || !isObject(next)) {
    const [from, to] = [isObject(old) && next === undefined, isObject(next) && old === undefined];
    const inner: Readonly<Record<string, Json>> = from ? (old as object as Record<string, Json>) : {};
    const others: Readonly<Record<string, Json>> = to ? (next as object as Record<string, Json>) : {};
    const keys = [...Object.keys(inner), ...Object.keys(others)].sort();
    if (keys.length === 0) return [{ path, old, new: next }];
    return keys.flatMap((key) => differences(inner[key], others[key], within(path, key)));
  }
  const keys = [...new Set([...Object.keys(old), ...Object.keys(next)])].sort();
  return keys.flatMap((key) => differences(old[key], next[key], within(path, key)));
}

const within = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);
const isObject = (value: Json | undefined): value is Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
