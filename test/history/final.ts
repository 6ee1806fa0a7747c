import { acts, claimsOf, effectsOf, isTerminal, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, Violation } from "./recording.ts";

/** S12 nothing happens after the end, L9 what a terminal status said stays true. */
export const final: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [...afterwards(history, recording), ...stays(history, recording)]);

function afterwards(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const claims = claimsOf(history);
  const late = claims.flatMap(({ version, before, stage, direction }) => {
    const phase = before?.status?.phase ?? "";
    const allowed = !isTerminal(phase) || (phase === "Completed" && direction === "Back");
    const says = `${version.name} claimed ${stage.name} although it was ${phase}`;
    return allowed ? [] : [{ id: "S12", says, order: version.order }];
  });
  const ended = stepsOf(history).find(
    ({ after }) => after.status !== null && isTerminal(after.status.phase) && after.status.phase !== "Completed",
  )?.after;
  if (ended === undefined || !recording.exact) return late;
  const own = new Set(claims.filter(acts).map(({ opId }) => opId));
  const effects = effectsOf(recording).flatMap(({ opId, order, to, verdict, fenced }) =>
    own.has(opId) && order > ended.order && verdict === "applied" && fenced
      ? [{ id: "S12", says: `${ended.name} was ${ended.status?.phase}, then an effect took force at ${to}`, order }]
      : [],
  );
  return [...late, ...effects];
}

function stays(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const changed = stepsOf(history).flatMap(({ before, after }) => {
    const [was, is] = [before?.status?.phase ?? "", after.status?.phase ?? "nothing"];
    const back = was === "Completed" && is === "RollingBack";
    const backAtOnce = was === "Completed" && (is === "RolledBack" || is === "Cancelled");
    return !isTerminal(was) || is === was || back || backAtOnce || after.deleted
      ? []
      : [{ id: "L9", says: `${after.name} was ${was} and is ${is}`, order: after.order }];
  });
  return [...changed, ...overwritten(history, recording)];
}

/** The last effect in force at each receiver of a task that ended is the one that its end speaks of. */
function overwritten(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const end = history.findLast(({ status }) => status !== null);
  const phase = end?.status?.phase;
  if (end === undefined || (phase !== "Completed" && phase !== "RolledBack")) return [];
  const claims = claimsOf(history).filter(acts);
  const lastAt = new Map<string, string>();
  for (const { to, opId, verdict, fenced } of effectsOf(recording))
    if (verdict === "applied" && fenced && claims.some((claim) => claim.opId === opId)) lastAt.set(to, opId);
  return [...lastAt].flatMap(([to, opId]) => {
    const claim = claims.find((one) => one.opId === opId);
    const wanted = phase === "Completed" ? "Forward" : "Back";
    const skipped = stageOf(end.status, claim?.stage.name ?? "")?.state === "Skipped";
    return claim === undefined || claim.direction === wanted || skipped
      ? []
      : [
          {
            id: "L9",
            says: `${end.name} is ${phase}, but ${to} holds its ${claim.direction} effect`,
            order: end.order,
          },
        ];
  });
}
