import { localClock } from "../../deployment/local/clock.ts";
import type { Millis } from "../../src/lib/time.ts";
import { millisOf } from "../../src/lib/time.ts";
import type { SweepWorld } from "../support/sweep-world.ts";
import { type Cell, cellsOf, nameOf, type Reference } from "./cells.ts";
import { judge, type Problem, roundBoundary } from "./judge.ts";
import type { Left } from "./outcome.ts";
import { type Pipeline, PIPELINES, type Way } from "./pipelines.ts";
import type { Failure } from "./report.ts";
import { referenceOf, runCell } from "./run.ts";

export interface Known {
  readonly reference: Reference;
  readonly wanted: Left;
  readonly problems: readonly Problem[];
}

/** The undisturbed run of each pipeline in each direction. */
export async function references(
  world: SweepWorld,
  wanted: readonly { readonly pipeline: Pipeline; readonly way: Way }[],
): Promise<ReadonlyMap<string, Known>> {
  const known = new Map<string, Known>();
  await atOnce(wanted, 2, async ({ pipeline, way }) => {
    const ran = await runCell(world, pipeline, way, null);
    const reference = await referenceOf(pipeline, way, ran);
    known.set(keyOf(pipeline.name, way), { reference, wanted: ran.left, problems: roundBoundary(ran) });
    forget(world, ran.namespace);
  });
  return known;
}

export const keyOf = (pipeline: string, way: Way): string => `${pipeline} ${way}`;

export const everyPipeline = (): readonly { readonly pipeline: Pipeline; readonly way: Way }[] =>
  Object.values(PIPELINES).flatMap((pipeline) => (["forward", "back"] as const).map((way) => ({ pipeline, way })));

export const everyCell = (known: ReadonlyMap<string, Known>): readonly Cell[] =>
  [...known.values()].flatMap(({ reference }) => cellsOf(reference));

/** What the list files hold: every write of the undisturbed runs. */
export function boundaryList(known: ReadonlyMap<string, Known>, pipeline: string): string {
  return (["forward", "back"] as const)
    .map((way) => {
      const reference = known.get(keyOf(pipeline, way))?.reference;
      const { boundaries = [], turn = 0 } = reference ?? {};
      const lines = boundaries.map((boundary, i) => (way === "back" && i >= turn ? `${boundary} undo` : boundary));
      return `${way}\n${lines.map((line) => `  ${line}`).join("\n")}\n`;
    })
    .join("");
}

export interface Swept {
  readonly runs: number;
  readonly failures: readonly Failure[];
  readonly took: Millis;
}

export interface Sweeping {
  readonly world: SweepWorld;
  readonly known: ReadonlyMap<string, Known>;
  readonly together: number;
  readonly onFailure?: (failure: Failure, number: number) => Promise<void>;
  readonly onRun?: (done: number, of: number) => void;
}

export async function sweep(
  cells: readonly Cell[],
  { world, known, together, onFailure, onRun }: Sweeping,
): Promise<Swept> {
  const began = localClock.monotonic();
  const failures: Failure[] = [];
  let runs = 0;
  await atOnce(cells, together, async (cell) => {
    const failure = await tryCell(world, known, cell);
    runs += 1;
    if (failure !== null) {
      failures.push(failure);
      await onFailure?.(failure, failures.length);
    }
    if (failure?.ran !== null && failure?.ran !== undefined) forget(world, failure.ran.namespace);
    onRun?.(runs, cells.length);
  });
  return { runs, failures, took: millisOf(localClock.monotonic() - began) };
}

async function tryCell(world: SweepWorld, known: ReadonlyMap<string, Known>, cell: Cell): Promise<Failure | null> {
  const about = known.get(keyOf(cell.pipeline, cell.way));
  if (about === undefined) throw new Error(`no undisturbed run for ${nameOf(cell)}`);
  const { reference, wanted } = about;
  try {
    const ran = await runCell(world, reference.pipeline, cell.way, { cell, reference });
    const problems = await judge(world, { cell, ran, reference, wanted });
    if (problems.length > 0) return { cell, problems, ran };
    forget(world, ran.namespace);
    return null;
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    return { cell, problems: [{ id: "T6", says, order: null }], ran: null };
  }
}

function forget({ record, proxy }: SweepWorld, namespace: string): void {
  record.forget(namespace);
  proxy.forget(namespace);
}

async function atOnce<T>(items: readonly T[], width: number, each: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await each(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
}
