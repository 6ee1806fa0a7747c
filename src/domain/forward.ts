import { fault } from "../lib/failures.ts";
import { own } from "../lib/own.ts";
import { between, formatDuration, type Instant, millisOf, type Millis, plus } from "../lib/time.ts";
import { basisFor, effectOf, isHarmless, isUnfenced, mustSpec, mustStage } from "./basis.ts";
import { claim, limitsFor, pollOf, presetOf, recoveryOf, rest, type Target } from "./claims.ts";
import { valueOf } from "./command-values.ts";
import { planStage } from "./plan.ts";
import type { Because } from "./reasons.ts";
import { fail } from "./settle.ts";
import { ageOf, enter, entryOf, excuse, newEntry, openEntry, stopWaiting, withEntry } from "./status.ts";
import { CLAIM_GRACE, type Control, type StageEntry, type StageSpec, type Status } from "./stored.ts";
import type { Decision, Mine, TaskView } from "./task.ts";

/** Running: settle what is open, then claim the next stage, then be done. */
export function running(view: TaskView, now: Instant): Decision {
  const open = openEntry(view.status);
  if (open === undefined) return goOn(view, view.status, now);
  const mine = mineOf(view, open);
  return mine === null ? takeOver(view, open, now) : poll(view, open, { mine, now });
}

/** Resuming: a read or gate that the pause cut short is claimed again; settled stages stay (R70). */
export function resuming(view: TaskView, now: Instant): Decision {
  const { status } = view;
  if (status.startedAt === null)
    return { do: "write", status: enter(status, "Pending", "Resumed", now), because: "Resumed" };
  const open = openEntry(status);
  return open === undefined ? goOn(view, status, now) : takeOver(view, open, now);
}

/** Paused and told to go on. A vanished field does not resume (api.md, Commands). */
export function paused(view: TaskView, now: Instant): Decision {
  const { status, control } = view;
  if (control.paused === false)
    return { do: "write", status: enter(status, "Resuming", "ResumeAsked", now), because: "ResumeAsked" };
  return rest(view, status, null, "Paused");
}

/** Failed rests until a person says what happens; only `onFailure: Rollback` goes on by itself (guards). */
export function failed(view: TaskView, now: Instant): Decision {
  const { status } = view;
  const asked = retryAsked(view);
  const stage = nextStage(view, status);
  if (asked !== null) return retried(view, stage, { nonce: asked, now });
  const skip = stage === undefined ? undefined : skipOf(view, stage, status);
  if (stage === undefined || skip === undefined) return rest(view, status, null, "StageFailed");
  const awake = { ...enter(leaveFailed(status, now), "Running", "SkipAsked", now), failure: null };
  return wake(view, skipped(awake, stage, { by: skip, now }), { because: "SkipAsked", now });
}

interface Asked {
  readonly nonce: number;
  readonly now: Instant;
}

/** A person grants a new set of attempts and a new stage timeout; a gate asks anew, what was answered before does not count. */
function retried(view: TaskView, stage: StageSpec | undefined, { nonce, now }: Asked): Decision {
  const left = renewDeadline(view, leaveFailed({ ...view.status, retried: nonce }, now), now);
  const awake = { ...enter(left, "Running", "RetryAsked", now), failure: null };
  const entry = stage === undefined ? undefined : entryOf(awake, stage.name);
  if (entry === undefined) return wake(view, awake, { because: "RetryAsked", now });
  const granted: StageEntry = {
    ...entry,
    state: "Running",
    attemptsBefore: entry.attempts,
    since: now,
    retryAt: null,
    preset: presetOf(view, entry.name),
  };
  return wake(view, withEntry(awake, granted), { because: "RetryAsked", now });
}

/** Pause outranks retry and skip: then the task wakes up and claims nothing. */
function wake(
  view: TaskView,
  status: Status,
  { because, now }: { readonly because: Because; readonly now: Instant },
): Decision {
  return view.control.paused === true ? { do: "write", status, because } : goOn(view, status, now);
}

/** The highest retry that was asked for and neither done nor refused; null where there is none. */
export function retryAsked({ control, status }: Pick<TaskView, "control" | "status">): number | null {
  if (control.retry === null || control.retry <= status.retried) return null;
  const answer = status.commands.retry;
  const refused =
    answer?.value === String(control.retry) && (answer.result === "Rejected" || answer.result === "Superseded");
  return refused ? null : control.retry;
}

