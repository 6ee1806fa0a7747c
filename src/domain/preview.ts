import { basisOf, mustSpec } from "./basis.ts";
import { planStage } from "./plan.ts";
import type { Issue, Preview, Status } from "./stored.ts";
import type { TaskView } from "./task.ts";
import { undoPlanOf } from "./undo.ts";

const LINE = 160;

/** What `dryRun` shows: each stage, the undo plan in its order, and what to know before (at most 8 KiB with 32 stages). */
export function previewOf(view: TaskView, status: Status, issues: readonly Issue[]): Preview {
  const spec = mustSpec(view);
  const basis = basisOf(view, status);
  const does = (index: number, direction: "Forward" | "Back"): string =>
    (planStage(basis, index, direction).planned?.preview ?? "").slice(0, LINE);
  const unfenced = spec.stages.filter((_, index) => planStage(basis, index, "Forward").planned?.fencing === "None");
  return {
    stages: spec.stages.map(({ name }, index) => ({ stage: name, does: does(index, "Forward") })),
    undo: undoPlanOf(view, status).map(({ stage, part, index }) => ({ stage, part, does: does(index, "Back") })),
    warnings: [
      ...issues.map(({ path, message }) => `${path}: ${message}`.slice(0, LINE)),
      ...unfenced.map(
        ({ name }) => `stage ${name}: its receiver checks no fence; safe only while pauses and delays are bounded`,
      ),
    ].slice(0, 16),
  };
}
