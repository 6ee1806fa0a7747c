import { deepEqual } from "./deep-equal.ts";

/** What came of new settings while a component is open: top-level fields by name. */
export interface Reloaded {
  /** In force now. */
  readonly applied: readonly string[];
  /** Differ, and stay as they were until the process starts anew. */
  readonly needsRestart: readonly string[];
}

/** Fields that differ, told apart by whether they are live. */
export function reloaded(old: object, next: object, isLive: (field: string) => boolean): Reloaded {
  const before = new Map<string, unknown>(Object.entries(old));
  const after = new Map<string, unknown>(Object.entries(next));
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
    (field) => !deepEqual(before.get(field), after.get(field)),
  );
  return { applied: changed.filter(isLive), needsRestart: changed.filter((field) => !isLive(field)) };
}
