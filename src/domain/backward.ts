import { fault } from "../lib/failures.ts";
import { between, formatDuration, type Instant, millisOf, type Millis } from "../lib/time.ts";
import { claim, mustSpec, pollOf, quietUntil, rest, type Target } from "./claims.ts";
import { claimantMayLive, isMine, leaveFailed, retryAsked } from "./forward.ts";
import { takeLock } from "./lock.ts";
import { limitsOf } from "./plan.ts";
import type { Because } from "./reasons.ts";
import { fail } from "./settle.ts";
import { ageOf, enter, entryOf, excuse, openEntry, waitFor, withEntry } from "./status.ts";
import type { Answer, StageEntry, Status, TurnCause } from "./stored.ts";
import type { Decision, TaskView } from "./task.ts";
import { undoLeft, undoPlanOf, type UndoStep, wasClaimed } from "./undo.ts";

/** Why a task turns back, and what its history says. */
export const TURNS: Readonly<Record<TurnCause, Because>> = {
  Rollback: "RollbackAsked",
  Cancel: "CancelAsked",
  Deletion: "DeletionAsked",
  Failure: "FailureRollsBack",
};

/**
 * Forward → Back, once (S4). Reads and gates stop at once and have nothing to undo; an open write keeps its claim until whoever made it
 * can no longer act. Nothing claimed: over in the same write, without any effect.
 */
export function turnBack(view: TaskView, cause: TurnCause, now: Instant): Decision {
  const left = view.status.phase === "Failed" ? leaveFailed(view.status, now) : view.status;
  const facing = { ...left, direction: "Back" as const, turnedBackBy: cause, finishedAt: null };
  const turning = enter(facing, "RollingBack", TURNS[cause], now);
  if (!turning.stages.some(wasClaimed))
    return { do: "write", status: over(turning, "NothingClaimed", now), because: "NothingClaimed" };
  const status = closeGates(view, turning, now);
  return rollingBack({ ...view, status }, now);
}

/** Stages without undo are RolledBack without a claim; verify stages too where there is no previous unit to ask. */
function closeGates(view: TaskView, status: Status, now: Instant): Status {
  const steps = undoPlanOf(view, status);
  const withUndo = new Set(steps.map(({ stage }) => stage));
  return status.stages.reduce((folded, entry) => {
    if (withUndo.has(entry.name)) return isRead(view, entry) ? withEntry(folded, { ...entry, claim: null }) : folded;
    const back = withEntry(folded, { ...entry, state: "RollingBack", claim: null, retryAt: null });
    return withEntry(back, { ...entry, state: "RolledBack", claim: null, retryAt: null, finishedAt: now });
  }, status);
}

function isRead(view: TaskView, entry: StageEntry): boolean {
  const stage = mustSpec(view).stages.find(({ name }) => name === entry.name);
  const effect = stage === undefined ? "write" : view.kinds[stage.kind]?.effect(stage.config);
  return effect === "read" || effect === "gate";
}

/** RolledBack, or Cancelled where the undo was asked for by cancel. */
function over(status: Status, because: Because, now: Instant): Status {
  const phase = status.turnedBackBy === "Cancel" ? "Cancelled" : "RolledBack";
  return { ...enter(status, phase, because, now), finishedAt: now };
}

export function rollingBack(view: TaskView, now: Instant): Decision {
  const { status } = view;
  const open = openEntry(status);
  const steps = undoLeft(undoPlanOf(view, status), status.stages);
  if (open !== undefined && isMine(view, open)) return pollUndo(view, open, steps[0], now);
  if (open !== undefined) {
    const stage = mustSpec(view).stages.find(({ name }) => name === open.name);
    const waited = stage === undefined ? null : claimantMayLive(view, open, stage);
    if (waited !== null) return rest(view, status, waited, "ClaimantMayLive");
    const freed = withEntry(status, { ...open, claim: null, outcome: "Unknown" });
    return undoNext({ ...view, status: freed }, freed, { step: steps[0], now, takeOver: true });
  }
  return undoNext(view, status, { step: steps[0], now, takeOver: false });
}

interface Undoing {
  readonly step: UndoStep | undefined;
  readonly now: Instant;
  readonly takeOver: boolean;
}

function undoNext(view: TaskView, status: Status, { step, now, takeOver }: Undoing): Decision {
  if (step === undefined) return { do: "write", status: over(status, "AllUndone", now), because: "AllUndone" };
  const entry = entryOf(status, step.stage);
  const same = entry?.part === step.part;
  if (same && entry.retryAt !== null && entry.retryAt > now) {
    return rest(view, status, between(now, entry.retryAt), "BackingOff");
  }
  const quiet = step.again ? quietUntil(status, null) : null;
  if (quiet !== null && quiet > now) {
    const message = "everything sent without a fence must have arrived before the previous unit is asked again";
    return rest(
      view,
      waitFor(view, status, { reason: "Quiescing", message, stage: step.stage, until: quiet }, now),
      between(now, quiet),
      "Quiescing",
    );
  }
  const target: Target = {
    index: step.index,
    direction: "Back",
    part: step.part,
    role: step.role,
    probe: "no",
    takeOver: takeOver && same,
  };
  return claim(view, status, target, { phase: "RollingBack", because: takeOver ? "TakeOver" : "Claimed", now });
}

