import { fault } from "../lib/failures.ts";
import { between, formatDuration, type Instant, millisOf, minutes } from "../lib/time.ts";
import { turnBack } from "./backward.ts";
import { isHarmless, mustSpec, mustStage } from "./basis.ts";
import { quietAfter, ranSoFar, rest } from "./claims.ts";
import { mineOf, nextStage, soonest } from "./forward.ts";
import { planDigest } from "./plan.ts";
import { canPause, isTerminal } from "./phase.ts";
import { WAITING } from "./reasons.ts";
import { enter, openEntry, pass, waitFor, withEntry, withFailure } from "./status.ts";
import { PROTOCOL_VERSION, type StageEntry, type Status } from "./stored.ts";
import type { Decision, TaskView } from "./task.ts";
import { wasClaimed } from "./undo.ts";

/** null: not my case. */
export type Guard = (view: TaskView, now: Instant) => Decision | null;

/** How long a dying namespace waits for a tenant to be brought back (protocol.md, Namespace terminating). */
const NAMESPACE_GRACE = minutes(10);

/**
 * The history that the API server shows cannot be ours, or not all of it (S30): stop, no effects, until a person releases the tenant.
 * A status of a newer protocol is not even written.
 */
export function diverged(view: TaskView, now: Instant): Decision | null {
  const { status } = view;
  if (status.protocolVersion > PROTOCOL_VERSION) return { do: "leave", because: "NewerProtocol" };
  if (isTerminal(status.phase) || isNamespaceDead(view, now)) return null;
  if (status.waiting?.reason === "Diverged" && status.epoch > 0) return rest(view, status, null, "Diverged");
  const why = whyDiverged(view);
  if (why === null) return null;
  if (why.onTenant && !view.tenant.fresh) return { do: "read", what: "tenant", because: "MustReadTenant" };
  // An epoch above zero says: something may have been claimed.
  const epoch = Math.max(status.epoch, view.tenant.status?.epoch ?? 0, 1);
  const known: Status = status.phase === "Created" ? pass(status, ["Validating", "Pending"], "Diverged", now) : status;
  return rest(
    view,
    waitFor(view, { ...known, epoch }, { reason: "Diverged", message: why.message, fresh: true }, now),
    null,
    "Diverged",
  );
}

interface Divergence {
  readonly message: string;
  /** Rests on TenantState, hence said only after a consistent read (◆). */
  readonly onTenant: boolean;
}

function whyDiverged(view: TaskView): Divergence | null {
  const message = brokenHistory(view);
  if (message !== null) return { message, onTenant: false };
  const lost = view.status.epoch === 0 ? null : lostLock(view);
  return lost === null ? null : { message: lost, onTenant: true };
}

/** What the task's own object shows. */
function brokenHistory(view: TaskView): string | null {
  const { status, stored, spec } = view;
  const holds = view.tenant.status?.holder?.uid === view.ref.uid;
  if (view.rewound) return "the API server shows an older version of this task than it did before";
  if (stored === null) return view.finalizer || holds ? "the status of this task is gone" : null;
  if (spec === null) return status.phase === "Created" ? null : "the spec no longer decodes";
  const { plan } = status;
  const names = spec.stages.map(({ name }) => name);
  const stranger = status.stages.find(({ name }) => !names.includes(name));
  if (stranger !== undefined)
    return `the journal of this task holds a stage ${stranger.name} that its spec does not have`;
  const claimed = Math.max(0, ...status.stages.map(({ seq }) => seq));
  if (claimed !== status.seq) return "the journal of this task does not hold its last claim";
  if (claimed > 0 && (plan === null || status.epoch === 0)) return "this task has claims, but no plan or no epoch";
  if (plan === null || planDigest(spec, plan.previous, plan.effective) === plan.digest) return null;
  return "the plan no longer has the digest it was frozen with";
}

