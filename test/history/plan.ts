import { type Claim, claimsOf, effectsOf, taskHistories } from "./look-up.ts";
import type { Checker, Effect, Recording, Violation } from "./recording.ts";

/** S14: every effect says what the frozen plan says, whatever is edited meanwhile. */
export const plan: Checker = (recording) => [...contents(recording), ...frozen(recording)];

interface Said extends Effect {
  readonly claim: Claim;
  /** What the plan says once for all its attempts: `stage direction part to`. */
  readonly what: string;
}

/** Effects that arrived, each with the claim that it belongs to. */
function saidIn(recording: Recording): readonly Said[] {
  const claims = taskHistories(recording).flatMap(claimsOf);
  return effectsOf(recording).flatMap((effect) => {
    const claim = claims.find((one) => one.opId === effect.opId);
    if (claim === undefined || effect.verdict === "never") return [];
    const { stage, direction } = claim;
    return [{ ...effect, claim, what: `${stage.name} ${direction} ${stage.part ?? ""} ${effect.to}` }];
  });
}

/** What the effects of one task said: what the same plan has to say in every other run. */
export const contentsOf = (recording: Recording, task: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    saidIn(recording).flatMap(({ claim, what, content }) => (claim.version.name === task ? [[what, content]] : [])),
  );

function contents(recording: Recording): readonly Violation[] {
  const said = new Map<string, string>();
  return saidIn(recording).flatMap(({ opId, to, content, order, claim, what }) => {
    const { stage, direction, version } = claim;
    const about = `${version.name}: ${direction} effect of ${stage.name} at ${to}`;
    // Receivers of one stage get one content; a store's key has its own.
    const before = said.get(`${opId} ${to}`);
    said.set(`${opId} ${to}`, content);
    if (before !== undefined && before !== content)
      return [{ id: "S14", says: `${about} says ${content}, its first attempt said ${before}`, order }];
    const wanted = recording.planned[`${version.uid} ${what}`];
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
