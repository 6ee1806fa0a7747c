import { basisOf, mustSpec } from "./basis.ts";
import { type Planned, planStage } from "./plan.ts";
import { bytesOf } from "./sizes.ts";
import type { Issue, Preview, Status } from "./stored.ts";
import type { TaskView } from "./task.ts";
import { undoPlanOf } from "./undo.ts";

/** api.md, Status. Lines get shorter until the preview fits; no line is left out, so that names of 40 characters may take half as much again. */
const PREVIEW = 8 * 1024;
const LONGEST_LINE = 160;
const SHORTEST_LINE = 16;
const MOST_WARNINGS = 16;

/** What `dryRun` shows: each stage, the undo plan in its order, and what to know before. */
export function previewOf(view: TaskView, status: Status, issues: readonly Issue[]): Preview {
  const whole = wholePreview(view, status, issues);
  let line = LONGEST_LINE;
  let shown = cut(whole, line);
  while (line > SHORTEST_LINE && bytesOf(shown) > PREVIEW) {
    line -= 8;
    shown = cut(whole, line);
  }
  return shown;
}

/** Warnings keep their names: what is at the end of a line says least. */
const cut = ({ stages, undo, warnings }: Preview, line: number): Preview => ({
  stages: stages.map((stage) => ({ ...stage, does: stage.does.slice(0, line) })),
  undo: undo.map((step) => ({ ...step, does: step.does.slice(0, line) })),
  warnings: warnings.map((warning) => warning.slice(0, Math.max(line, 80))),
});

function wholePreview(view: TaskView, status: Status, issues: readonly Issue[]): Preview {
  const spec = mustSpec(view);
  const basis = basisOf(view, status);
  const planned = (index: number, direction: "Forward" | "Back"): Planned | null =>
    planStage(basis, index, direction).planned;
  const does = (index: number, direction: "Forward" | "Back"): string => planned(index, direction)?.preview ?? "";
  // What the protocol cannot promise stands before what is merely unusual.
  const unfenced = spec.stages
    .filter((_, index) => planned(index, "Forward")?.fencing === "None")
    .map(({ name }) => `stage ${name}: its receiver checks no fence; safe only while pauses and delays are bounded`);
  return {
    stages: spec.stages.map(({ name }, index) => ({ stage: name, does: does(index, "Forward") })),
    undo: undoPlanOf(view, status).map(({ stage, part, index }) => ({ stage, part, does: does(index, "Back") })),
    warnings: [...unfenced, ...issues.map(({ path, message }) => `${path}: ${message}`)].slice(0, MOST_WARNINGS),
  };
}
