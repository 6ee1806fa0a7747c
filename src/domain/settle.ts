import { backoffAfter } from "../lib/backoff.ts";
import { FAILURES, fault, type Fault } from "../lib/failures.ts";
import { type Instant, millisOf, plus } from "../lib/time.ts";
import { deepEqual } from "../lib/deep-equal.ts";
import { never } from "../lib/never.ts";
import { mustStage } from "./basis.ts";
import { limitsFor, presetOf, quietAfter } from "./claims.ts";
import { valueOf } from "./command-values.ts";
import type { Limits } from "./plan.ts";
import type { WaitingReason } from "./reasons.ts";
import { attemptsUsed, enter, entryOf, stopWaiting, waitFor, withEntry, withFailure } from "./status.ts";
import { fittingDrift, fittingOutputs, REASON } from "./sizes.ts";
import { type Drift, type Outputs, type StageEntry, type Status } from "./stored.ts";
import type { Act, ApprovalAnswer, Found, Outcome, Reach, TaskView } from "./task.ts";
import { undoLeft, undoPlanOf } from "./undo.ts";

/**
 * Folds what became of `act` into the status; nothing is stored here. Before: `act` was claimed by this process and its claim is the
 * open one of `view.status`. After: that claim is gone unless the outcome is `waiting`, and an ambiguous outcome stands as
 * `outcome: Unknown`, never as done or failed (S26). A claim that is no longer open leaves the status as it is: somebody else settled.
 */
export function settle(view: TaskView, act: Act, outcome: Outcome | Found, now: Instant): Status {
  const entry = entryOf(view.status, act.stage);
  if (entry?.claim?.nonce !== act.nonce) return view.status;
  const { stage } = mustStage(view, act.stage);
  const answered = "answer" in outcome ? withAnswer(view, outcome.answer, now) : view.status;
  const from: Settling = {
    view: { ...view, status: answered },
    act,
    entry,
    limits: limitsFor(view, answered, stage),
    now,
  };
  switch (outcome.is) {
    case "done":
      return done(from, outcome.outputs, outcome.drift ?? entry.drift);
    case "in-force":
      return done(from, outcome.outputs, entry.drift);
    case "waiting":
      return waitFor(
        view,
        withoutForged(from, outcome.reason),
        { reason: outcome.reason, message: outcome.message, stage: act.stage },
        now,
      );
    case "retryable":
      return tryAgain(from, outcome.fault, outcome.after, reached(from, outcome, doubtAfter(from, outcome.fault)));
    case "not-in-force":
      // Only a probe without the right to act ends here: the attempts are used up, and it is known that nothing happened.
      return fail(from, fault("ActInterrupted", { stage: act.stage }), reached(from, {}, null));
    case "unknown":
      return notKnown(from, outcome.fault, {
        ...reached(from, outcome, "Unknown"),
        quietUntil: quietAfter(from.view, entry, now),
      });
    case "unreadable":
      return waitToProbe(from, outcome.fault, reached(from, {}, "Unknown"));
    case "foreign":
      return fail(from, outcome.fault, reached(from, {}, null));
    case "terminal":
      return fail(from, outcome.fault, reached(from, outcome, doubtAfter(from, outcome.fault)));
    case "fenced":
    case "diverged":
      return diverge(from, outcome.fault);
    default:
      return never(outcome);
  }
}

interface Settling {
  readonly view: TaskView;
  readonly act: Act;
  readonly entry: StageEntry;
  readonly limits: Limits;
  readonly now: Instant;
}

/** Approvals given while no policy vouched for the names never count, also when the policies are back (SEC-14). */
function withoutForged({ view, act, entry }: Settling, reason: WaitingReason): Status {
  if (reason !== "AdmissionPolicyMissing") return view.status;
  const preset = { ...entry.preset, ...presetOf(view, act.stage) };
  return deepEqual(preset, entry.preset) ? view.status : withEntry(view.status, { ...entry, preset });
}

/** What the gate said of the approvals it weighed; the same status where that was said before. */
function withAnswer(view: TaskView, answer: ApprovalAnswer | undefined, now: Instant): Status {
  const value = valueOf("approvals", view.control);
  if (answer === undefined || value === null) return view.status;
  const told = view.status.commands.approvals;
  const reason = answer.reason?.slice(0, REASON) ?? null;
  if (told?.value === value && told.result === answer.result && told.reason === reason) return view.status;
  return { ...view.status, commands: { ...view.status.commands, approvals: { value, ...answer, reason, at: now } } };
}

/**
 * A definite end of this attempt says nothing of an earlier one that nobody knows about, unless receivers were asked before it was made
 * (S26).
 */
function doubtAfter({ act, entry }: Settling, { code }: Fault): StageEntry["outcome"] {
  return act.probe === "no" || code === "ClaimExpired" ? entry.outcome : null;
}

/** The entry with its claim gone, with who acknowledged, and with what others changed. */
function reached(
  { view, act, entry }: Settling,
  { reach, drift }: { readonly reach?: Reach; readonly drift?: Drift },
  outcome: StageEntry["outcome"],
): StageEntry {
  const { status } = view;
  const index = (address: string): number => status.instances.indexOf(address);
  const acked = [...new Set([...entry.acked, ...(reach?.acked ?? []).map(index)])].filter((i) => i >= 0);
  const failures = (reach?.failures ?? [])
    .map(({ address, code }) => ({ i: index(address), code }))
    .filter(({ i }) => i >= 0);
  const changed = drift === undefined ? entry.drift : fittingDrift(drift, status, act.stage);
  return { ...entry, claim: null, ran: act.ran, acked, failures, outcome, drift: changed };
}

