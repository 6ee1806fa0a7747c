import { acts, type Claim, claimsOf, effectsOf, taskHistories } from "./look-up.ts";
import type { Checker, Effect, Recording, Violation } from "./recording.ts";

/** S3 an effect has its stored claim, S11 one act of a task at a time in a process. */
export const writeAhead: Checker = (recording) => {
  const claims = taskHistories(recording).flatMap(claimsOf);
  const effects = effectsOf(recording).filter(({ verdict }) => verdict !== "never");
  return [
    ...effects.flatMap((effect) => unclaimed(effect, claims, recording)),
    ...openTogether(recording),
    ...together(effects, claims),
  ];
};

const about = ({ to, fence }: Effect): string => `effect at ${to} under fence ${fence}`;

function unclaimed(effect: Effect, claims: readonly Claim[], { exact }: Recording): readonly Violation[] {
  const { order, opId, fence } = effect;
  const own = claims.filter((claim) => claim.opId === opId && claim.fence === fence && acts(claim));
  if (own.length === 0) {
    const known = claims.some((claim) => claim.opId === opId);
    const why = known ? "its operation was never claimed under that fence" : "no claim of such an operation";
    return [{ id: "S3", says: `${about(effect)}: ${why}`, order }];
  }
  const early = exact && own.every(({ version }) => version.order > order);
  return early ? [{ id: "S3", says: `${about(effect)} came before its claim was stored`, order }] : [];
}

/** Two claims that stand open in one version. */
const openTogether = (recording: Recording): readonly Violation[] =>
  taskHistories(recording)
    .flat()
    .flatMap(({ status, name, order }) => {
      const open = (status?.stages ?? []).filter(({ claim }) => claim !== null);
      return open.length < 2
        ? []
        : [{ id: "S11", says: `${name} has open claims of ${open.map(({ name }) => name).join(", ")}`, order }];
    });

/** What a process sent for one task while it had not heard of something else that it had sent for it. */
function together(effects: readonly Effect[], claims: readonly Claim[]): readonly Violation[] {
  const task = ({ opId }: Effect): string | undefined => claims.find((claim) => claim.opId === opId)?.version.uid;
  return effects.flatMap((later) => {
    const clash = effects.find(
      (earlier) =>
        earlier.process !== null &&
        earlier.process === later.process &&
        earlier.order < later.order &&
        earlier.answered !== null &&
        earlier.answered > later.order &&
        earlier.fence !== later.fence &&
        task(earlier) !== undefined &&
        task(earlier) === task(later),
    );
    return clash === undefined
      ? []
      : [{ id: "S11", says: `${about(later)} while ${about(clash)} was under way`, order: later.order }];
  });
}
