import { histories, isDirty, isTerminal, taskHistories, tasksOf, tenantsOf } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, TenantVersion, Violation } from "./recording.ts";

/** S9 one dirty task per tenant, S28 who may clear the lock. */
export const mutex: Checker = (recording) => [
  ...dirty(recording),
  ...histories(tenantsOf(recording)).flatMap((history) => cleared(history, recording)),
];

const tenantOf = ({ namespace, spec }: TaskVersion): string => `${namespace}/${spec.tenantId}`;

function dirty(recording: Recording): readonly Violation[] {
  const now = new Map<string, TaskVersion>();
  return tasksOf(recording).flatMap((version) => {
    now.set(version.uid, version);
    if (!isDirty(version)) return [];
    const other = [...now.values()].find(
      (one) => one.uid !== version.uid && tenantOf(one) === tenantOf(version) && isDirty(one),
    );
    return other === undefined
      ? []
      : [{ id: "S9", says: `${version.name} and ${other.name} are both dirty`, order: version.order }];
  });
}

function cleared(history: readonly TenantVersion[], recording: Recording): readonly Violation[] {
  return history.flatMap((after, i) => {
    const before = history[i - 1];
    const holder = before?.holder ?? null;
    if (holder === null || after.deleted || after.holder?.uid === holder.uid) return [];
    const task = taskHistories(recording).find(([first]) => first?.uid === holder.uid);
    const known = task?.findLast(({ rv }) => rv < after.rv);
    const over = known?.status !== undefined && known.status !== null && isTerminal(known.status.phase);
    const back = known?.status?.phase === "Completed" && holder.direction === "Back";
    if (after.forced || (over && !back)) return [];
    const says = `${holder.task} lost the lock of ${after.name} while it was ${known?.status?.phase ?? "not there"}`;
    return [{ id: "S28", says, order: after.order }];
  });
}
