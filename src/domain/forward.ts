import { valueOf } from "./command-values.ts";
import { fault } from "../lib/failures.ts";
import { between, formatDuration, type Instant, millisOf, type Millis, plus } from "../lib/time.ts";
import { basisOf, claim, endpointName, mustSpec, pollOf, recoveryOf, rest, type Target } from "./claims.ts";
import { limitsOf, type Limits, planStage } from "./plan.ts";
import { attemptsUsed, fail } from "./settle.ts";
import { ageOf, enter, entryOf, excuse, openEntry, withEntry } from "./status.ts";
import { CLAIM_GRACE, type Control, type StageEntry, type StageSpec, type Status } from "./stored.ts";
import type { Act, Decision, TaskView } from "./task.ts";

/** Running: settle what is open, then claim the next stage, then be done. */
export function running(view: TaskView, now: Instant): Decision {
  const open = openEntry(view.status);
  if (open !== undefined) return isMine(view, open) ? poll(view, open, now) : takeOver(view, open, now);
  return goOn(view, view.status, now);
}

/** Resuming: a read or gate that the pause cut short is claimed again; settled stages stay (R70). */
export function resuming(view: TaskView, now: Instant): Decision {
  const { status } = view;
  if (status.startedAt === null)
    return { do: "write", status: enter(status, "Pending", "Resumed", now), because: "Resumed" };
  const open = openEntry(status);
  if (open !== undefined) return takeOver(view, open, now);
  return goOn(view, status, now);
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
  if (asked !== null) return retried(view, asked, now);
  const stage = status.failure?.stage ?? null;
  const skip = stage === null ? undefined : skipAsked(view, stage);
  const entry = stage === null ? undefined : entryOf(status, stage);
  if (skip !== undefined && entry !== undefined && maySkip(view, entry)) {
    const awake = enter(leaveFailed(status, now), "Running", "SkipAsked", now);
    return goOn(view, { ...skipped(awake, entry, skip, now), failure: null }, now);
  }
  return rest(view, status, null, "StageFailed");
}

