import { isTerminal, taskHistories, tenantsOf } from "./look-up.ts";
import type { Checker, TaskVersion } from "./recording.ts";

/** L11: at rest every unfinished task names what it waits for, and no two wait for each other. */
export const blockers: Checker = (recording) => {
  const rest = recording.entries.find((entry) => entry.is === "happening" && entry.what === "rest");
  if (rest === undefined) return [];
  const open = taskHistories(recording)
    .flatMap((history) => history.findLast(({ order }) => order < rest.order) ?? [])
    .filter(({ status, deleted }) => !deleted && status !== null && !isTerminal(status.phase));
  const unnamed = open.flatMap(({ name, status, order }) => {
    const waiting = status?.waiting ?? null;
    if (waiting === null)
      return status?.conditions["Stalled"]?.startsWith("True") === true
        ? []
        : [{ id: "L11", says: `${name} names no blocker`, order }];
    const says = `${name} waits (${waiting.reason}) and does not say what would end that`;
    return waiting.unblock === "" ? [{ id: "L11", says, order }] : [];
  });
  const queued = open.filter(({ status }) => status?.waiting?.reason === "WaitingForLock");
  const stuck = queued.flatMap((task) => {
    const holder = holderOf(task);
    const blocks = open.find(({ uid }) => uid === holder) ?? null;
    const says = `${task.name} waits for a lock that ${holder === null ? "nobody" : "no unfinished task"} holds`;
    return blocks === null || blocks.uid === task.uid ? [{ id: "L11", says, order: task.order }] : [];
  });
  return [...unnamed, ...stuck];

  function holderOf({ namespace, spec }: TaskVersion): string | null {
    const last = tenantsOf(recording).findLast(
      (tenant) =>
        tenant.namespace === namespace && tenant.tenantId === spec.tenantId && tenant.order < (rest?.order ?? 0),
    );
    return last?.holder?.uid ?? null;
  }
};
