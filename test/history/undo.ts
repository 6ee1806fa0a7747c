import { acts, claimsOf, effectsOf, owed, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, Violation } from "./recording.ts";

/** S7 an undo is exact, S8 it is the last word. */
export const undo: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [...exact(history, recording), ...last(history, recording)]);

function exact(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const end = history.findLast(({ status }) => status !== null);
  if (end === undefined || end.status?.phase !== "RolledBack") return [];
  const missing = owed(history, recording.unfenced).filter(
    ({ stage, part }) => stageOf(end.status, stage)?.undone.includes(part) !== true,
  );
  const left = missing.map(({ stage, part }) => ({
    id: "S7",
    says: `${end.name} is RolledBack, but ${stage}/${part} was not undone`,
    order: end.order,
  }));
  return [...left, ...(tasksIn(recording) === 1 ? differences(end, recording) : [])];
}

const tasksIn = (recording: Recording): number => taskHistories(recording).length;

/** What stands elsewhere than before, beside what others changed and the task reports. */
function differences(end: TaskVersion, { before, after }: Recording): readonly Violation[] {
  if (before === undefined || after === undefined) return [];
  const reported = new Set((end.status?.stages ?? []).flatMap(({ drift }) => drift));
  const places = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
  return places.flatMap((place) => {
    const field = place.slice(place.lastIndexOf(" ") + 1);
    if (before[place] === after[place] || reported.has(field)) return [];
    const says = `${place} is ${after[place] ?? "gone"}, before it was ${before[place] ?? "absent"}`;
    return [{ id: "S7", says: `${end.name}: ${says}`, order: end.order }];
  });
}

/** After the undo of a stage has settled, nothing of its forward operation takes force at a receiver that checks fences. */
function last(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const forward = claimsOf(history).filter((claim) => claim.direction === "Forward" && acts(claim));
  return effectsOf(recording).flatMap((effect) => {
    const claim = forward.find(({ opId }) => opId === effect.opId);
    if (claim === undefined || effect.verdict !== "applied" || !effect.fenced) return [];
    const settled = undoneAt(history, claim.stage.name);
    const late = settled !== undefined && (recording.exact ? settled.order < effect.order : settled.at < effect.at);
    const says = `forward effect of ${claim.stage.name} at ${effect.to} took force after its undo had settled`;
    return late ? [{ id: "S8", says, order: effect.order }] : [];
  });
}

/** The version that first says that a write or announce of the stage is undone. */
const undoneAt = (history: readonly TaskVersion[], stage: string): TaskVersion | undefined =>
  stepsOf(history).find(({ before, after }) => {
    const count = (version: TaskVersion | null): number =>
      (stageOf(version?.status, stage)?.undone ?? []).filter((part) => !part.startsWith("verify")).length;
    return count(before) === 0 && count(after) > 0;
  })?.after;
