import { acts, claimsOf, effectsOf, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, Violation } from "./recording.ts";

/** S26: what nobody knows is never written down as done or not done without asking, or without doing it again. */
export const unknown: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [...doubts(history), ...lost(history, recording)]);

/** Doubt goes only with a later claim; so does the claim of a process that was not there to settle it. */
const doubts = (history: readonly TaskVersion[]): readonly Violation[] =>
  stepsOf(history).flatMap(({ before, after }) =>
    (after.status?.stages ?? []).flatMap((is) => {
      const was = stageOf(before?.status, is.name);
      // Under a claim that is open it may be asked, or done again.
      if (was?.outcome !== "Unknown" || was.claim !== null || is.seq !== was.seq) return [];
      const gone = is.outcome === null && is.state !== "Skipped";
      const said = gone || is.state === "Completed" || is.undone.length > was.undone.length;
      const says = `${after.name}: the outcome of ${is.name} was unknown and is ${is.state} without another claim`;
      return said ? [{ id: "S26", says, order: after.order }] : [];
    }),
  );

/** An effect whose answer nobody got is not settled by the claim that it was sent under. */
function lost(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const claims = claimsOf(history).filter(acts);
  return effectsOf(recording).flatMap(({ opId, fence, answered, to, verdict }) => {
    const claim = claims.find((one) => one.opId === opId && one.fence === fence);
    if (claim === undefined || answered !== null || verdict === "never") return [];
    const name = claim.stage.name;
    const next = stepsOf(history).find(({ before, after }) => {
      const [was, is] = [stageOf(before?.status, name), stageOf(after.status, name)];
      return was?.claim?.nonce === claim.stage.claim?.nonce && is?.claim?.nonce !== was?.claim?.nonce;
    })?.after;
    const is = stageOf(next?.status, name);
    if (next === undefined || is === undefined) return [];
    const undone = claim.stage.part !== null && is.undone.includes(claim.stage.part);
    if (!undone && is.seq !== claim.stage.seq) return [];
    const says = `${next.name}: nobody knows what became of ${name} at ${to}, and it is called ${is.state}`;
    return is.outcome === "Unknown" && !undone ? [] : [{ id: "S26", says, order: next.order }];
  });
}