/** Time in Failed belongs to a person; what was waited for there is over. */
export function leaveFailed(status: Status, now: Instant): Status {
  const since = status.failure?.at ?? now;
  return excuse({ ...status, waiting: null }, between(since, now));
}

/** After a progressDeadline a person's retry starts it anew; otherwise it would strike again at once. */
function renewDeadline(view: TaskView, status: Status, now: Instant): Status {
  const { progressDeadline } = mustSpec(view);
  if (status.failure?.code !== "ProgressDeadline" || progressDeadline === null) return status;
  return { ...status, deadline: plus(now, progressDeadline) };
}

/** The first stage that has not settled; undefined where all have. */
export const nextStage = (view: TaskView, status: Status): StageSpec | undefined =>
  mustSpec(view).stages.find(({ name }) => {
    const state = entryOf(status, name)?.state;
    return state !== "Completed" && state !== "Skipped";
  });

/** The next thing to do with no claim open: the stage that is under way, else the first that has not settled, else the end. */
export function goOn(view: TaskView, status: Status, now: Instant, because: Because = "Claimed"): Decision {
  const stage = nextStage(view, status);
  if (stage === undefined) return complete(status, now);
  const skip = skipOf(view, stage, status);
  if (skip !== undefined) return goOn(view, skipped(status, stage, { by: skip, now }), now);
  const entry = entryOf(status, stage.name);
  if (entry !== undefined) {
    const left = timeLeft(view, status, { stage, entry, now });
    if (left === 0) return late({ ...view, status }, stage, { entry, now });
    if (entry.retryAt !== null && entry.retryAt > now) {
      const reason = entry.outcome === "Unknown" ? "UnknownOutcome" : "BackingOff";
      return rest(view, status, soonest(between(now, entry.retryAt), left), reason);
    }
  }
  return claim(view, status, forwardTarget(view, stage), { phase: "Running", because, now });
}

export const forwardTarget = (view: TaskView, stage: StageSpec): Target => ({
  stage: stage.name,
  direction: "Forward",
  part: null,
  role: effectOf(view, stage),
  takeOver: false,
});

/** There is no arrow from Resuming to Completed: it goes on first. */
function complete(status: Status, now: Instant): Decision {
  const running = status.phase === "Resuming" ? enter(status, "Running", "Resumed", now) : status;
  const ended = { ...enter(running, "Completed", "AllStagesSettled", now), finishedAt: now, failure: null };
  return { do: "write", status: ended, because: "AllStagesSettled" };
}

/** What this process remembers of the open claim; null where it is not its own. */
export const mineOf = ({ mine }: TaskView, { claim: open }: StageEntry): Mine | null =>
  mine !== null && mine.nonce === open?.nonce ? mine : null;

interface Polling {
  readonly mine: Mine;
  readonly now: Instant;
}

/** Our own read or gate goes on under its claim, without writes and without attempts. */
function poll(view: TaskView, entry: StageEntry, { mine, now }: Polling): Decision {
  const { status } = view;
  const { stage } = mustStage(view, entry.name);
  const skip = skipOf(view, stage, status);
  if (skip !== undefined) return goOn(view, skipped(status, stage, { by: skip, now }), now);
  const left = timeLeft(view, status, { stage, entry, now });
  if (left === 0) return late(view, stage, { entry, now });
  if (mine.waitLeft === null || mine.waitLeft > 0)
    return rest(view, status, soonest(mine.waitLeft, left), status.waiting?.reason ?? "Poll");
  const act = pollOf(view, entry, forwardTarget(view, stage), { mine, now });
  // It no longer renders: given up, and claimed again as soon as it does.
  return act === null
    ? goOn(view, withEntry(status, { ...entry, claim: null }), now)
    : { do: "act", status: null, act, because: "Poll" };
}

export const soonest = (a: Millis | null, b: Millis | null): Millis | null =>
  a === null ? b : b === null ? a : millisOf(Math.min(a, b));

interface Timed {
  readonly stage: StageSpec;
  readonly entry: StageEntry;
  readonly now: Instant;
}

/** Until the stage's own timeout; null: gates have none. */
function timeLeft(view: TaskView, status: Status, { stage, entry, now }: Timed): Millis | null {
  if (effectOf(view, stage) === "gate") return null;
  return millisOf(limitsFor(view, status, stage).timeout - ageOf(entry, now));
}

