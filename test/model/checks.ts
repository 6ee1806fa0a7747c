import { fenceOf } from "../../src/domain/lock.ts";
import { STAGE_EDGES, type StageState, isTerminal } from "../../src/domain/phase.ts";
import { openEntry } from "../../src/domain/status.ts";
import type { Direction, StageEntry, Status, TaskSpec } from "../../src/domain/stored.ts";
import type { Decision } from "../../src/domain/task.ts";
import { deepEqual } from "../../src/lib/deep-equal.ts";
import { undoOrder } from "../support/undo-order.ts";
import { first, greatest, isDirty } from "./facts.ts";
import type { Machine } from "./machine.ts";
import type { InHand, TaskObject, World } from "./world.ts";

// What must hold at every version of a task (protocol.md, Invariants), written from its words and not from src/domain.

// What must hold in every world and at every step (protocol.md, Invariants), written from its words and not from src/domain.

export interface Written {
  readonly before: TaskObject;
  readonly after: TaskObject;
  readonly process: number;
  /** What the writer had in hand. */
  readonly inHand: InHand | null;
  readonly decision: Decision | null;
}

/** What is wrong with a version of a task that the API server has just taken; null: nothing. */
export function wrongTask(machine: Machine, world: World, written: Written): string | null {
  const { before, after, inHand } = written;
  if (before.uid !== after.uid) return null;
  const own = machine.once(`step ${before.id} ${after.id} ${inHand?.id}`, () => ({
    wrong: first(stepOf(machine, written)),
  })).wrong;
  return own ?? first(around(world, written));
}

/** The stage that this version claimed. */
export function claimedBy(before: Status | null, after: Status | null): StageEntry | null {
  const open = after === null ? undefined : openEntry(after);
  const old = before === null ? undefined : openEntry(before);
  return open === undefined || open.claim?.nonce === old?.claim?.nonce ? null : open;
}

export function stepOf(machine: Machine, { before, after, inHand }: Written): readonly string[] {
  const old = before.status;
  const now = after.status;
  if (now === null) return old === null ? [] : ["[S6] the status is gone"];
  const spec = machine.spec(after.index);
  return [
    ...(old === null ? [] : [...steps(old, now), ...doubts(old, now, inHand)]),
    ...claims(spec, old, now),
    ...ends(spec, now),
  ];
}

export function reachable(from: StageState): ReadonlySet<StageState> {
  const found = new Set<StageState>([from]);
  for (const state of found) for (const next of STAGE_EDGES[state]) found.add(next);
  return found;
}

export function steps(old: Status, now: Status): readonly string[] {
  const wrong: string[] = [];
  if (old.direction === "Back" && now.direction === "Forward") wrong.push("[S4] turned forward again");
  if (now.seq < old.seq || now.epoch < old.epoch) wrong.push("[S5] seq or epoch fell");
  if (now.seq > old.seq + 1) wrong.push("[S5] one write, several claims");
  if (old.plan !== null && !deepEqual(old.plan, now.plan)) wrong.push("[S5] the plan changed");
  if (old.stages.some(({ name }, i) => now.stages[i]?.name !== name))
    wrong.push("[S5] entries were moved or taken out");
  if (old.instances.some((address, i) => now.instances[i] !== address)) wrong.push("[S5] instances moved");
  if (isTerminal(old.phase) && now.phase !== old.phase && !(old.phase === "Completed" && now.direction === "Back"))
    wrong.push(`[S12] ${old.phase} became ${now.phase}`);
  for (const entry of old.stages) {
    const then = now.stages.find(({ name }) => name === entry.name);
    if (then !== undefined) wrong.push(...stageSteps(entry, then, now.direction));
  }
  return wrong;
}

function stageSteps(entry: StageEntry, then: StageEntry, direction: Direction): readonly string[] {
  const wrong: string[] = [];
  if (!reachable(entry.state).has(then.state)) wrong.push(`[S5] stage ${entry.name} ${entry.state} → ${then.state}`);
  const settled = entry.state === "Completed" || entry.state === "Skipped";
  if (settled && then.state !== entry.state && direction === "Forward")
    wrong.push(`[S6] the checkpoint of ${entry.name} is lost`);
  if (entry.undone.some((part) => !then.undone.includes(part))) wrong.push(`[S6] ${entry.name} lost an undone part`);
  return wrong;
}

/** S26: what nobody knows stays so until a probe or an accepted repeat, or until the stage is undone. */
export function doubts(old: Status, now: Status, inHand: InHand | null): readonly string[] {
  return old.stages.flatMap((entry) => {
    const then = now.stages.find(({ name }) => name === entry.name);
    if (then === undefined || then.part !== entry.part || then.outcome === "Unknown") return [];
    const told = inHand?.act.act.stage === entry.name ? inHand : null;
    const known = told !== null && (told.act.act.probe !== "no" || told.outcome.is === "done");
    if (entry.outcome === "Unknown" && !known && then.state !== "RolledBack")
      return [`[S26] the doubt about ${entry.name} was dropped`];
    return told?.outcome.is === "unknown" && told.act.act.nonce === entry.claim?.nonce
      ? [`[S26] nobody knows about ${entry.name}, and the status says otherwise`]
      : [];
  });
}

