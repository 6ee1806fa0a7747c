import type { Entry } from "../history/recording.ts";
import type { SweepWorld } from "../support/sweep-world.ts";
import type { Cell, Reference } from "./cells.ts";
import { differences, type Left, stillAhead, TASK, TENANT } from "./outcome.ts";
import { isAside, type Ran } from "./run.ts";

/** What is wrong with a run: `T6` where no promise of the protocol has an id of its own. */
export interface Problem {
  readonly id: string;
  readonly says: string;
  /** Entry that shows it; null: the run as a whole. */
  readonly order: number | null;
}

const whole = (says: string, id = "T6"): Problem => ({ id, says, order: null });

export interface Judged {
  readonly cell: Cell;
  readonly ran: Ran;
  readonly reference: Reference;
  /** What the undisturbed run left. */
  readonly wanted: Left;
}

/** The oracle of docs/testing.md, Crash sweep. */
export async function judge(world: SweepWorld, judged: Judged): Promise<readonly Problem[]> {
  const { ran } = judged;
  return [
    ...struck(judged),
    ...ran.violations,
    ...(await ends(world, judged)),
    ...doubled(ran),
    ...afterTheEnd(judged),
  ];
}

/** The fault came once, at its point, after the reference's own trace. */
function struck({ cell, ran, reference }: Judged): readonly Problem[] {
  const point = `${cell.boundary}.${cell.place}=${cell.does} ${ran.namespace}/${TASK}`;
  const fired = cell.place === "late" || (ran.fired.length === 1 && ran.fired[0] === point);
  const missed = fired ? [] : [whole(`the fault fired as ${ran.fired.join(", ") || "nothing"}`)];
  if (isAside(cell.boundary)) return missed;
  const upTo = reference.boundaries.indexOf(cell.boundary) + 1;
  const wanted = reference.boundaries.slice(0, upTo).join(" ");
  const passed = ran.trace
    .filter((name) => !isAside(name))
    .slice(0, upTo)
    .join(" ");
  return wanted === passed ? missed : [...missed, whole(`before the fault it passed ${passed}; undisturbed ${wanted}`)];
}

async function ends(world: SweepWorld, { cell, ran, wanted }: Judged): Promise<readonly Problem[]> {
  const undone =
    cell.way === "forward"
      ? []
      : [...differences(ran.before, ran.after), ...(await stillAhead(world, ran.namespace))].map((path) =>
          whole(path, "S7"),
        );
  // Turned back half-way it undoes less, and remembers less.
  if (cell.turn === "after fault") return undone;
  return [...undone, ...differences(wanted, ran.left).map((path) => whole(path))];
}

/** One effect in force per receiver, stage and direction. */
function doubled({ recording }: Ran): readonly Problem[] {
  const seen = new Set<string>();
  return recording.entries.flatMap((entry) => {
    if (entry.is !== "effect" || entry.verdict !== "applied") return [];
    const key = `${entry.to} ${entry.opId}`;
    const again = seen.has(key);
    seen.add(key);
    return again ? [{ id: "R49", says: `the same operation took force twice at ${entry.to}`, order: entry.order }] : [];
  });
}

/**
 * Once it is out of the watch, nothing of it is written any more; but a process that was stopped in the middle of taking the lock may
 * still take it, and gives it back: a lock alone lets nobody act.
 */
function afterTheEnd({ cell, ran }: Judged): readonly Problem[] {
  const { entries } = ran.recording;
  const own = (entry: Entry): boolean =>
    (entry.is === "task" && entry.name === TASK) ||
    (entry.is === "tenant" && entry.name === TENANT && cell.does !== "stop");
  const done = entries.find((entry) => entry.is === "task" && entry.name === TASK && entry.done);
  if (done === undefined) return [whole("it never left the watch")];
  return entries.flatMap((entry) =>
    own(entry) && entry.order > done.order
      ? [{ id: "L8", says: `a version of ${entry.is === "task" ? TASK : TENANT} after the end`, order: entry.order }]
      : [],
  );
}

/** The undisturbed run's own trace is what was on the wire: a write that goes round the boundary is seen here. */
export function roundBoundary({ trace, wires, violations }: Ran): readonly Problem[] {
  const own = trace.filter((name) => !isAside(name)).join(" ");
  const wire = wires
    .filter(({ kind }) => !isAside(kind))
    .map(({ kind, n }) => `${kind}#${n}`)
    .join(" ");
  const asides = (names: readonly string[]): number => names.filter(isAside).length;
  const counted = asides(trace) === asides(wires.map(({ kind }) => kind));
  return [
    ...violations,
    ...(own === wire ? [] : [whole(`it passed ${own}; on the wire were ${wire}`)]),
    ...(counted ? [] : [whole("Events on the wire and in the trace differ")]),
  ];
}
