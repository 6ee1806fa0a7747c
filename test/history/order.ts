import { claimsOf, owed, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, TaskVersion, Violation } from "./recording.ts";

/** S1 forward order, S2 backward order, S4 turns once, S21 nothing forward after that. */
export const order: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [
    ...forward(history),
    ...turns(history),
    ...backward(history, recording.unfenced),
  ]);

function forward(history: readonly TaskVersion[]): readonly Violation[] {
  return claimsOf(history).flatMap(({ version, stage, direction }) => {
    if (direction === "Back") return [];
    const { status, spec, order: at, name } = version;
    if (status?.direction === "Back")
      return [{ id: "S21", says: `${name} claimed ${stage.name} forward on the way back`, order: at }];
    const earlier = spec.stages.slice(
      0,
      spec.stages.findIndex((one) => one.name === stage.name),
    );
    return earlier.flatMap((one) => {
      const state = stageOf(status, one.name)?.state ?? "Pending";
      return state === "Completed" || state === "Skipped"
        ? []
        : [{ id: "S1", says: `${name} claimed ${stage.name} while ${one.name} was ${state}`, order: at }];
    });
  });
}

function turns(history: readonly TaskVersion[]): readonly Violation[] {
  return stepsOf(history).flatMap(({ before, after }) =>
    before?.status?.direction === "Back" && after.status?.direction === "Forward"
      ? [{ id: "S4", says: `${after.name} turned forward again`, order: after.order }]
      : [],
  );
}

function backward(history: readonly TaskVersion[], unfenced: readonly string[]): readonly Violation[] {
  const last = history.findLast(({ status }) => status !== null);
  if (last === undefined || last.status?.direction !== "Back") return [];
  const claims = claimsOf(history).filter(({ direction }) => direction === "Back");
  const made = claims
    .map(({ stage }) => `${stage.name}/${stage.part ?? ""}`)
    .filter((name, i, all) => all[i - 1] !== name);
  const due = owed(history, unfenced).map(({ stage, part }) => `${stage}/${part}`);
  const whole = last.status.phase === "RolledBack" || (last.status.phase === "Cancelled" && !last.status.abandoned);
  const wanted = whole ? due : due.slice(0, made.length);
  if (made.join(" ") === wanted.join(" ")) return [];
  const says = `${last.name} undid ${made.join(", ") || "nothing"}; due was ${due.join(", ") || "nothing"}`;
  return [{ id: "S2", says, order: last.order }];
}
