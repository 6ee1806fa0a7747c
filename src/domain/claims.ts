import { canonicalJson, hexDigest } from "../lib/digest.ts";
import { fault } from "../lib/failures.ts";
import { formatFence, type Fence } from "../lib/fence.ts";
import { own } from "../lib/own.ts";
import { between, type Instant, millisOf, type Millis, plus } from "../lib/time.ts";
import { basisFor, endpointName, freeze, isUnfenced, mustSpec, mustStage } from "./basis.ts";
import { type Effect, type Limits, limitsOf, opIdOf, type Planned, planStage, type UndoPart } from "./plan.ts";
import type { Phase } from "./phase.ts";
import type { Because } from "./reasons.ts";
import {
  addressesOf,
  ageOf,
  attemptsUsed,
  digestOf,
  enter,
  entryOf,
  intern,
  newEntry,
  stopWaiting,
  waitFor,
  withEntry,
  withFailure,
} from "./status.ts";
import {
  type Approval,
  CLAIM_GRACE,
  type Direction,
  type Issue,
  type StageEntry,
  type StageSpec,
  type Status,
} from "./stored.ts";
import type { Act, Decision, Mine, TaskView } from "./task.ts";

/** What is claimed: a stage forward, or one part of its undo. */
export interface Target {
  readonly stage: string;
  readonly direction: Direction;
  /** null: forward. */
  readonly part: string | null;
  readonly role: Effect | UndoPart["role"];
  /** A claim whose process is gone is taken over: the attempt is not charged to the stage. */
  readonly takeOver: boolean;
}

/** Sleeps if the status is stored already, else stores it; the next decision then sleeps. */
export function rest(view: TaskView, status: Status, after: Millis | null, because: Because): Decision {
  return status === view.stored ? { do: "sleep", after, because } : { do: "write", status, because };
}

/** The limits of a stage: as frozen, or before that as they would be. */
export const limitsFor = (view: TaskView, status: Status, stage: StageSpec): Limits =>
  limitsOf(stage, mustSpec(view), status.plan?.effective ?? view.settings.defaults);

/**
 * Claims `target`: one status that settles what came before, moves exactly this stage, raises seq, and stores who holds the claim until
 * when (protocol.md, The three steps). Instead of a claim, a wait where the endpoint is gone from the settings or something unfenced may
 * still arrive, and a failure where the plan no longer renders.
 */
export function claim(
  view: TaskView,
  before: Status,
  target: Target,
  about: { readonly phase: Phase; readonly because: Because; readonly now: Instant },
): Decision {
  const { now, because } = about;
  const { stage, index } = mustStage(view, target.stage);
  const held = hindrance(view, before, { stage, target, now });
  if (held !== null) return held;

  const begun = started(view, before, now);
  const { planned, issues } = planStage(basisFor(view, begun, target, now), index, target.direction);
  if (planned === null) return cannotRender(before, { target, now, first: issues[0] });
  const moved = begun.phase === about.phase ? stopWaiting(begun, now) : enter(begun, about.phase, because, now);
  return stored(view, moved, { stage, target, planned, because, now });
}

/** The first claim freezes the plan and starts the clock of the whole task. */
function started(view: TaskView, status: Status, now: Instant): Status {
  const frozen = status.plan === null ? { ...status, plan: freeze(view, status, now) } : status;
  if (frozen.startedAt !== null) return frozen;
  const { progressDeadline } = mustSpec(view);
  return { ...frozen, startedAt: now, deadline: progressDeadline === null ? null : plus(now, progressDeadline) };
}

interface Claiming {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly planned: Planned;
  readonly because: Because;
  readonly now: Instant;
}

function stored(view: TaskView, status: Status, { stage, target, planned, because, now }: Claiming): Decision {
  const lock = view.tenant.status;
  if (lock === null || lock.holder?.uid !== view.ref.uid) throw new Error(`claim of ${stage.name} without the lock`);
  const limits = limitsFor(view, status, stage);
  const seq = status.seq + 1;
  const underLock = status.epoch === lock.epoch;
  const fences = {
    fence: formatFence(lock.epoch, seq),
    base: underLock ? formatFence(status.epoch, status.seq) : lock.fence,
  };
  const old = entryOf(status, stage.name) ?? newEntry(stage.name);
  const reached = intern(status, audienceOf(status, old, target, planned));
  const timed = target.role === "write" || target.role === "announce";
  const attemptTimeout = timed ? limits.attemptTimeout : null;
  const entry: StageEntry = {
    ...sameOperation(old, target, now),
    state: target.direction === "Forward" ? "Running" : "RollingBack",
    attempts: old.attempts + 1,
    seq,
    startedAt: old.startedAt ?? now,
    finishedAt: null,
    part: target.part,
    ran: target.role === "gate" ? ranSoFar(old, now) : old.ran,
    claim: {
      nonce: view.self.nonce,
      by: view.self.by,
      at: now,
      until: attemptTimeout === null ? null : plus(now, millisOf(attemptTimeout + CLAIM_GRACE)),
    },
    audience: reached.indexes,
    retryAt: null,
    preset: target.role === "gate" && old.startedAt === null ? presetOf(view, stage.name) : old.preset,
  };
  const next = withEntry({ ...reached.status, epoch: lock.epoch, seq }, entry);
  const act = actOf(view, next, {
    stage,
    target,
    planned,
    entry,
    fences,
    now,
    nonce: view.self.nonce,
    probe: probeFor(old, target, { planned, limits }),
    limits: { ...limits, attemptTimeout },
  });
  return { do: "act", status: next, act, because };
}