/** A verify against the previous unit goes on under its claim. */
function pollUndo(view: TaskView, entry: StageEntry, step: UndoStep | undefined, now: Instant): Decision {
  const { mine, status } = view;
  const spec = mustSpec(view);
  const stage = step === undefined ? undefined : spec.stages[step.index];
  if (mine === null || step === undefined || stage === undefined || step.stage !== entry.name) {
    throw new Error(`poll of ${entry.name}, which is not what is being undone`);
  }
  const limits = limitsOf(stage, spec, status.plan?.effective ?? view.settings.defaults);
  const left = millisOf(limits.timeout - ageOf(entry, now));
  if (left === 0) {
    const what = fault("StageTimeout", { stage: entry.name, timeout: formatDuration(limits.timeout) });
    const ended = fail({ view, act: { stage: entry.name, direction: "Back" }, now }, what, { ...entry, claim: null });
    return { do: "write", status: ended, because: "StageTimeout" };
  }
  if (mine.waitLeft === null || mine.waitLeft > 0) return rest(view, status, shorter(mine.waitLeft, left), "Poll");
  const target: Target = {
    index: step.index,
    direction: "Back",
    part: step.part,
    role: step.role,
    probe: "no",
    takeOver: false,
  };
  const act = pollOf(view, entry, target, { mine, now });
  return act === null
    ? rest(view, status, null, "EndpointUnavailable")
    : { do: "act", status: null, act, because: "Poll" };
}

const shorter = (a: Millis | null, b: Millis): Millis => (a === null ? b : millisOf(Math.min(a, b)));

/** A failed undo can be retried for ever; each retry grants a new set of attempts (protocol.md, Undo). */
export function rollbackFailed(view: TaskView, now: Instant): Decision {
  const nonce = retryAsked(view);
  if (nonce === null) return rest(view, view.status, null, "UndoFailed");
  const since = view.status.failure?.at ?? now;
  const awake = excuse({ ...view.status, waiting: null, retried: nonce }, between(since, now));
  const status = awake.stages
    .filter(({ state }) => state === "RollingBack")
    .reduce(
      (folded, entry) => withEntry(folded, { ...entry, attemptsBefore: entry.attempts, retryAt: null, since: now }),
      awake,
    );
  return rollingBack({ ...view, status: { ...enter(status, "RollingBack", "RetryAsked", now), failure: null } }, now);
}

/**
 * Rollback of a Completed task: only inside its window, while it is what brought the tenant where it is, nothing else holds the tenant,
 * and records reach that far back (protocol.md, Undo). Finalizer, then a lock with direction Back, then the first claim (◆).
 * null: nothing of the kind is asked or it was refused before.
 */
export function rollbackOfCompleted(view: TaskView, now: Instant): Decision | null {
  const { status, control, tenant, ref } = view;
  const holder = tenant.status?.holder ?? null;
  if (holder?.uid === ref.uid) {
    if (holder.direction === "Forward") return null;
    return view.finalizer ? turnBack(view, "Rollback", now) : { do: "finalizer", because: "RollbackAsked" };
  }
  if (!control.rollback || status.commands.rollback?.result === "Rejected" || view.deletedAt !== null) return null;
  const refused = whyNotBack(view, now);
  if (refused === null) {
    if (!view.finalizer) return { do: "finalizer", because: "RollbackAsked" };
    return tenant.status === null
      ? { do: "read", what: "tenant", because: "MustReadTenant" }
      : { do: "lock", tenant: takeLock(view, tenant.status, "Back", now), because: "RollbackAsked" };
  }
  if (!tenant.fresh) return { do: "read", what: "tenant", because: "MustReadTenant" };
  const rejected: Answer = { value: "true", result: "Rejected", reason: refused, at: now };
  return {
    do: "write",
    status: { ...status, commands: { ...status.commands, rollback: rejected } },
    because: "RollbackAsked",
  };
}

function whyNotBack(view: TaskView, now: Instant): string | null {
  const { status, tenant, ref } = view;
  const lock = tenant.status;
  const finished = status.finishedAt ?? now;
  if (mustSpec(view).dryRun || status.plan === null) return "NothingToUndo: nothing was switched";
  if (between(finished, now) > mustSpec(view).rollbackWindow) return "WindowClosed: rollbackWindow is over";
  if (lock === null) return "TenantMoved: the tenant's record is gone";
  if (lock.diverged !== null) return `Diverged: ${lock.diverged.reason}`;
  if (lock.holder !== null) return `TenantMoved: ${lock.holder.task} holds the tenant`;
  if (lock.current?.task?.uid !== ref.uid)
    return `TenantMoved: ${lock.current?.task?.name ?? "another task"} moved the tenant later`;
  return lock.current.restorable ? null : "TenantMoved: what was before is kept one level deep only";
}

/** The stages by the side they are on, for a person who reads a failed rollback (R41). */
export function sidesOf(
  view: TaskView,
  status: Status,
): { readonly undone: readonly string[]; readonly ahead: readonly string[] } {
  const left = new Set(undoLeft(undoPlanOf(view, status), status.stages).map(({ stage }) => stage));
  const claimed = status.stages.filter(wasClaimed).map(({ name }) => name);
  return { undone: claimed.filter((name) => !left.has(name)), ahead: claimed.filter((name) => left.has(name)) };
}
