import type { StagePlanner, UndoPart } from "./plan.ts";
import type { StageEntry, Status, TaskSpec } from "./stored.ts";
import type { TaskView } from "./task.ts";

/** One claim of the undo plan. `again`: a second look after everything that was sent without a fence must have arrived. */
export interface UndoStep extends UndoPart {
  readonly stage: string;
  readonly index: number;
  readonly again: boolean;
}

/** What compiling needs to know of a stage. */
export interface UndoStage {
  readonly name: string;
  readonly parts: readonly UndoPart[];
}

/**
 * The order in which a plan is undone (protocol.md, Undo). A segment is a maximal run of writes plus everything up to the next write;
 * stages before the first write form the first segment. Segments go last first; inside one: writes in reverse, then announces in
 * order with the restored version. The verify stages come last, against the previous unit: before the last announce an instance may
 * rightly still serve the new version. Follows from the frozen plan alone.
 *
 * `[write, notify, verify, patch]` → unpatch, unwrite, notify again, verify previous.
 *
 * Without a known previous there is nobody to verify against: those steps are left out, the read-backs of the stores count.
 */
export function compileUndo(
  stages: readonly UndoStage[],
  about: { readonly previousKnown: boolean; readonly unfenced: boolean },
): readonly UndoStep[] {
  const segments = segmentsOf(stages).toReversed();
  const changes = segments.flatMap((segment) => [
    ...stepsOf(segment, "write").toReversed(),
    ...stepsOf(segment, "announce"),
  ]);
  const verifies = about.previousKnown ? segments.flatMap((segment) => stepsOf(segment, "verify")) : [];
  const again = about.unfenced ? verifies.map((step) => ({ ...step, part: `${step.part}-again`, again: true })) : [];
  return [...changes, ...verifies, ...again];
}

const stepsOf = (segment: readonly Numbered[], role: UndoPart["role"]): UndoStep[] =>
  segment.flatMap(({ stage, index }) =>
    stage.parts
      .filter((part) => part.role === role)
      .map((part) => ({ ...part, stage: stage.name, index, again: false })),
  );

interface Numbered {
  readonly stage: UndoStage;
  readonly index: number;
}

function segmentsOf(stages: readonly UndoStage[]): readonly (readonly Numbered[])[] {
  const segments: Numbered[][] = [[]];
  let writesBefore = true;
  for (const [index, stage] of stages.entries()) {
    const writes = stage.parts.some((part) => part.role === "write");
    if (writes && !writesBefore) segments.push([]);
    segments.at(-1)?.push({ stage, index });
    writesBefore = writes;
  }
  return segments;
}

/** The stages of a spec as {@link compileUndo} wants them. */
export function undoStages(spec: TaskSpec, kinds: Readonly<Record<string, StagePlanner>>): readonly UndoStage[] {
  return spec.stages.map(({ name, kind, config }) => ({ name, parts: kinds[kind]?.undoParts(config) ?? [] }));
}

/** The undo plan of a frozen plan. */
export function undoPlanOf(view: Pick<TaskView, "spec" | "kinds">, status: Status): readonly UndoStep[] {
  if (view.spec === null || status.plan === null) return [];
  const { previous, unfenced } = status.plan;
  return compileUndo(undoStages(view.spec, view.kinds), {
    previousKnown: previous !== null,
    unfenced: unfenced.length > 0,
  });
}

export const wasClaimed = (entry: StageEntry | undefined): boolean => entry !== undefined && entry.seq > 0;

/**
 * What is left to undo: the plan less never-claimed writes and announces and less what has settled. Verify steps are due even if the
 * stage was never claimed, but only where something was claimed that could have moved the tenant.
 */
export function undoLeft(steps: readonly UndoStep[], entries: readonly StageEntry[]): readonly UndoStep[] {
  const entryOf = (step: UndoStep): StageEntry | undefined => entries.find((entry) => entry.name === step.stage);
  const touched = steps.some((step) => step.role !== "verify" && wasClaimed(entryOf(step)));
  if (!touched) return [];
  return steps.filter((step) => {
    const entry = entryOf(step);
    if (entry?.undone.includes(step.part) === true) return false;
    return step.role === "verify" || wasClaimed(entry);
  });
}
