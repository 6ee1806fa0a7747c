import { fault } from "../lib/failures.ts";
import { never } from "../lib/never.ts";
import { between, formatDuration, type Instant, millisOf, minutes, plus } from "../lib/time.ts";
import { turnBack } from "./backward.ts";
import { mustSpec } from "./basis.ts";
import { rest } from "./claims.ts";
import { mineOf } from "./forward.ts";
import { limitsOf, planDigest } from "./plan.ts";
import { canPause, isTerminal, mayEnter } from "./phase.ts";
import { WAITING } from "./reasons.ts";
import { enter, openEntry, pass, waitFor, withEntry, withFailure } from "./status.ts";
import { CLAIM_GRACE, PROTOCOL_VERSION, type StageEntry, type Status } from "./stored.ts";
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
  if (isTerminal(status.phase)) return null;
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
  const lost = view.status.epoch === 0 || view.spec === null ? null : lostLock(view);
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

/** Deleting a terminal task undoes nothing; otherwise spec.deletionPolicy says what happens first. */
export function deleting(view: TaskView, now: Instant): Decision | null {
  const { status, deletedAt } = view;
  if (deletedAt === null || isTerminal(status.phase) || view.spec === null) return null;
  if (view.namespaceTerminating && between(deletedAt, now) >= NAMESPACE_GRACE) {
    return {
      do: "write",
      status: abandon(view, { by: "namespace", reason: "the namespace is being deleted" }, now),
      because: "Abandoned",
    };
  }
  switch (view.spec.deletionPolicy) {
    case "Block":
      return null;
    case "Abandon":
      return {
        do: "write",
        status: abandon(view, { by: "deletion", reason: "deletionPolicy Abandon" }, now),
        because: "Abandoned",
      };
    case "Rollback":
      return turn(view, "Deletion", now);
    default:
      return never(view.spec.deletionPolicy);
  }
}

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
export function abandon(view: TaskView, about: { readonly by: string; readonly reason: string }, now: Instant): Status {
  const closed = view.status.stages
    .filter(({ claim }) => claim !== null)
    .reduce(
      (folded, entry) =>
        withEntry(folded, { ...entry, claim: null, outcome: "Unknown", quietUntil: quietAfter(view, entry, now) }),
      view.status,
    );
  const seen = closed.phase === "Created" ? enter(closed, "Validating", "TaskSeen", now) : closed;
  return { ...enter(seen, "Cancelled", "Abandoned", now), abandoned: { ...about, at: now }, finishedAt: now };
}

function quietAfter(view: TaskView, entry: StageEntry, now: Instant): Instant | null {
  const spec = view.spec;
  const stage = spec?.stages.find(({ name }) => name === entry.name);
  const endpoint = stage?.config["endpoint"];
  if (spec === null || stage === undefined || typeof endpoint !== "string") return entry.quietUntil;
  if (view.settings.endpoints[endpoint]?.fencing !== "None") return entry.quietUntil;
  const limits = limitsOf(stage, spec, view.status.plan?.effective ?? view.settings.defaults);
  return plus(now, millisOf(limits.attemptTimeout + CLAIM_GRACE + limits.instanceTimeout));
}

/** Holds the next claim and stops reads and gates; cuts no write or announce short (S20). */
export function pauseAsked(view: TaskView, now: Instant): Decision | null {
  const { status, control } = view;
  if (control.paused !== true || !canPause(status.phase) || !mayEnter(status.phase, "Paused")) return null;
  return { do: "write", status: pausedNow(view, status, now), because: "PauseAsked" };
}

export function pausedNow(view: TaskView, status: Status, now: Instant): Status {
  const open = openEntry(status);
  const still = open === undefined || mineOf(view, open) === null ? status : withEntry(status, interrupted(view, open));
  const stage = still.stages.find(({ state }) => state === "Running")?.name ?? "";
  const message = stage === "" ? "paused" : `paused at stage ${stage}`;
  return waitFor(view, enter(still, "Paused", "PauseAsked", now), { reason: "Paused", message, stage }, now);
}

/** A read or gate gives up its claim; a gate keeps the time that has passed. */
const interrupted = (view: TaskView, entry: StageEntry): StageEntry => ({
  ...entry,
  claim: null,
  ran: millisOf(entry.ran + (view.mine?.elapsed ?? 0)),
});

/** spec.progressDeadline, from Running on; whatever waits for people, locks or windows has moved it already. */
export function pastDeadline(view: TaskView, now: Instant): Decision | null {
  const { status } = view;
  const { deadline, waiting } = status;
  if (deadline === null || now < deadline || (status.phase !== "Running" && status.phase !== "Resuming")) return null;
  if (waiting !== null && !WAITING[waiting.reason].counts) return null;
  const open = openEntry(status);
  // A claim of a process that is gone is probed first: its outcome must not be lost in a failure.
  if (open !== undefined && mineOf(view, open) === null) return null;
  const still = open === undefined ? status : withEntry(status, interrupted(view, open));
  const what = fault("ProgressDeadline", { deadline: formatDuration(mustSpec(view).progressDeadline ?? millisOf(0)) });
  return {
    do: "write",
    status: enter(withFailure(still, what, null, now), "Failed", "ProgressDeadline", now),
    because: "ProgressDeadline",
  };
}

/** `onFailure: Rollback`: a failed task goes back by itself. */
export function failureRollsBack(view: TaskView, now: Instant): Decision | null {
  const asked = view.status.phase === "Failed" && view.spec?.onFailure === "Rollback";
  return asked ? turnBack(view, "Failure", now) : null;
}
