import type { Instant } from "../lib/time.ts";
import { isTerminal, type Phase } from "./phase.ts";
import { never } from "../lib/never.ts";
import { retryCommand, type WaitingReason } from "./reasons.ts";
import type { Condition, StageEntry, Status, Waiting } from "./stored.ts";

export const STAGE_CONDITION = "stage.turnout.dev/";

/** Longest messages: of the task's own conditions, and of a stage's (api.md, Status). */
const MESSAGE = 512;
const STAGE_MESSAGE = 128;

type Draft = Omit<Condition, "lastTransitionTime">;

/** Whose conditions they are, for the commands that their messages name. */
export interface Named {
  readonly namespace: string;
  readonly name: string;
}
const UNNAMED: Named = { namespace: "NAMESPACE", name: "NAME" };

/**
 * The public copy of the journal, made anew for every write from `status` alone; `lastTransitionTime` stays where the condition's status
 * stays. Only `Validated` is carried over: what it says was found before the first write and never changes. Nothing reads them back.
 */
export function conditionsOf(status: Status, now: Instant, named: Named = UNNAMED): readonly Condition[] {
  const prior = new Map(status.conditions.map((condition) => [condition.type, condition]));
  const why = whyNotReady(status, named);
  const drafts: readonly Draft[] = [
    condition("Ready", status.phase === "Completed" ? "True" : "False", status.phase, why),
    reconciling(status),
    condition("Stalled", isStalled(status) ? "True" : "False", stallOf(status), isStalled(status) ? why : ""),
    validated(status, prior.get("Validated")),
    succeeded(status),
    paused(status),
    ...status.stages.map(ofStage),
  ];
  return drafts.map((draft) => {
    const before = prior.get(draft.type);
    return { ...draft, lastTransitionTime: before?.status === draft.status ? before.lastTransitionTime : now };
  });
}

const condition = (type: string, status: Condition["status"], reason: string, message = ""): Draft => ({
  type,
  status,
  reason,
  message: message.slice(0, type.startsWith(STAGE_CONDITION) ? STAGE_MESSAGE : MESSAGE),
});

function reconciling(status: Status): Draft {
  const busy = !isTerminal(status.phase) && !isStalled(status);
  const { waiting } = status;
  if (!busy) return condition("Reconciling", "False", status.phase);
  return condition("Reconciling", "True", waiting?.reason ?? status.phase, waiting === null ? "" : waiting.message);
}

const RESTS: readonly Phase[] = ["Failed", "RollbackFailed", "RolledBack", "Cancelled", "ValidationFailed"];

const STOPS: readonly WaitingReason[] = ["Diverged", "PermissionMissing"];

/** What a person has to release or to grant before anything moves; null where nothing stands in the way. */
const stopOf = ({ waiting }: Status): Waiting | null =>
  waiting !== null && STOPS.includes(waiting.reason) ? waiting : null;
const isStalled = (status: Status): boolean => stopOf(status) !== null || RESTS.includes(status.phase);

const stallOf = (status: Status): string => stopOf(status)?.reason ?? status.phase;

/** In one sentence, with the way out where the task does not go on by itself; empty where there is nothing to say. */
function whyNotReady(status: Status, named: Named): string {
  const stop = stopOf(status);
  if (stop !== null) return withWayOut(stop.message, stop.unblock);
  return isStalled(status) ? whyStalled(status, named) : (status.waiting?.message ?? "");
}

function whyStalled(status: Status, named: Named): string {
  if (status.abandoned !== null) return whyAbandoned(status.abandoned, status);
  const last = status.history.at(-1)?.reason ?? "";
  if (last === "Replay") {
    return 'executed before, and the tenant is elsewhere now; to run it again, delete it and create it with annotation turnout.dev/rerun: "NEW TEXT"';
  }
  const failure = status.failure?.message;
  if (failure === undefined) return ENDED.get(last) ?? last;
  const then = wayOut(status, named);
  return then === null ? failure : withWayOut(failure, then);
}

