import { PROTOCOL_VERSION } from "../../src/domain/stored.ts";
import { acts, claimsOf, effectsOf, isTerminal, stepsOf, taskHistories, tenantsOf } from "./look-up.ts";
import type { Checker, Recording, TaskVersion, Violation } from "./recording.ts";

/** S30: a history that cannot be ours is not gone on with, and one of a newer protocol is not written. */
export const diverged: Checker = (recording) =>
  taskHistories(recording).flatMap((history) => [
    ...newer(history),
    ...broken(history, recording).flatMap((since) => afterwards(history, since, recording)),
    ...said(history, recording),
  ]);

const newer = (history: readonly TaskVersion[]): readonly Violation[] =>
  stepsOf(history).flatMap(({ before, after }) => {
    const [was, is] = [before?.status ?? null, after.status];
    if (was === null || was.protocolVersion <= PROTOCOL_VERSION) return [];
    const changed =
      JSON.stringify({ ...was, observedGeneration: 0 }) !== JSON.stringify({ ...is, observedGeneration: 0 });
    const says = `${after.name} has protocolVersion ${was.protocolVersion} and was written`;
    return changed ? [{ id: "S30", says, order: after.order }] : [];
  });

interface Broken {
  readonly order: number;
  readonly why: string;
}

/** Where the history broke: status gone although something was claimed, tenant's record gone under the holder, a version that went back. */
function broken(history: readonly TaskVersion[], recording: Recording): readonly Broken[] {
  const emptied = stepsOf(history).flatMap(({ before, after }) => {
    const claimed = (before?.status?.epoch ?? 0) > 0 && !isTerminal(before?.status?.phase ?? "");
    const lost = claimed && !after.deleted && (after.status === null || after.status.epoch === 0);
    return lost ? [{ order: after.order, why: "its status is gone" }] : [];
  });
  const uid = history[0]?.uid;
  const records = tenantsOf(recording);
  const gone = records.flatMap((version, i) => {
    const before = records.slice(0, i).findLast((one) => one.uid === version.uid);
    const held = before?.holder?.uid === uid && uid !== undefined;
    const lost = held && (version.deleted || version.epoch === null);
    return lost ? [{ order: version.order, why: "the record of its tenant is gone" }] : [];
  });
  const claimed = history.some(({ status }) => (status?.epoch ?? 0) > 0);
  return [...emptied, ...(claimed ? gone : [])];
}

/** After that nothing is claimed and nothing takes force. */
function afterwards(history: readonly TaskVersion[], since: Broken, recording: Recording): readonly Violation[] {
  const name = history[0]?.name ?? "";
  const claims = claimsOf(history);
  const own = new Set(claims.filter(acts).map(({ opId }) => opId));
  const later = claims
    .filter(({ version }) => version.order > since.order)
    .map(({ version, stage }) => ({
      id: "S30",
      says: `${name} claimed ${stage.name} although ${since.why}`,
      order: version.order,
    }));
  const effects = effectsOf(recording)
    .filter(
      ({ order, opId, verdict }) => recording.exact && order > since.order && own.has(opId) && verdict === "applied",
    )
    .map(({ order, to }) => ({ id: "S30", says: `${name}: an effect at ${to} although ${since.why}`, order }));
  return [...later, ...effects];
}

/** Once called Diverged, only a release by a person ends it. */
const said = (history: readonly TaskVersion[], recording: Recording): readonly Violation[] =>
  claimsOf(history).flatMap(({ version, before, stage }) =>
    before?.status?.waiting?.reason === "Diverged" && !releasedBefore(version, recording)
      ? [{ id: "S30", says: `${version.name} claimed ${stage.name} although it had diverged`, order: version.order }]
      : [],
  );

const releasedBefore = ({ rv }: TaskVersion, recording: Recording): boolean =>
  tenantsOf(recording).some((tenant) => tenant.forced && tenant.rv < rv);