/** After an outcome that nobody knows: ask first where the kind can; with the attempts used up, ask only. */
function probeFor(
  old: StageEntry,
  { direction, takeOver }: Target,
  { planned, limits }: { readonly planned: Planned; readonly limits: Limits },
): Act["probe"] {
  if (old.outcome !== "Unknown" || recoveryOf(planned, direction) !== "probe") return "no";
  return takeOver || attemptsUsed(old) < limits.retry.maxAttempts ? "first" : "only";
}

/** A new operation on the stage starts its own count of attempts and acknowledgements. */
function sameOperation(old: StageEntry, { part, takeOver }: Target, now: Instant): StageEntry {
  if (old.part === part) return takeOver ? { ...old, attemptsBefore: old.attemptsBefore + 1 } : old;
  const since = old.startedAt === null ? null : now;
  // What others changed is reported to the end, whatever part of the undo comes next (S7).
  const drift = old.part === null ? null : old.drift;
  return { ...old, attemptsBefore: old.attempts, acked: [], failures: [], outcome: null, drift, since };
}

/**
 * Whom the act may touch: what was resolved at the first claim belongs to the stage from then on. Announces of the undo go to the forward
 * audience and to the same selection in the previous unit; a verify asks the previous unit only.
 */
function audienceOf(status: Status, old: StageEntry, target: Target, planned: Planned): readonly string[] {
  if (target.role === "verify" || old.seq === 0) return planned.audience;
  const known = addressesOf(status, old.audience);
  return target.direction === "Forward" ? known : [...new Set([...known, ...planned.audience])];
}

/** Time under a claim of a process that is gone, rounded down: its clock may have run 1 % fast, a Date header is up to 1 s late (S19). */
export function ranSoFar({ ran, claim }: StageEntry, now: Instant): Millis {
  return claim === null ? ran : millisOf(ran + Math.max(0, Math.floor(between(claim.at, now) * 0.98) - 1000));
}

/** Approvals that stand before the stage waits never count (SEC-13). */
export function presetOf(view: TaskView, stage: string): Readonly<Record<string, string>> {
  const given = own(view.control.approvals, stage) ?? {};
  return Object.fromEntries(Object.entries(given).map(([user, approval]) => [user, approvalDigest(approval)]));
}

export const approvalDigest = (approval: Approval): string =>
  hexDigest("approval", canonicalJson(approval)).slice(0, 12);

interface Acting {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly planned: Planned;
  readonly entry: StageEntry;
  readonly nonce: string;
  readonly probe: Act["probe"];
  readonly fences: { readonly fence: Fence; readonly base: Fence };
  readonly limits: { readonly attemptTimeout: Millis | null; readonly instanceTimeout: Millis };
  readonly now: Instant;
}

function actOf(view: TaskView, status: Status, acting: Acting): Act {
  const { stage, target, planned, entry, fences, limits, now } = acting;
  const acked = new Set(entry.acked);
  return {
    stage: stage.name,
    kind: stage.kind,
    does: target.direction === "Back" && target.role !== "verify" ? "undo" : "run",
    direction: target.direction,
    part: target.part,
    probe: acting.probe,
    recover: recoveryOf(planned, target.direction),
    nonce: acting.nonce,
    seq: entry.seq,
    opId: opIdOf(view.ref.uid, stage.name, target.direction, target.part),
    undoes: { opId: opIdOf(view.ref.uid, stage.name, "Forward", null), settled: entry.outputs !== null },
    ...fences,
    inputs: planned.inputs,
    addresses: addressesOf(
      status,
      entry.audience.filter((i) => !acked.has(i)),
    ),
    endpoint: planned.endpoint,
    attemptTimeout: limits.attemptTimeout,
    instanceTimeout: limits.instanceTimeout,
    ran: entry.ran,
    age: ageOf(entry, now),
    onDrift: stage.onDrift,
    approvals: fresh(own(view.control.approvals, stage.name) ?? {}, entry.preset),
    requestedBy: mustSpec(view).requestedBy,
    policiesMissing: view.policiesMissing,
    digest: digestOf(status),
    memo: null,
  };
}