/** The command is never the part that is cut. */
const withWayOut = (why: string, then: string): string => `${why.slice(0, MESSAGE - then.length - 2)}; ${then}`;

/** Ends that nobody is to blame for, in words. */
const ENDED: ReadonlyMap<string, string> = new Map([
  ["AllUndone", "undone: the tenant is where it was before"],
  ["NothingClaimed", "stopped before anything was switched"],
  ["CancelAsked", "cancelled before anything was switched"],
  ["DeletionAsked", "deleted before anything was switched"],
]);

function whyAbandoned({ by, reason }: NonNullable<Status["abandoned"]>, { epoch }: Status): string {
  const then = epoch === 0 ? "" : "; nobody knows where the tenant is: the next task must state spec.previous";
  return `abandoned by ${by}: ${reason}${then}`;
}

/** What a person types once the cause is gone; null where the task is over. */
function wayOut({ phase, waiting, retried }: Status, { namespace, name }: Named): string | null {
  if (waiting !== null) return waiting.unblock;
  const retry = String(retried + 1);
  switch (phase) {
    case "Failed":
      return `${retryCommand({ namespace, name, retry })} (or {"rollback":true})`;
    case "RollbackFailed":
      return retryCommand({ namespace, name, retry });
    default:
      return null;
  }
}

function validated(status: Status, prior: Condition | undefined): Draft {
  if (prior?.status === "True" && status.phase !== "ValidationFailed") return prior;
  if (status.phase === "Created" || status.phase === "Validating")
    return condition("Validated", "Unknown", status.phase);
  const errors = status.issues.filter(({ severity }) => severity === "error");
  if (errors.length > 0) return condition("Validated", "False", "SpecInvalid", summary(errors));
  if (status.phase === "ValidationFailed")
    return condition("Validated", "False", "SpecInvalid", status.failure?.message);
  return condition("Validated", "True", "SpecValid", summary(status.issues));
}

const summary = (issues: Status["issues"]): string =>
  issues
    .map(({ severity, path, value, message }) => `${severity} ${path}${value === "" ? "" : `=${value}`}: ${message}`)
    .join("; ");

function succeeded({ phase, history }: Status): Draft {
  if (phase === "Completed")
    return condition("Succeeded", "True", phase, NOTHING_DONE.get(history.at(-1)?.reason ?? ""));
  return condition("Succeeded", isTerminal(phase) ? "False" : "Unknown", phase);
}

/** Completed and nothing was touched. */
const NOTHING_DONE: ReadonlyMap<string, string> = new Map([
  ["DryRun", "dry run"],
  ["AlreadyExecuted", "executed before, and the tenant is still there: nothing was done"],
]);

const paused = (status: Status): Draft => {
  const { phase, waiting } = status;
  return phase === "Paused"
    ? condition("Paused", "True", phase, waiting?.unblock)
    : condition("Paused", "False", phase);
};

function ofStage(entry: StageEntry): Draft {
  const type = `${STAGE_CONDITION}${entry.name}`;
  switch (entry.state) {
    case "Completed":
      return condition(type, "True", entry.state);
    case "Skipped":
      return condition(type, "True", entry.state, `${entry.skipped?.by ?? ""}: ${entry.skipped?.reason ?? ""}`);
    case "Pending":
    case "Running":
    case "Failed":
    case "RollingBack":
    case "RolledBack":
      return condition(type, "False", entry.state, said(entry));
    default:
      return never(entry.state);
  }
}

function said(entry: StageEntry): string {
  const doubt = entry.outcome === "Unknown" ? "outcome unknown" : "";
  const codes = [...new Set(entry.failures.map(({ code }) => code))].join(", ");
  return [entry.attempts > 1 ? `attempt ${entry.attempts}` : "", doubt, codes].filter((part) => part !== "").join("; ");
}
