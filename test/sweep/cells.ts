import type { Action } from "../support/crash-points.ts";
import type { Pipeline, Way } from "./pipelines.ts";

/** `late`: sent, held on the way, delivered after the successor or the undo has settled. */
export const PLACES = ["before", "late", "sent", "done"] as const;
export type Place = (typeof PLACES)[number];
export const DOES = ["kill", "stop", "cut"] as const;

/** One run of the sweep. */
export interface Cell {
  readonly pipeline: string;
  readonly way: Way;
  /** `effect/redis#2` */
  readonly boundary: string;
  readonly place: Place;
  readonly does: Action;
  /** Back only: the rollback is asked for right after the fault, or once all but the last stage have settled. */
  readonly turn: "after fault" | "at the end" | null;
}

/** Every write of the undisturbed run, in order; `turn`: how many of them come before the rollback. */
export interface Reference {
  readonly pipeline: Pipeline;
  readonly way: Way;
  readonly boundaries: readonly string[];
  readonly turn: number;
  readonly events: number;
  /** What its effects said, by `stage direction part to`, its namespace written NS. */
  readonly contents: Readonly<Record<string, string>>;
}

/** Everything else cannot differ when it is late: what was stored since refuses it by its resourceVersion. */
const mayBeLate = (boundary: string): boolean => boundary.startsWith("effect/") || boundary.startsWith("api/status");

export function cellsOf(reference: Reference): readonly Cell[] {
  const { pipeline, way, boundaries, turn, events } = reference;
  const own = boundaries.flatMap((boundary, i) => {
    const back = i < turn ? ("after fault" as const) : ("at the end" as const);
    const places = PLACES.filter((place) => place !== "late" || mayBeLate(boundary));
    return places.flatMap((place) =>
      DOES.map((does): Cell => ({
        pipeline: pipeline.name,
        way,
        boundary,
        place,
        does,
        turn: way === "back" ? back : null,
      })),
    );
  });
  // Events are told beside the switch: their loss may change nothing, and only the death of the process can lose them.
  const told = Array.from({ length: way === "forward" ? events : 0 }, (_, i) => `api/event#${i + 1}`);
  const asides = told.flatMap((boundary) =>
    (["before", "sent"] as const).map((place): Cell => ({
      pipeline: pipeline.name,
      way,
      boundary,
      place,
      does: "kill",
      turn: null,
    })),
  );
  return [...own, ...asides];
}

/** Each boundary once, in the cell that its number and the seed choose. */
export function sliceOf(cells: readonly Cell[], seed: number): readonly Cell[] {
  const boundaries = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = `${cell.pipeline} ${cell.way} ${cell.boundary}`;
    boundaries.set(key, [...(boundaries.get(key) ?? []), cell]);
  }
  return [...boundaries.values()].flatMap((all, i) => all[((i + seed) % 12) % all.length] ?? []);
}

export const nameOf = ({ pipeline, way, boundary, place, does }: Cell): string =>
  `${pipeline} ${way} ${boundary}.${place} ${does}`;

/** The command that repeats this run alone. */
export const againOf = ({ pipeline, way, boundary, place, does }: Cell, seed: string): string =>
  `npm run sweep -- --pipeline ${pipeline} --at ${boundary}.${place} --do ${does} --direction ${way} --seed ${seed}`;