/** An undo may always be repeated; forward the kind says what it can do. */
export function recoveryOf(planned: Planned, direction: Direction): Act["recover"] {
  if (direction === "Back") return "repeat";
  if (planned.canProbe) return "probe";
  return planned.idempotent ? "repeat" : "hold";
}

function fresh(
  given: Readonly<Record<string, Approval>>,
  preset: Readonly<Record<string, string>>,
): Readonly<Record<string, Approval>> {
  return Object.fromEntries(
    Object.entries(given).filter(([user, approval]) => preset[user] !== approvalDigest(approval)),
  );
}

/** The same act again under a claim that is stored and ours: reads and gates poll without writes or attempts. null: it no longer renders. */
export function pollOf(
  view: TaskView,
  entry: StageEntry,
  target: Target,
  about: { readonly mine: Mine; readonly now: Instant },
): Act | null {
  const { status } = view;
  const { stage, index } = mustStage(view, target.stage);
  const { planned } = planStage(basisFor(view, status, target, about.now), index, target.direction);
  if (planned === null) return null;
  const limits = { ...limitsFor(view, status, stage), attemptTimeout: null };
  const fence = formatFence(status.epoch, entry.seq);
  const act = actOf(view, status, {
    stage,
    target,
    planned,
    entry,
    limits,
    nonce: about.mine.nonce,
    probe: "no",
    fences: { fence, base: fence },
    now: about.now,
  });
  return { ...act, ran: millisOf(entry.ran + about.mine.elapsed), memo: about.mine.memo };
}

interface Hindered {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly now: Instant;
}

/** Why the claim has to wait; null where it need not. */
function hindrance(view: TaskView, status: Status, { stage, target, now }: Hindered): Decision | null {
  const name = endpointName(stage.config);
  if (name === null) return null;
  const endpoint = own(view.settings.endpoints, name);
  if (endpoint === undefined) {
    const message = `stage ${stage.name} needs endpoint ${name}, which is not in the operator's settings`;
    const about = { reason: "EndpointUnavailable", message, stage: stage.name, fresh: true } as const;
    return rest(view, waitFor(view, status, about, now), null, "EndpointUnavailable");
  }
  if (endpoint.fencing !== "None" || target.role === "verify") return null;
  const quiet = quietUntil(status, { except: stage.name, part: target.part });
  if (quiet === null || quiet <= now) return null;
  const message = `stage ${stage.name} goes to a receiver without fences; what was sent before may still arrive`;
  const about = { reason: "Quiescing", message, stage: stage.name, until: quiet } as const;
  return rest(view, waitFor(view, status, about, now), between(now, quiet), "Quiescing");
}

/** Until when the attempt of `entry` that nobody knows about may still arrive, if nothing was sent after `now`. */
export function quietAfter(view: TaskView, entry: StageEntry, now: Instant): Instant | null {
  const { stage } = mustStage(view, entry.name);
  if (!isUnfenced(view.settings, stage.config)) return entry.quietUntil;
  const limits = limitsFor(view, view.status, stage);
  return plus(now, millisOf(limits.attemptTimeout + CLAIM_GRACE + limits.instanceTimeout));
}

/** Until when something that another operation of this task sent without a fence may still arrive; null: nothing may. */
export function quietUntil(
  status: Status,
  own: { readonly except: string; readonly part: string | null } | null,
): Instant | null {
  const others = status.stages.filter((entry) => own === null || entry.name !== own.except || entry.part !== own.part);
  const times = others.flatMap((entry) => entry.quietUntil ?? []);
  return times.length === 0 ? null : times.reduce((a, b) => (a > b ? a : b));
}

interface NotRendered {
  readonly target: Target;
  readonly now: Instant;
  readonly first: Issue;
}

/** The plan rendered when it was frozen and does not now: an output is missing, or a policy was narrowed. */
function cannotRender(status: Status, { target, now, first }: NotRendered): Decision {
  const { path, message } = first;
  const nothingClaimed = status.phase === "Pending";
  const what = nothingClaimed
    ? fault("InvalidSpec", { path, message, others: "" })
    : fault("CannotRender", { stage: target.stage, path, message });
  const failed = withFailure(status, what, target.stage, now);
  if (target.direction === "Back") {
    return { do: "write", status: enter(failed, "RollbackFailed", "UndoFailed", now), because: "UndoFailed" };
  }
  if (nothingClaimed) {
    const refused = enter({ ...failed, issues: [first] }, "ValidationFailed", "SpecInvalid", now);
    return { do: "write", status: { ...refused, finishedAt: now }, because: "SpecInvalid" };
  }
  const entry = entryOf(status, target.stage);
  const held =
    entry === undefined
      ? failed
      : withEntry(failed, { ...entry, state: "Failed", claim: null, retryAt: null, finishedAt: now });
  return { do: "write", status: enter(held, "Failed", "StageFailed", now), because: "StageFailed" };
}
