import { claimsOf, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, StageAbout, TaskVersion, Violation } from "./recording.ts";

/** S18 behind an approval only with its records, S20 nothing forward while paused. */
export const gate: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [...opened(history), ...paused(history)]);

/** Every approval that settled has enough records of people who may give them, given after it began to wait. */
function opened(history: readonly TaskVersion[]): readonly Violation[] {
  return stepsOf(history).flatMap(({ before, after }) =>
    after.spec.stages.flatMap((stage) => {
      const is = stageOf(after.status, stage.name);
      const was = stageOf(before?.status, stage.name);
      if (stage.kind !== "approval" || is?.state !== "Completed" || was?.state === "Completed") return [];
      const asked = history.find(({ status }) => stageOf(status, stage.name) !== undefined);
      const yes = new Set(
        history
          .filter(({ rv }) => asked !== undefined && rv >= asked.rv && rv <= after.rv)
          .flatMap((version) => approvals(version, stage, asked)),
      );
      const says = `${after.name}: ${stage.name} opened with ${yes.size} of ${stage.quorum} approvals`;
      return yes.size >= stage.quorum ? [] : [{ id: "S18", says, order: after.order }];
    }),
  );
}

function approvals(
  version: TaskVersion,
  { name, approvers }: StageAbout,
  asked: TaskVersion | undefined,
): readonly string[] {
  const before = asked?.spec.approvals[name] ?? {};
  const digest = (version.status?.digest ?? "").replace(/^sha256:/, "");
  return Object.entries(version.spec.approvals[name] ?? {}).flatMap(([user, { decision, expect }]) => {
    const stood = JSON.stringify(before[user]) === JSON.stringify({ decision, expect });
    const named = expect === null || digest.startsWith(expect.replace(/^sha256:/, ""));
    const may = approvers === null || approvers.includes(user);
    return decision === "Approve" && named && may && !stood ? [user] : [];
  });
}

/** After Paused=True of a generation no forward claim until a later generation says otherwise. */
function paused(history: readonly TaskVersion[]): readonly Violation[] {
  const claims = claimsOf(history);
  return claims.flatMap(({ version, before, stage, direction }) => {
    if (direction === "Back" || before === null) return [];
    const until = history.filter(({ rv }) => rv <= before.rv);
    const held = until.findLast(({ status }) => status?.conditions["Paused"]?.startsWith("True") === true);
    if (held === undefined || held.rv !== before.rv) return [];
    const since = held.status?.observedGeneration ?? 0;
    const freed = version.generation > since && version.spec.paused !== true;
    return freed
      ? []
      : [{ id: "S20", says: `${version.name} claimed ${stage.name} while paused`, order: version.order }];
  });
}