function done({ view, act, entry, now }: Settling, outputs: Outputs, drift: Drift | null): Status {
  const settled: StageEntry = {
    ...entry,
    claim: null,
    outcome: null,
    acked: [],
    failures: [],
    retryAt: null,
    quietUntil: entry.quietUntil !== null && entry.quietUntil > now ? entry.quietUntil : null,
    finishedAt: now,
    ran: act.ran,
    drift: drift === null ? null : fittingDrift(drift, view.status, act.stage),
  };
  const status = stopWaiting(view.status, now);
  if (act.part === null) {
    return withEntry(status, { ...settled, state: "Completed", outputs: fittingOutputs(outputs, status, act.stage) });
  }
  const undone = [...entry.undone, act.part];
  const partly = withEntry(status, { ...settled, state: "RollingBack", undone });
  const left = undoLeft(undoPlanOf(view, partly), partly.stages).some((step) => step.stage === act.stage);
  return left ? partly : withEntry(partly, { ...settled, state: "RolledBack", undone });
}

function tryAgain(about: Settling, what: Fault, after: number | null, entry: StageEntry): Status {
  if (attemptsUsed(entry) >= about.limits.retry.maxAttempts) return fail(about, what, entry);
  return backOff(about, entry, { what, after, reason: "BackingOff" });
}

/** Nobody knows: ask before anything else. A kind that can neither ask nor be repeated holds for a person. */
function notKnown(about: Settling, what: Fault, entry: StageEntry): Status {
  const { act, limits } = about;
  if (act.recover === "hold") return fail(about, fault("OutcomeUnknown", { stage: act.stage }), entry);
  const spent = attemptsUsed(entry) >= limits.retry.maxAttempts;
  if (spent && act.recover === "repeat") return fail(about, what, entry);
  return backOff(about, entry, { what, after: null, reason: "UnknownOutcome" });
}

/** What is in force cannot be read: stays Unknown until it can, or until the stage's time is over. */
const waitToProbe = (about: Settling, what: Fault, entry: StageEntry): Status =>
  backOff(about, entry, { what, after: null, reason: "UnknownOutcome" });

interface BackingOff {
  readonly what: Fault;
  readonly after: number | null;
  readonly reason: "BackingOff" | "UnknownOutcome";
}

function backOff({ view, act, limits, now }: Settling, entry: StageEntry, { what, after, reason }: BackingOff): Status {
  const failures = Math.max(1, attemptsUsed(entry));
  const asked = Math.min(after ?? 0, limits.timeout);
  const pause = Math.max(asked, backoffAfter(failures, limits.retry.backoff, view.self.jitter));
  const retryAt = plus(now, millisOf(pause));
  const status = withEntry(view.status, { ...entry, retryAt });
  const message = `stage ${act.stage}: ${what.message}`;
  return waitFor(view, status, { reason, message, stage: act.stage, until: retryAt }, now);
}

interface Failing extends Pick<Settling, "view" | "now"> {
  readonly act: Pick<Act, "stage" | "direction">;
}

/** The stage rests; forward the task is Failed, in the undo RollbackFailed. An unknown outcome stays unknown. */
export function fail({ view, act, now }: Failing, what: Fault, entry: StageEntry): Status {
  const failed = withFailure(view.status, what, act.stage, now);
  if (act.direction === "Back") {
    const held = withEntry(failed, { ...entry, state: "RollingBack", finishedAt: null });
    return holdConflict(view, enter(held, "RollbackFailed", "UndoFailed", now), what, { stage: act.stage, now });
  }
  const rested: StageEntry = { ...entry, state: "Failed", finishedAt: now };
  // Another process turned the task back or paused it while the act was under way: undone next, or Failed all the same.
  if (view.status.direction === "Back") return withEntry(view.status, rested);
  const held = withEntry(failed, rested);
  const awake = held.phase === "Paused" ? enter(held, "Resuming", "StageFailed", now) : held;
  return holdConflict(view, enter(awake, "Failed", "StageFailed", now), what, { stage: act.stage, now });
}

/** What only a person can clear is also said as what is waited for. */
function holdConflict(
  view: TaskView,
  status: Status,
  what: Fault,
  { stage, now }: { readonly stage: string; readonly now: Instant },
): Status {
  if (FAILURES[what.code].type === "Conflict")
    return waitFor(view, status, { reason: "Conflict", message: what.message, stage }, now);
  if (what.code === "OutcomeUnknown")
    return waitFor(view, status, { reason: "UnknownOutcome", message: what.message, stage }, now);
  return status;
}

/** A history that the API server does not know: stop, no effects, until a person releases the tenant (S30). */
function diverge({ view, act, entry, now }: Settling, what: Fault): Status {
  const held = withEntry(withFailure(view.status, what, act.stage, now), { ...entry, claim: null, outcome: "Unknown" });
  const message = what.code === "Fenced" ? `${what.message}, which this cluster's history does not know` : what.message;
  return waitFor(view, held, { reason: "Diverged", message, stage: act.stage }, now);
}