/** A task with claims whose lock is somebody else's, or another one than it claimed under. */
function lostLock({ status, tenant, ref }: TaskView): string | null {
  const holder = tenant.status?.holder ?? null;
  const epoch = tenant.status?.epoch ?? 0;
  if (holder === null || holder.uid !== ref.uid)
    return `this task has claims, but ${holder?.task ?? "nobody"} holds the tenant`;
  const retaken = status.direction === "Back" && holder.direction === "Back" && status.epoch < epoch;
  return status.epoch === epoch || retaken
    ? null
    : `this task's claims carry epoch ${status.epoch}, the lock has ${epoch}`;
}

/** A dying namespace is not blocked for ever: neither by a person who has to decide, nor by a task that cannot be decided upon. */
const isNamespaceDead = ({ namespaceTerminating, deletedAt }: TaskView, now: Instant): boolean =>
  namespaceTerminating && deletedAt !== null && between(deletedAt, now) >= NAMESPACE_GRACE;

/** Deleting a terminal task undoes nothing; otherwise spec.deletionPolicy says what happens first. */
export function deleting(view: TaskView, now: Instant): Decision | null {
  const { status, deletedAt, spec } = view;
  if (deletedAt === null || isTerminal(status.phase)) return null;
  if (isNamespaceDead(view, now))
    return abandoned(view, { by: "namespace", reason: "the namespace is being deleted" }, now);
  if (spec === null || spec.deletionPolicy === "Block") return null;
  return spec.deletionPolicy === "Abandon"
    ? abandoned(view, { by: "deletion", reason: "deletionPolicy Abandon" }, now)
    : turn(view, "Deletion", now);
}

interface Abandoning {
  readonly by: string;
  readonly reason: string;
}

const abandoned = (view: TaskView, about: Abandoning, now: Instant): Decision => ({
  do: "write",
  status: abandon(view, about, now),
  because: "Abandoned",
});

/** Both outrank pause and retry. Nothing claimed: over at once. */
export function cancelOrRollback(view: TaskView, now: Instant): Decision | null {
  const { status, control } = view;
  if (isTerminal(status.phase)) return null;
  if (control.cancel) return turn(view, "Cancel", now);
  return control.rollback && status.phase !== "Created" && status.phase !== "Validating"
    ? turn(view, "Rollback", now)
    : null;
}

function turn(view: TaskView, cause: "Deletion" | "Cancel" | "Rollback", now: Instant): Decision | null {
  const { status } = view;
  if (status.direction === "Back") return null;
  const claimed = status.stages.some(wasClaimed);
  if (claimed || cause === "Rollback") return turnBack(view, cause, now);
  const seen = status.phase === "Created" ? enter(status, "Validating", "TaskSeen", now) : status;
  const because = cause === "Cancel" ? "CancelAsked" : "DeletionAsked";
  return {
    do: "write",
    status: { ...enter(seen, "Cancelled", because, now), finishedAt: now, turnedBackBy: cause },
    because,
  };
}

/** The abandon record: terminal, in line with the claims, and nothing is undone. What was sent without a fence keeps its quiet time. */
export function abandon(view: TaskView, about: Abandoning, now: Instant): Status {
  const open = openEntry(view.status);
  const closed = open === undefined ? view.status : withEntry(view.status, leftBehind(view, open, now));
  const ended = enter(onTheWay(closed, now), "Cancelled", "Abandoned", now);
  return { ...ended, abandoned: { ...about, at: now }, finishedAt: now };
}

/** In a phase from which an arrow leads to Cancelled. */
function onTheWay(status: Status, now: Instant): Status {
  if (status.phase === "Created") return enter(status, "Validating", "TaskSeen", now);
  // It had the lock for its rollback and had claimed nothing yet.
  return status.phase === "Completed"
    ? { ...enter(status, "RollingBack", "RollbackAsked", now), direction: "Back", turnedBackBy: "Rollback" }
    : status;
}

