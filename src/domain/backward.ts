import { fault } from "../lib/failures.ts";
import { between, formatDuration, type Instant, millisOf } from "../lib/time.ts";
import { isHarmless, mustStage } from "./basis.ts";
import { claim, limitsFor, pollOf, quietUntil, rest, type Target } from "./claims.ts";
import { claimantMayLive, leaveFailed, mineOf, retryAsked, soonest } from "./forward.ts";
import { takeLock } from "./lock.ts";
import type { Because } from "./reasons.ts";
import { fail } from "./settle.ts";
import { REASON } from "./sizes.ts";
import { ageOf, enter, entryOf, excuse, openEntry, waitFor, withEntry } from "./status.ts";
import type { Answer, StageEntry, Status, TenantStatus, TurnCause } from "./stored.ts";
import type { Decision, Mine, TaskView } from "./task.ts";
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

/** What has nothing to undo is RolledBack without a claim: reads and gates, and everything where no write or announce was claimed. */
function closeGates(view: TaskView, status: Status, now: Instant): Status {
  const due = new Set(undoLeft(undoPlanOf(view, status), status.stages).map(({ stage }) => stage));
  return status.stages.filter(wasClaimed).reduce((folded, entry) => {
    if (due.has(entry.name)) {
      const { stage } = mustStage(view, entry.name);
      return isHarmless(view, stage) ? withEntry(folded, { ...entry, claim: null }) : folded;
    }
    const back = withEntry(folded, { ...entry, state: "RollingBack", claim: null, retryAt: null });
    return withEntry(back, { ...entry, state: "RolledBack", claim: null, retryAt: null, finishedAt: now });
  }, status);
}

/** RolledBack, or Cancelled where the undo was asked for by cancel. */
function over(status: Status, because: Because, now: Instant): Status {
  const phase = status.turnedBackBy === "Cancel" ? "Cancelled" : "RolledBack";
  return { ...enter(status, phase, because, now), finishedAt: now };
}

export function rollingBack(view: TaskView, now: Instant): Decision {
  const { status } = view;
  const open = openEntry(status);
  const [step] = undoLeft(undoPlanOf(view, status), status.stages);
  if (open === undefined) return undoNext(view, status, { step, now, takeOver: false });
  const mine = mineOf(view, open);
  if (mine !== null && step !== undefined && step.stage === open.name && step.part === open.part)
    return pollUndo(view, open, { step, mine, now });
  const waited = mine === null ? claimantMayLive(view, open, mustStage(view, open.name).stage) : null;
  if (waited !== null) return rest(view, status, waited, "ClaimantMayLive");
  return undoNext(view, givenUp(status, open), { step, now, takeOver: mine === null });
}

/** The claim of a write or announce whose process is gone leaves a doubt; that of a read leaves nothing. */
const givenUp = (status: Status, open: StageEntry): Status =>
  withEntry(status, { ...open, claim: null, outcome: (open.claim?.until ?? null) === null ? open.outcome : "Unknown" });

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
    const about = { reason: "Quiescing", message, stage: step.stage, until: quiet } as const;
    return rest(view, waitFor(view, status, about, now), between(now, quiet), "Quiescing");
  }
  const because = takeOver ? "TakeOver" : "Claimed";
  return claim(view, status, targetOf(step, takeOver && same), { phase: "RollingBack", because, now });
}

const targetOf = ({ stage, part, role }: UndoStep, takeOver: boolean): Target => ({
  stage,
  direction: "Back",
  part,
  role,
  takeOver,
});

interface PollingUndo {
  readonly step: UndoStep;
  readonly mine: Mine;
  readonly now: Instant;
}

/** A verify against the previous unit goes on under its claim. */
function pollUndo(view: TaskView, entry: StageEntry, { step, mine, now }: PollingUndo): Decision {
  const { status } = view;
  const { timeout } = limitsFor(view, status, mustStage(view, entry.name).stage);
  const left = millisOf(timeout - ageOf(entry, now));
  if (left === 0) {
    const what = fault("StageTimeout", { stage: entry.name, timeout: formatDuration(timeout) });
    const ended = fail({ view, act: { stage: entry.name, direction: "Back" }, now }, what, { ...entry, claim: null });
    return { do: "write", status: ended, because: "StageTimeout" };
  }
  if (mine.waitLeft === null || mine.waitLeft > 0) return rest(view, status, soonest(mine.waitLeft, left), "Poll");
  const act = pollOf(view, entry, targetOf(step, false), { mine, now });
  return act === null
    ? undoNext(view, givenUp(status, entry), { step, now, takeOver: false })
    : { do: "act", status: null, act, because: "Poll" };
}

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
  const lock = lockToTake(view, now);
  if (typeof lock !== "string") {
    return view.finalizer
      ? { do: "lock", tenant: takeLock(view, lock, "Back", now), because: "RollbackAsked" }
      : { do: "finalizer", because: "RollbackAsked" };
  }
  if (!tenant.fresh) return { do: "read", what: "tenant", because: "MustReadTenant" };
  const rejected: Answer = { value: "true", result: "Rejected", reason: lock.slice(0, REASON), at: now };
  return {
    do: "write",
    status: { ...status, commands: { ...status.commands, rollback: rejected } },
    because: "RollbackAsked",
  };
}

/** The lock that the rollback of a Completed task takes, or why it may not. */
function lockToTake({ spec, status, tenant, ref }: TaskView, now: Instant): TenantStatus | string {
  const lock = tenant.status;
  if (spec === null) return "the spec no longer decodes";
  if (spec.dryRun || status.plan === null) return "NothingToUndo: nothing was switched";
  if (between(status.finishedAt ?? now, now) > spec.rollbackWindow) return "WindowClosed: rollbackWindow is over";
  if (lock === null) return "TenantMoved: the tenant's record is gone";
  if (lock.diverged !== null) return `Diverged: ${lock.diverged.reason}`;
  if (lock.holder !== null) return `TenantMoved: ${lock.holder.task} holds the tenant`;
  if (lock.current?.task?.uid !== ref.uid)
    return `TenantMoved: ${lock.current?.task?.name ?? "another task"} moved the tenant later`;
  return lock.current.restorable ? lock : "TenantMoved: what was before is kept one level deep only";
}

/** The stages by the side they are on, for a person who reads a failed rollback (R41); one that only asks is on neither. */
export function sidesOf(
  view: TaskView,
  status: Status,
): { readonly undone: readonly string[]; readonly ahead: readonly string[] } {
  const left = undoLeft(undoPlanOf(view, status), status.stages);
  const claimed = status.stages.filter(wasClaimed).map(({ name }) => name);
  return {
    undone: claimed.filter((name) => !left.some(({ stage }) => stage === name)),
    ahead: claimed.filter((name) => left.some(({ stage, role }) => stage === name && role !== "verify")),
  };
}
