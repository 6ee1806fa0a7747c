import { deepEqual } from "../../lib/deep-equal.ts";
import type { Json } from "../../lib/json.ts";

export interface Difference {
  readonly path: string;
  /** Undefined where the field was, or is, not there. */
  readonly old: Json | undefined;
  readonly new: Json | undefined;
}

/**
 * What differs, field by field, in the order of the paths. Of two lists, what they begin and end with alike is left out; as many items
 * on both sides in between are compared one by one, else they went and came as a whole.
 */
export function differences(old: Json | undefined, next: Json | undefined, path = ""): readonly Difference[] {
  if (deepEqual(old, next)) return [];
  if (Array.isArray(old) && Array.isArray(next)) return itemsThatDiffer(old, next, path);
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

function itemsThatDiffer(old: readonly Json[], next: readonly Json[], path: string): readonly Difference[] {
  const shorter = Math.min(old.length, next.length);
  let head = 0;
  while (head < shorter && deepEqual(old[head], next[head])) head += 1;
  let tail = 0;
  while (tail < shorter - head && deepEqual(old.at(-1 - tail), next.at(-1 - tail))) tail += 1;
  const [gone, come] = [old.slice(head, old.length - tail), next.slice(head, next.length - tail)];
  const at = (i: number): string => `${path}[${head + i}]`;
  if (gone.length === come.length) return gone.flatMap((item, i) => differences(item, come[i], at(i)));
  return [
    ...gone.map((item, i) => ({ path: at(i), old: item, new: undefined })),
    ...come.map((item, i) => ({ path: at(i), old: undefined, new: item })),
  ];
}

const within = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);
const isObject = (value: Json | undefined): value is Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