function late(view: TaskView, stage: StageSpec, { entry, now }: Pick<Timed, "entry" | "now">): Decision {
  const timeout = formatDuration(limitsFor(view, view.status, stage).timeout);
  const what = fault("StageTimeout", { stage: stage.name, timeout });
  const act = { stage: stage.name, direction: "Forward" } as const;
  const ended = fail({ view, act, now }, what, { ...entry, claim: null, retryAt: null });
  return { do: "write", status: ended, because: "StageTimeout" };
}

/**
 * A claim of a process that is not this one: its outcome is unknown. Wait until the claimant can no longer act, by this process's own
 * monotonic clock, then claim again and probe (protocol.md, Taking over). Reads and gates just start again.
 */
function takeOver(view: TaskView, entry: StageEntry, now: Instant): Decision {
  const { status } = view;
  const { stage, index } = mustStage(view, entry.name);
  const waited = claimantMayLive(view, entry, stage);
  if (waited !== null) return rest(view, status, waited, "ClaimantMayLive");
  const target: Target = { ...forwardTarget(view, stage), takeOver: true };
  const about = { phase: "Running", because: "TakeOver", now } as const;
  if (isHarmless(view, stage)) {
    const skip = skipOf(view, stage, status);
    return skip === undefined
      ? claim(view, status, target, about)
      : goOn(view, skipped(status, stage, { by: skip, now }), now);
  }
  const doubted = entry.outcome === "Unknown" ? status : withEntry(status, { ...entry, outcome: "Unknown" });
  const { planned } = planStage(basisFor(view, doubted, target, now), index, "Forward");
  if (planned !== null && recoveryOf(planned, "Forward") === "hold") {
    const act = { stage: stage.name, direction: "Forward" } as const;
    const what = fault("OutcomeUnknown", { stage: stage.name });
    const held = fail({ view, act, now }, what, { ...entry, claim: null, outcome: "Unknown" });
    return { do: "write", status: held, because: "UnknownOutcome" };
  }
  return claim(view, doubted, target, about);
}

/** How long the claimant might still send something; null: it cannot, or what it does needs no fence. */
export function claimantMayLive(view: TaskView, { claim: open }: StageEntry, stage: StageSpec): Millis | null {
  if ((open?.until ?? null) === null) return null;
  const limits = limitsFor(view, view.status, stage);
  const unfenced = isUnfenced(view.settings, stage.config);
  if (view.claimantGone && !unfenced) return null;
  const alive = limits.attemptTimeout + CLAIM_GRACE + (unfenced ? limits.instanceTimeout : 0);
  const left = alive - view.claimSeenFor;
  return left > 0 ? millisOf(left) : null;
}

/**
 * Who skips the stage that is next, and why. undefined: nobody does, it neither failed nor waits, or it may not be skipped: approvals
 * never, nothing whose outcome nobody knows, nothing while no policy vouches for the name (api.md, Commands).
 */
function skipOf(view: TaskView, { name, kind }: StageSpec, status: Status): Control["skip"][string] | undefined {
  const { control, policiesMissing } = view;
  const entry = entryOf(status, name);
  const answered = status.commands.skip;
  const refused =
    answered?.value === valueOf("skip", control) &&
    (answered.result === "Rejected" || answered.result === "Superseded");
  const waits = status.phase === "Failed" || (status.waiting !== null && status.phase !== "Pending");
  const isDue = entry !== undefined || waits;
  const may = isDue && kind !== "approval" && entry?.outcome !== "Unknown" && !refused && !policiesMissing;
  return may ? own(control.skip, name) : undefined;
}

/** The stage is next, waits or failed, and is told to be skipped: only a stronger command stands against it. */
export function maySkip(view: TaskView, stage: string): boolean {
  const { phase, direction } = view.status;
  const next = nextStage(view, view.status);
  const waits = phase === "Running" || phase === "Resuming" || phase === "Failed";
  return waits && direction === "Forward" && next?.name === stage && skipOf(view, next, view.status) !== undefined;
}

interface Skipping {
  readonly by: Control["skip"][string];
  readonly now: Instant;
}

function skipped(status: Status, { name }: StageSpec, { by, now }: Skipping): Status {
  const entry = entryOf(status, name) ?? newEntry(name);
  return withEntry(stopWaiting(status, now), {
    ...entry,
    state: "Skipped",
    claim: null,
    retryAt: null,
    finishedAt: now,
    skipped: by,
  });
}
