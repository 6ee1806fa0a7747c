import { stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, StageAbout, TaskVersion, Violation } from "./recording.ts";

/** S19: a wait lasts at least as long as it says, by the recorder's clock; paused time is none of it. */
export const wait: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => {
    const stages = history.at(-1)?.spec.stages ?? [];
    return stages.flatMap((stage) => (stage.duration === null ? [] : waited(history, stage, stage.duration)));
  });

/** A watch tells of a version a little after it was stored, of an earlier one perhaps later than of the next. */
const WATCH_LAG = 500;

function waited(history: readonly TaskVersion[], { name }: StageAbout, duration: number): readonly Violation[] {
  const steps = stepsOf(history);
  const end = steps.find(({ after }) => stageOf(after.status, name)?.state === "Completed")?.after;
  if (end === undefined) return [];
  let lasted = 0;
  for (const { before, after } of steps) {
    if (before === null || after.rv > end.rv) continue;
    const open = stageOf(before.status, name)?.claim ?? null;
    if (open !== null) lasted += after.at - before.earliest;
  }
  const says = `${end.name}: ${name} ended after ${lasted} ms, its duration is ${duration} ms`;
  return lasted + WATCH_LAG >= duration ? [] : [{ id: "S19", says, order: end.order }];
}
