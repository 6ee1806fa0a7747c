import { claimsOf, effectsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording } from "./recording.ts";

/** S31: while the API server cannot be reached nothing new begins. What was claimed last before may still be carried out, once. */
export const blind: Checker = (recording) => {
  if (!recording.exact) return [];
  const claims = taskHistories(recording).flatMap(claimsOf);
  const effects = effectsOf(recording);
  return windows(recording).flatMap(({ from, to }) =>
    effects
      .filter(({ order, verdict }) => order > from && order < to && verdict !== "never")
      .flatMap((effect) => {
        const known = claims.filter(({ version }) => version.order < from);
        const claim = known.find(({ opId, fence }) => opId === effect.opId && fence === effect.fence);
        const last = known.findLast(({ version }) => version.uid === claim?.version.uid);
        const again = effects.some(
          (one) =>
            one.order < effect.order && one.fence === effect.fence && one.to === effect.to && one.answered !== null,
        );
        const says = `an effect at ${effect.to} under ${effect.fence} while the API server could not be reached`;
        return claim !== undefined && claim === last && !again ? [] : [{ id: "S31", says, order: effect.order }];
      }),
  );
};

interface Window {
  readonly from: number;
  readonly to: number;
}

const windows = ({ entries }: Recording): readonly Window[] =>
  entries.flatMap((entry, i) => {
    if (entry.is !== "happening" || entry.what !== "blind") return [];
    const end = entries.slice(i).find((one) => one.is === "happening" && one.what === "sighted");
    return [{ from: entry.order, to: end?.order ?? Number.POSITIVE_INFINITY }];
  });
