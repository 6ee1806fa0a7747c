import { claimsOf, isDirty, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, Violation } from "./recording.ts";

/** S27 the finalizer stands from before the first claim until nothing is dirty, L5 a deletion ends or says what it waits for. */
export const finalizer: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [...stands(history), ...ends(history, recording)]);

function stands(history: readonly TaskVersion[]): readonly Violation[] {
  const bare = claimsOf(history).flatMap(({ version, stage }) =>
    version.finalizer
      ? []
      : [{ id: "S27", says: `${version.name} claimed ${stage.name} without its finalizer`, order: version.order }],
  );
  const removed = stepsOf(history).flatMap(({ before, after }) => {
    if (before?.finalizer !== true || (after.finalizer && !after.deleted)) return [];
    const abandoned = (after.status ?? before.status)?.abandoned === true;
    return isDirty(before) && !abandoned
      ? [{ id: "S27", says: `the finalizer of ${after.name} went while it was dirty`, order: after.order }]
      : [];
  });
  return [...bare, ...removed];
}

const WITHIN = 60_000;

function ends(history: readonly TaskVersion[], { entries }: Recording): readonly Violation[] {
  const marked = history.find(({ deletingSince }) => deletingSince !== null);
  if (marked === undefined) return [];
  const gone = history.find(({ deleted }) => deleted);
  const last = entries.reduce((latest, { at }) => Math.max(latest, at), 0);
  const said = history.find(
    ({ rv, status }) =>
      rv >= marked.rv && status !== null && (status.waiting !== null || stalled(status.conditions["Stalled"])),
  );
  const answer = gone ?? said;
  const took = (answer?.at ?? last) - marked.at;
  return took <= WITHIN
    ? []
    : [{ id: "L5", says: `${marked.name} was told to go and said nothing for ${took / 1000} s`, order: marked.order }];
}

const stalled = (condition: string | undefined): boolean => condition?.startsWith("True") === true;
