import { STAGE_EDGES, type StageState } from "../../src/domain/phase.ts";
import { claimsOf, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, StageSeen, TaskVersion, Violation } from "./recording.ts";

/** S5 neighbouring versions differ as allowed, S6 what settled stays settled. */
export const steps: Checker = (recording) =>
  taskHistories(recording).flatMap((history) =>
    stepsOf(history).flatMap(({ before, after }) => (before === null ? [] : step(before, after))),
  );

function step(before: TaskVersion, after: TaskVersion): readonly Violation[] {
  const [was, is] = [before.status, after.status];
  if (was === null || after.deleted) return [];
  const at = (id: string, says: string): Violation => ({ id, says: `${after.name}: ${says}`, order: after.order });
  if (is === null) return [at("S6", "the status is gone")];
  const wrong: Violation[] = [];
  if (is.seq < was.seq) wrong.push(at("S5", `seq fell from ${was.seq} to ${is.seq}`));
  const claims = claimsOf([before, after]).filter(({ before }) => before !== null);
  if (claims.length > 1) wrong.push(at("S5", `one write made ${claims.length} claims`));
  for (const { stage } of claims)
    if (stage.seq <= was.seq) wrong.push(at("S5", `the claim of ${stage.name} has seq ${stage.seq} after ${was.seq}`));
  if (was.plan !== null && is.plan !== was.plan) wrong.push(at("S5", "the frozen plan changed"));
  if (is.times.some((time, i) => !(time >= (is.times[i - 1] ?? 0))))
    wrong.push(at("S5", `history goes back in time: ${is.times.map((time) => time % 100_000).join(" ")}`));
  const names = is.stages.map(({ name }) => name);
  if (was.stages.some(({ name }, i) => names[i] !== name)) wrong.push(at("S5", "entries were moved or taken out"));
  for (const old of was.stages) {
    const now = stageOf(is, old.name);
    if (now !== undefined) wrong.push(...entry(old, now, at));
    else wrong.push(at("S6", `the entry of ${old.name} is gone`));
  }
  return wrong;
}

function entry(old: StageSeen, now: StageSeen, at: (id: string, says: string) => Violation): readonly Violation[] {
  const wrong: Violation[] = [];
  const settled = old.state === "Completed" || old.state === "Skipped" || old.state === "RolledBack";
  if (!reachable(old.state).has(now.state)) {
    wrong.push(
      settled
        ? at("S6", `settled ${old.name} went from ${old.state} to ${now.state}`)
        : at("S5", `${old.name} went from ${old.state} to ${now.state}`),
    );
  }
  if (now.seq < old.seq) wrong.push(at("S5", `seq of ${old.name} fell from ${old.seq} to ${now.seq}`));
  const lost = old.undone.filter((part) => !now.undone.includes(part));
  if (lost.length > 0) wrong.push(at("S6", `${old.name} lost that ${lost.join(", ")} was undone`));
  return wrong;
}

/** States that may follow within one write: one edge or several. */
function reachable(from: string): ReadonlySet<string> {
  const found = new Set<string>([from]);
  for (const state of found) for (const next of STAGE_EDGES[state as StageState] ?? []) found.add(next);
  return found;
}