export function claims(spec: TaskSpec, old: Status | null, now: Status): readonly string[] {
  const wrong: string[] = [];
  if (now.stages.filter(({ claim }) => claim !== null).length > 1) wrong.push("[S11] two open claims");
  const claim = claimedBy(old, now);
  if (claim === null) return wrong;
  if (claim.seq !== now.seq || now.seq <= (old?.seq ?? 0)) wrong.push("[S5] a claim that did not raise seq");
  if (old !== null && isTerminal(old.phase) && !(old.phase === "Completed" && now.direction === "Back"))
    wrong.push(`[S12] claimed although it was ${old.phase}`);
  if (claim.part !== null) return [...wrong, ...undoes(spec, now, claim)];
  if (now.direction === "Back") wrong.push(`[S21] ${claim.name} claimed forward on the way back`);
  const names = spec.stages.map(({ name }) => name);
  for (const earlier of names.slice(0, names.indexOf(claim.name))) {
    const state = now.stages.find(({ name }) => name === earlier)?.state;
    if (state !== "Completed" && state !== "Skipped") wrong.push(`[S1] ${claim.name} claimed before ${earlier}`);
  }
  return wrong;
}

/** S2: the first step of the undo plan that has not settled is claimed, no other. */
export function undoes(spec: TaskSpec, now: Status, claim: StageEntry): readonly string[] {
  const due = undoOrder(spec, {
    previousKnown: now.plan?.previous !== null,
    claimed: now.stages
      .filter(({ seq, name }) => seq > 0 && !(name === claim.name && onlyUndone(claim)))
      .map(({ name }) => name),
    unfenced: spec.stages.some(({ config }) => config["endpoint"] === "legacy"),
  });
  const left = due.filter((step) => {
    const [stage, part = ""] = step.split("/");
    return now.stages.find(({ name }) => name === stage)?.undone.includes(part) !== true;
  });
  return left[0] === `${claim.name}/${claim.part}`
    ? []
    : [`[S2] undoes ${claim.name}/${claim.part}, due is ${left[0]}`];
}

/** A verify that was never claimed forward is claimed for the first time by the undo. */
export const onlyUndone = (claim: StageEntry): boolean =>
  claim.outputs === null && claim.attempts === 1 && claim.part?.startsWith("verify") === true;

/** Completed with every stage settled; RolledBack with every claimed one undone. Conflict and doubt about histories only with a cause. */
export function ends(spec: TaskSpec, now: Status): readonly string[] {
  if (now.phase === "Completed" && now.epoch > 0) {
    const open = spec.stages.filter(({ name }) => {
      const state = now.stages.find((entry) => entry.name === name)?.state;
      return state !== "Completed" && state !== "Skipped";
    });
    return open.map(({ name }) => `[S1] Completed without ${name}`);
  }
  if (now.phase !== "RolledBack") return [];
  return now.stages
    .filter(({ seq, state }) => seq > 0 && state !== "RolledBack")
    .map(({ name, state }) => `[S7] RolledBack with ${name} ${state}`);
}

export const BY_OTHERS = new Set([
  "RecordMissing",
  "ForeignEdit",
  "ForeignRecord",
  "ForeignOperation",
  "ContentDiffers",
]);

/** What needs the rest of the world to be judged. */
export function around(world: World, { before, after }: Written): readonly string[] {
  const wrong: string[] = [];
  const now = after.status;
  const claim = claimedBy(before.status, now);
  if (claim !== null && now !== null) {
    const fence = fenceOf({ epoch: now.epoch, seq: claim.seq });
    const highest = greatest(world);
    if (fence <= highest) wrong.push(`[S10] fence ${fence} after ${highest}`);
    if (!after.finalizer) wrong.push("[S27] claimed without a finalizer");
  }
  if (before.finalizer && !after.finalizer) wrong.push(...letGo(world, after));
  return now === null ? wrong : [...wrong, ...causeless(world, after.index, before.status, now)];
}

/** Divergence, conflict and refusal only where something gave cause for them. */
function causeless(world: World, index: number, old: Status | null, now: Status): readonly string[] {
  const wrong: string[] = [];
  const { waiting, failure } = now;
  const stopped = waiting?.reason === "Diverged" && now.epoch > 0 && old?.waiting?.reason !== "Diverged";
  if (stopped && !world.past.vanished) wrong.push(`[S30] Diverged without a cause: ${waiting.message}`);
  if (failure !== null && BY_OTHERS.has(failure.code) && failure.code !== old?.failure?.code)
    wrong.push(`[S7] ${failure.code}, and nobody interfered`);
  const refused = refusalOf(now);
  if (refused !== null && refusalOf(old) === null && world.past.refusable[index] !== true)
    wrong.push(`[S29] refused on an old copy: ${refused}`);
  return wrong;
}

/** Why a rollback was refused, where that rests on the tenant's record. */
function refusalOf(status: Status | null): string | null {
  const { result, reason } = status?.commands.rollback ?? { result: null, reason: null };
  return result === "Rejected" && reason?.startsWith("TenantMoved") === true ? reason : null;
}

export function letGo(world: World, after: TaskObject): readonly string[] {
  const holder = world.tenant.status?.holder ?? null;
  if (isDirty(after)) return ["[S27] its finalizer is gone and it is still dirty"];
  const under = after.status?.epoch === world.tenant.status?.epoch;
  return holder?.uid === after.uid && under ? ["[S27] let go while it holds the lock that it moved under"] : [];
}
