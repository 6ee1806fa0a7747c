import { claimsOf, effectsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, Violation } from "./recording.ts";

/** S14: every effect says what the frozen plan says, whatever is edited meanwhile. */
export const plan: Checker = (recording) => [...contents(recording), ...frozen(recording)];

function contents(recording: Recording): readonly Violation[] {
  const claims = taskHistories(recording).flatMap(claimsOf);
  const said = new Map<string, string>();
  return effectsOf(recording).flatMap(({ opId, to, content, order, verdict }) => {
    const claim = claims.find((one) => one.opId === opId);
    if (claim === undefined || verdict === "never") return [];
    const { stage, direction, version } = claim;
    const key = `${version.uid} ${stage.name} ${direction} ${stage.part ?? ""}`;
    const about = `${version.name}: ${direction} effect of ${stage.name} at ${to}`;
    // Receivers of one stage get one content; a store's key has its own.
    const before = said.get(`${opId} ${to}`);
    said.set(`${opId} ${to}`, content);
    if (before !== undefined && before !== content)
      return [{ id: "S14", says: `${about} says ${content}, its first attempt said ${before}`, order }];
    const wanted = recording.planned[key];
    return wanted === undefined || wanted === content
      ? []
      : [{ id: "S14", says: `${about} says ${content}, the plan says ${wanted}`, order }];
  });
}

/** What the plan was frozen from does not change under it, and claims belong to one plan. */
const frozen = (recording: Recording): readonly Violation[] =>
  taskHistories(recording).flatMap((history) => {
    const claims = claimsOf(history);
    const [first] = claims;
    return claims.flatMap(({ version, stage }) => {
      const { status, name, order } = version;
      if (status?.digest === null || status?.digest === undefined)
        return [{ id: "S14", says: `${name} claimed ${stage.name} without a frozen plan`, order }];
      const digest = first?.version.status?.digest;
      return status.digest === digest
        ? []
        : [{ id: "S14", says: `${name} claimed ${stage.name} under another plan than before`, order }];
    });
  });