/** A read's or gate's claim has no end and leaves no doubt. */
function leftBehind(view: TaskView, entry: StageEntry, now: Instant): StageEntry {
  const harmless = (entry.claim?.until ?? null) === null;
  return harmless
    ? { ...entry, claim: null }
    : {
        ...entry,
        claim: null,
        outcome: "Unknown",
        quietUntil: view.spec === null ? null : quietAfter(view, entry, now),
      };
}

/** Holds the next claim and stops reads and gates; cuts no write or announce short (S20). */
export function pauseAsked(view: TaskView, now: Instant): Decision | null {
  const { status, control } = view;
  if (control.paused !== true || !canPause(status.phase)) return null;
  const still = interrupted(view, now);
  const stage = still.stages.find(({ state }) => state === "Running")?.name ?? "";
  const message = stage === "" ? "paused" : `paused at stage ${stage}`;
  const paused = waitFor(view, enter(still, "Paused", "PauseAsked", now), { reason: "Paused", message, stage }, now);
  return { do: "write", status: paused, because: "PauseAsked" };
}

/**
 * A read or gate that is open gives up its claim, which is not charged to it; a gate keeps the time that has passed. That of another
 * process, too: whoever claims it later must not take the time in between for time waited (S19).
 */
function interrupted(view: TaskView, now: Instant): Status {
  const { status } = view;
  const open = openEntry(status);
  if (open === undefined || !isHarmless(view, mustStage(view, open.name).stage)) return status;
  const mine = mineOf(view, open);
  const ran = mine === null ? ranSoFar(open, now) : millisOf(open.ran + mine.elapsed);
  return withEntry(status, { ...open, claim: null, ran, attemptsBefore: open.attemptsBefore + 1 });
}

/** Time counts toward progressDeadline: from Running on, but for what waits for people, locks and windows, which moves it. */
const isCounting = ({ phase, waiting }: Status): boolean =>
  (phase === "Running" || phase === "Resuming") && (waiting === null || WAITING[waiting.reason].counts);

/** spec.progressDeadline; a task with nothing left to do is not failed by it. */
export function pastDeadline(view: TaskView, now: Instant): Decision | null {
  const { status } = view;
  const { deadline } = status;
  if (deadline === null || now < deadline || !isCounting(status) || nextStage(view, status) === undefined) return null;
  const still = interrupted(view, now);
  // A claim of a process that is gone is probed first: its outcome must not be lost in a failure.
  if (openEntry(still) !== undefined) return null;
  const what = fault("ProgressDeadline", { deadline: formatDuration(mustSpec(view).progressDeadline ?? millisOf(0)) });
  const failed = enter(withFailure(still, what, null, now), "Failed", "ProgressDeadline", now);
  return { do: "write", status: failed, because: "ProgressDeadline" };
}

/** A sleep that ends when a dying namespace has waited long enough. Nothing tells that it dies after the task was deleted: look again. */
export function notPastGrace({ deletedAt, status }: TaskView, decision: Decision, now: Instant): Decision {
  if (decision.do !== "sleep" || deletedAt === null || isTerminal(status.phase)) return decision;
  const waited = between(deletedAt, now);
  const left = waited < NAMESPACE_GRACE ? millisOf(NAMESPACE_GRACE - waited) : NAMESPACE_GRACE;
  return { ...decision, after: soonest(decision.after, left) };
}

/** A sleep that ends before progressDeadline strikes. */
export function notPastDeadline(view: TaskView, decision: Decision, now: Instant): Decision {
  const { deadline } = view.status;
  if (decision.do !== "sleep" || deadline === null || deadline <= now || !isCounting(view.status)) return decision;
  return { ...decision, after: soonest(decision.after, between(now, deadline)) };
}

/** `onFailure: Rollback`: a failed task goes back by itself. */
export function failureRollsBack(view: TaskView, now: Instant): Decision | null {
  const asked = view.status.phase === "Failed" && view.spec?.onFailure === "Rollback";
  return asked ? turnBack(view, "Failure", now) : null;
}
