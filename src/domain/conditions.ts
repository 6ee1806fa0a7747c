import type { Instant } from "../lib/time.ts";
import { isTerminal, type Phase } from "./phase.ts";
import { never } from "../lib/never.ts";
import type { Condition, StageEntry, Status } from "./stored.ts";

export const STAGE_CONDITION = "stage.turnout.dev/";

/** Longest messages: of the task's own conditions, and of a stage's (api.md, Status). */
const MESSAGE = 512;
const STAGE_MESSAGE = 128;

type Draft = Omit<Condition, "lastTransitionTime">;

/**
 * The public copy of the journal, made anew for every write from `status` alone; `lastTransitionTime` stays where the condition's status
 * stays. Only `Validated` is carried over: what it says was found before the first write and never changes. Nothing reads them back.
 */
export function conditionsOf(status: Status, now: Instant): readonly Condition[] {
  const prior = new Map(status.conditions.map((condition) => [condition.type, condition]));
  const drafts: readonly Draft[] = [
    ready(status),
    reconciling(status),
    stalled(status),
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

const ready = ({ phase }: Status): Draft => condition("Ready", phase === "Completed" ? "True" : "False", phase);

function reconciling(status: Status): Draft {
  const busy = !isTerminal(status.phase) && !isStalled(status);
  const { waiting } = status;
  if (!busy) return condition("Reconciling", "False", status.phase);
  return condition("Reconciling", "True", waiting?.reason ?? status.phase, waiting === null ? "" : waiting.message);
}

const RESTS: readonly Phase[] = ["Failed", "RollbackFailed", "RolledBack", "Cancelled", "ValidationFailed"];

const isDiverged = (status: Status): boolean => status.waiting?.reason === "Diverged";
const isStalled = (status: Status): boolean => isDiverged(status) || RESTS.includes(status.phase);

function stalled(status: Status): Draft {
  if (isDiverged(status))
    return condition("Stalled", "True", "Diverged", `${status.waiting?.message}; ${status.waiting?.unblock}`);
  if (!isStalled(status)) return condition("Stalled", "False", status.phase);
  return condition("Stalled", "True", status.phase, whyStalled(status));
}

function whyStalled(status: Status): string {
  if (status.abandoned !== null) return `abandoned by ${status.abandoned.by}: ${status.abandoned.reason}`;
  const last = status.history.at(-1)?.reason ?? "";
  if (last === "Replay") {
    return 'executed before, and the tenant is elsewhere now; to run it again, delete it and create it with annotation turnout.dev/rerun: "NEW TEXT"';
  }
  const failure = status.failure?.message;
  if (failure === undefined) return last;
  return status.waiting === null ? failure : `${failure}; ${status.waiting.unblock}`;
}

function validated(status: Status, prior: Condition | undefined): Draft {
  if (prior !== undefined && prior.status === "True") return prior;
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
    return condition("Succeeded", "True", phase, history.at(-1)?.reason === "DryRun" ? "dry run" : "");
  return condition("Succeeded", isTerminal(phase) ? "False" : "Unknown", phase);
}

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
