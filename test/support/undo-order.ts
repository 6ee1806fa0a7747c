import type { TaskSpec } from "../../src/domain/stored.ts";

/** What an undo may go by. */
export interface UndoFacts {
  readonly previousKnown: boolean;
  /** Stages that were claimed on the way forward. */
  readonly claimed: readonly string[];
  /** Some receiver of the plan checks no fence. */
  readonly unfenced: boolean;
}

const IS_WRITE = new Set(["write", "duo"]);
const ANNOUNCES: Readonly<Record<string, string>> = {
  duo: "publish",
  tell: "announce",
  repeat: "announce",
  once: "announce",
};

/**
 * The order of an undo as protocol.md words it, written a second time and the long way round: cut the plan before each write that follows
 * something else, take the pieces last first, and of each piece the writes in reverse, then the announces; at the end the verifies of
 * the pieces, last first. `stage/part`.
 */
export function undoOrder({ stages }: Pick<TaskSpec, "stages">, facts: UndoFacts): readonly string[] {
  const starts = stages
    .map(({ kind }, i) => (IS_WRITE.has(kind) && i > 0 && !IS_WRITE.has(stages[i - 1]?.kind ?? "") ? i : -1))
    .filter((i) => i > 0);
  const cuts = [0, ...starts, stages.length];
  const order: string[] = [];
  const verifies: string[] = [];
  for (let piece = cuts.length - 2; piece >= 0; piece -= 1) {
    const inside = stages.slice(cuts[piece], cuts[piece + 1]);
    const claimed = inside.filter(({ name }) => facts.claimed.includes(name));
    for (const { name, kind } of claimed.toReversed()) if (IS_WRITE.has(kind)) order.push(`${name}/write`);
    for (const { name, kind } of claimed) {
      const part = ANNOUNCES[kind];
      if (part !== undefined) order.push(`${name}/${part}`);
    }
    if (facts.previousKnown) for (const { name, kind } of inside) if (kind === "look") verifies.push(`${name}/verify`);
  }
  if (order.length === 0) return [];
  return [...order, ...verifies, ...(facts.unfenced ? verifies.map((name) => `${name}-again`) : [])];
}
