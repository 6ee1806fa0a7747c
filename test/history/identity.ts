import { claimsOf, effectsOf, histories, taskHistories, tasksOf, tenantsOf } from "./look-up.ts";
import type { Checker, Recording, Violation } from "./recording.ts";

/** S13: a new object under an old name inherits nothing, and nothing is written down for it that another did. */
export const identity: Checker = (recording) => [
  ...inherited(recording),
  ...holders(recording),
  ...places(recording),
  ...strangers(recording),
];

/** The first version of an object has a status of its own: no claims, epoch or stages from whoever had the name before. */
const inherited = (recording: Recording): readonly Violation[] =>
  taskHistories(recording).flatMap((history, i, all) => {
    const first = history[0];
    if (first === undefined) return [];
    const former = all.slice(0, i).some(([other]) => other?.name === first.name && other.namespace === first.namespace);
    const began = history.find(({ status }) => status !== null);
    if (!former || began === undefined) return [];
    const claimed = (began.status?.epoch ?? 0) > 0 || (began.status?.stages.length ?? 0) > 0;
    const says = `${began.name} (${began.uid}) began with what an earlier object of that name had done`;
    return claimed ? [{ id: "S13", says, order: began.order }] : [];
  });

/** The holder's uid is the one of the object that has the name at that revision. */
const holders = (recording: Recording): readonly Violation[] =>
  histories(tenantsOf(recording)).flatMap((history) =>
    history.flatMap((version, i) => {
      const { holder, namespace, name, rv, order } = version;
      if (holder === null || holder.uid === history[i - 1]?.holder?.uid) return [];
      const named = tasksOf(recording).findLast(
        (task) => task.name === holder.task && task.namespace === namespace && task.rv < rv,
      );
      const right = named === undefined || (named.uid === holder.uid && !named.deleted);
      const says = `${name} is held for ${holder.uid}, but ${holder.task} is ${named?.uid ?? ""}`;
      return right ? [] : [{ id: "S13", says, order }];
    }),
  );

/** The task that `current` names once Completed is one that held the tenant. */
const places = (recording: Recording): readonly Violation[] =>
  histories(tenantsOf(recording)).flatMap((history) =>
    history.flatMap(({ current, name, order }, i) => {
      const task = current?.task ?? null;
      if (task === null || task === (history[i - 1]?.current?.task ?? null)) return [];
      const held = history.slice(0, i).some(({ holder, current: was }) => holder?.uid === task || was?.task === task);
      const says = `${name} is said to be where ${task} brought it, which never held it`;
      return held ? [] : [{ id: "S13", says, order }];
    }),
  );

/** A task's effects are about its own tenant. */
const strangers = (recording: Recording): readonly Violation[] => {
  const claims = taskHistories(recording).flatMap(claimsOf);
  return effectsOf(recording).flatMap(({ opId, tenant, to, order }) => {
    const claim = claims.find((one) => one.opId === opId);
    if (claim === undefined) return [];
    const own = `${claim.version.namespace}/${claim.version.spec.tenantId}`;
    const says = `${claim.version.name} of ${own} touched ${tenant} at ${to}`;
    return own === tenant ? [] : [{ id: "S13", says, order }];
  });
};