function retried(view: TaskView, nonce: number, now: Instant): Decision {
  const awake = leaveFailed({ ...view.status, retried: nonce }, now);
  const renewed = renewDeadline(view, awake, now);
  const entry = renewed.stages.find(({ state }) => state === "Failed");
  if (entry === undefined) return goOn(view, { ...enter(renewed, "Running", "RetryAsked", now), failure: null }, now);
  // A person grants a new set of attempts and a new stage timeout.
  const granted: StageEntry = { ...entry, state: "Running", attemptsBefore: entry.attempts, since: now, retryAt: null };
  const status = withEntry({ ...enter(renewed, "Running", "RetryAsked", now), failure: null }, granted);
  if (view.control.paused === true) return { do: "write", status, because: "RetryAsked" };
  return goOn(view, status, now, { accepted: true });
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

/** The next thing to do with no claim open: the stage that is under way, else the first that has not settled, else the end. */
function goOn(
  view: TaskView,
  status: Status,
  now: Instant,
  about: { readonly accepted: boolean } = { accepted: false },
): Decision {
  const spec = mustSpec(view);
  const index = spec.stages.findIndex(({ name }) => !isSettled(entryOf(status, name)));
  const stage = spec.stages[index];
  if (stage === undefined) return complete(status, now);
  const entry = entryOf(status, stage.name);
  const skip = skipAsked(view, stage.name);
  if (skip !== undefined && entry !== undefined && entry.attempts > 0 && maySkip(view, entry)) {
    return goOn(view, skipped(status, entry, skip, now), now);
  }
  if (entry !== undefined && entry.retryAt !== null && entry.retryAt > now) {
    const reason = entry.outcome === "Unknown" ? "UnknownOutcome" : "BackingOff";
    return rest(view, status, between(now, entry.retryAt), reason);
  }
  const limits = limitsOf(stage, spec, status.plan?.effective ?? view.settings.defaults);
  if (entry !== undefined && isLate(view, entry, stage, { limits, now }))
    return late(view, asRunning(status, now), entry, { limits, now });
  const target = forwardTarget(
    view,
    index,
    probeBefore(view, status, { index, entry, limits, now, accepted: about.accepted }),
  );
  return claim(view, started(view, status, now), target, { phase: "Running", because: "Claimed", now });
}

interface Doubt extends Timed {
  readonly index: number;
  readonly entry: StageEntry | undefined;
  /** A person asked for another attempt although nobody knows what became of the last one. */
  readonly accepted: boolean;
}

/** After an outcome that nobody knows: ask first where the kind can; with the attempts used up, ask only. */
function probeBefore(view: TaskView, status: Status, { index, entry, limits, now, accepted }: Doubt): Act["probe"] {
  if (entry?.outcome !== "Unknown") return "no";
  if (recoveryFor(view, status, index, now) !== "probe") return "no";
  return attemptsUsed(entry) >= limits.retry.maxAttempts && !accepted ? "only" : "first";
}

function recoveryFor(view: TaskView, status: Status, index: number, now: Instant): Act["recover"] {
  const { planned } = planStage(
    basisOf(view, status, { index, direction: "Forward", part: null }, now),
    index,
    "Forward",
  );
  return planned === null ? "probe" : recoveryOf(planned, forwardTarget(view, index, "no"));
}

const isSettled = (entry: StageEntry | undefined): boolean =>
  entry?.state === "Completed" || entry?.state === "Skipped";

const asRunning = (status: Status, now: Instant): Status =>
  status.phase === "Resuming" ? enter(status, "Running", "Resumed", now) : status;

/** The first claim starts the clock of the whole task. */
function started(view: TaskView, status: Status, now: Instant): Status {
  if (status.startedAt !== null) return status;
  const { progressDeadline } = mustSpec(view);
  const deadline = progressDeadline === null ? null : plus(now, progressDeadline);
  return { ...status, startedAt: now, deadline };
}

export function forwardTarget(view: TaskView, index: number, probe: Act["probe"]): Target {
  const stage = mustSpec(view).stages[index];
  const planner = stage === undefined ? undefined : view.kinds[stage.kind];
  const role = stage === undefined || planner === undefined ? "write" : planner.effect(stage.config);
  return { index, direction: "Forward", part: null, role, probe, takeOver: false };
}

function complete(status: Status, now: Instant): Decision {
  const running = asRunning(status, now);
  const ended = { ...enter(running, "Completed", "AllStagesSettled", now), finishedAt: now, failure: null };
  return { do: "write", status: ended, because: "AllStagesSettled" };
}

export const isMine = (view: TaskView, entry: StageEntry): boolean =>
  view.mine !== null && view.mine.nonce === entry.claim?.nonce;

/** Our own read or gate goes on under its claim, without writes and without attempts. */
function poll(view: TaskView, entry: StageEntry, now: Instant): Decision {
  const spec = mustSpec(view);
  const index = spec.stages.findIndex(({ name }) => name === entry.name);
  const stage = spec.stages[index];
  const { mine, status } = view;
  if (stage === undefined || mine === null) throw new Error(`poll of ${entry.name} without its claim`);
  const skip = skipAsked(view, stage.name);
  if (skip !== undefined && maySkip(view, entry)) return goOn(view, skipped(status, entry, skip, now), now);
  const limits = limitsOf(stage, spec, status.plan?.effective ?? view.settings.defaults);
  const target = forwardTarget(view, index, "no");
  if (isLate(view, entry, stage, { limits, now }))
    return late(view, status, { ...entry, claim: null }, { limits, now });
  if (mine.waitLeft === null || mine.waitLeft > 0) {
    return rest(
      view,
      status,
      soonest(mine.waitLeft, timeLeft(target, entry, { limits, now })),
      status.waiting?.reason ?? "Poll",
    );
  }
  const act = pollOf(view, entry, target, { mine, now });
  return act === null
    ? rest(view, status, null, "EndpointUnavailable")
    : { do: "act", status: null, act, because: "Poll" };
}

const soonest = (a: Millis | null, b: Millis | null): Millis | null =>
  a === null ? b : b === null ? a : millisOf(Math.min(a, b));

const timeLeft = (target: Target, entry: StageEntry, { limits, now }: Timed): Millis | null =>
  target.role === "gate" ? null : millisOf(limits.timeout - ageOf(entry, now));

interface Timed {
  readonly limits: Limits;
  readonly now: Instant;
}

/** Gates have no stage timeout; everything else ends with its own. */
function isLate(view: TaskView, entry: StageEntry, stage: StageSpec, { limits, now }: Timed): boolean {
  const gate = view.kinds[stage.kind]?.effect(stage.config) === "gate";
  return !gate && entry.startedAt !== null && entry.state === "Running" && ageOf(entry, now) >= limits.timeout;
}

function late(view: TaskView, status: Status, entry: StageEntry, { limits, now }: Timed): Decision {
  const what = fault("StageTimeout", { stage: entry.name, timeout: formatDuration(limits.timeout) });
  const act = { stage: entry.name, direction: "Forward" } as const;
  const ended = fail({ view: { ...view, status }, act, now }, what, { ...entry, claim: null, retryAt: null });
  return { do: "write", status: ended, because: "StageTimeout" };
}

/**
 * A claim of a process that is not this one: its outcome is unknown. Wait until the claimant can no longer act, by this process's own
 * monotonic clock, then claim again and probe (protocol.md, Taking over). Reads and gates just start again.
 */
function takeOver(view: TaskView, entry: StageEntry, now: Instant): Decision {
  const spec = mustSpec(view);
  const index = spec.stages.findIndex(({ name }) => name === entry.name);
  const stage = spec.stages[index];
  if (stage === undefined || entry.claim === null) throw new Error(`take-over of ${entry.name} without a claim`);
  const waited = claimantMayLive(view, entry, stage);
  if (waited !== null) return rest(view, view.status, waited, "ClaimantMayLive");
  const forward = forwardTarget(view, index, "no");
  const timed = forward.role === "write" || forward.role === "announce";
  if (!timed)
    return claim(view, view.status, { ...forward, takeOver: true }, { phase: "Running", because: "TakeOver", now });
  const unknown: StageEntry = { ...entry, outcome: "Unknown" };
  const { planned } = planStage(
    basisOf(view, view.status, { index, direction: "Forward", part: null }, now),
    index,
    "Forward",
  );
  const recover = planned === null ? "probe" : recoveryOf(planned, forward);
  if (recover === "hold") {
    const what = fault("OutcomeUnknown", { stage: entry.name });
    const act = { stage: entry.name, direction: "Forward" } as const;
    const held = fail({ view: { ...view, status: asRunning(view.status, now) }, act, now }, what, {
      ...unknown,
      claim: null,
    });
    return { do: "write", status: held, because: "UnknownOutcome" };
  }
  const target: Target = { ...forward, probe: recover === "probe" ? "first" : "no", takeOver: true };
  return claim(view, withEntry(view.status, unknown), target, { phase: "Running", because: "TakeOver", now });
}

/** How long the claimant might still send something; null: it cannot. */
export function claimantMayLive(view: TaskView, entry: StageEntry, stage: StageSpec): Millis | null {
  const effective = view.status.plan?.effective ?? view.settings.defaults;
  const limits = limitsOf(stage, mustSpec(view), effective);
  const endpoint = endpointName(stage.config);
  const unfenced = endpoint !== null && view.settings.endpoints[endpoint]?.fencing === "None";
  if (view.claimantGone && !unfenced) return null;
  if (entry.claim?.until === null && !unfenced) return null;
  const alive = limits.attemptTimeout + CLAIM_GRACE + (unfenced ? limits.instanceTimeout : 0);
  const left = alive - view.claimSeenFor;
  return left > 0 ? millisOf(left) : null;
}

/** Who skips the stage and why; undefined where nobody does, where it was refused before, or where nothing vouches for the name. */
function skipAsked({ control, status, policiesMissing }: TaskView, stage: string): Control["skip"][string] | undefined {
  const answered = status.commands.skip;
  const refused = answered?.result === "Rejected" && answered.value === valueOf("skip", control);
  return refused || policiesMissing ? undefined : control.skip[stage];
}

/** Approvals are never skipped, and nothing whose outcome nobody knows (api.md, Commands). */
export function maySkip(view: TaskView, entry: StageEntry): boolean {
  const stage = mustSpec(view).stages.find(({ name }) => name === entry.name);
  return stage?.kind !== "approval" && entry.outcome !== "Unknown";
}

function skipped(
  status: Status,
  entry: StageEntry,
  by: { readonly by: string; readonly reason: string },
  now: Instant,
): Status {
  const done: StageEntry = {
    ...entry,
    state: "Skipped",
    claim: null,
    retryAt: null,
    finishedAt: now,
    skipped: by,
  };
  return withEntry(status, done);
}
