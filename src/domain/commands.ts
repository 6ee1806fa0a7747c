import type { Instant } from "../lib/time.ts";
import { approvalDigest } from "./claims.ts";
import { valueOf } from "./command-values.ts";
import { maySkip } from "./forward.ts";
import { canRetry, isTerminal } from "./phase.ts";
import { REASON } from "./sizes.ts";
import { entryOf } from "./status.ts";
import type { Answer, CommandField, Control, Status } from "./stored.ts";
import type { TaskView } from "./task.ts";

export const COMMANDS: readonly CommandField[] = ["paused", "rollback", "cancel", "retry", "approvals", "skip"];

type Verdict = Pick<Answer, "result" | "reason">;
const done = (reason: string | null = null): Verdict => ({ result: "Done", reason });
const accepted = (reason: string | null = null): Verdict => ({ result: "Accepted", reason });
const rejected = (reason: string): Verdict => ({ result: "Rejected", reason });
const superseded = (reason: string): Verdict => ({ result: "Superseded", reason });

/**
 * Answers every command that is new or whose answer has changed; the same status object where there is nothing to say.
 * `status` is what the decision is about to store, so that effect and answer stand in one write.
 */
export function answer(view: TaskView, status: Status, now: Instant): Status {
  let commands = status.commands;
  for (const field of COMMANDS) {
    const value = valueOf(field, view.control);
    if (value === null) continue;
    const before = commands[field];
    const settled = before?.value === value && before.result !== "Accepted";
    if (settled) continue;
    const { result, reason } = VERDICTS[field](view, status, value);
    const verdict = { result, reason: reason?.slice(0, REASON) ?? null };
    if (before?.value === value && before.result === verdict.result && before.reason === verdict.reason) continue;
    commands = { ...commands, [field]: { value, ...verdict, at: now } };
  }
  return commands === status.commands ? status : { ...status, commands };
}

const VERDICTS: Readonly<Record<CommandField, (view: TaskView, status: Status, value: string) => Verdict>> = {
  paused: (view, status) => (view.control.paused === true ? pausing(view, status) : done()),
  rollback: (view, status) => goingBack(view, status, "rollback"),
  cancel: (view, status) => goingBack(view, status, "cancel"),
  retry: retrying,
  approvals: approving,
  skip: skipping,
};

/** Diverged stays until a person releases the tenant (guards). */
const isStopped = (status: Status): boolean => status.waiting?.reason === "Diverged" && status.epoch > 0;
const soon = (status: Status): Verdict =>
  accepted(isStopped(status) ? "Diverged: takes effect when the tenant is released" : null);

/** The task still went forward when this was decided: a command that is not taken now lost to a stronger one in the same moment. */
const wasForward = ({ status }: TaskView): boolean => status.direction === "Forward" && !isTerminal(status.phase);
const OVERTAKEN = "a stronger command came first";

function pausing(view: TaskView, status: Status): Verdict {
  if (status.phase === "Paused") return done();
  if (status.direction === "Forward" && !isTerminal(status.phase)) return soon(status);
  const inTime = wasForward(view) || status.commands.paused?.result === "Accepted";
  if (inTime && !isRefusal(status)) return superseded(OVERTAKEN);
  return rejected(status.direction === "Back" ? "a rollback is not paused" : `the task is ${status.phase}`);
}

/** The task ended by itself, not by a command. */
const isRefusal = ({ phase }: Status): boolean => phase === "ValidationFailed" || phase === "Completed";

function goingBack(view: TaskView, status: Status, verb: "rollback" | "cancel"): Verdict {
  const mine = verb === "cancel" ? status.turnedBackBy === "Cancel" : status.turnedBackBy !== null;
  switch (status.phase) {
    case "RolledBack":
      return verb === "rollback" ? done() : superseded("the task was rolled back");
    case "Cancelled":
      return verb === "cancel" || mine ? done() : superseded("the task was cancelled");
    case "RollingBack":
    case "RollbackFailed":
      if (verb === "rollback" || mine) return accepted();
      return wasForward(view) ? superseded(OVERTAKEN) : rejected("the task is being rolled back");
    case "ValidationFailed":
      return rejected(verb === "cancel" ? "the task is ValidationFailed" : "nothing was switched");
    case "Completed":
      return verb === "cancel" ? rejected("the task is Completed; use rollback") : accepted();
    default:
      return soon(status);
  }
}

function retrying(view: TaskView, status: Status, value: string): Verdict {
  if (Number(value) <= status.retried) return done();
  if (canRetry(status.phase)) return soon(status);
  return canRetry(view.status.phase)
    ? superseded(OVERTAKEN)
    : rejected(`the task is ${status.phase}, not Failed or RollbackFailed`);
}

/**
 * Entries for a stage that does not wait are refused; those for the one that waits are weighed when it is polled, and what was said of
 * them then stays said.
 */
function approving(view: TaskView, status: Status, value: string): Verdict {
  const verdicts = Object.entries(view.control.approvals).map(([stage, users]) =>
    approvalsOf(view, status, { stage, users }),
  );
  const told = status.commands.approvals;
  const worst =
    verdicts.find(({ result }) => result === "Rejected") ??
    verdicts.find(({ result }) => result === "Superseded") ??
    verdicts.find(({ result }) => result === "Accepted") ??
    done();
  return worst.result === "Accepted" && told?.value === value ? { result: "Accepted", reason: told.reason } : worst;
}

interface Given {
  readonly stage: string;
  readonly users: Control["approvals"][string];
}

function approvalsOf(view: TaskView, status: Status, { stage, users }: Given): Verdict {
  const kind = view.spec?.stages.find(({ name }) => name === stage)?.kind;
  const entry = entryOf(status, stage);
  if (kind !== "approval") return rejected(`stage ${stage} is not an approval`);
  if (entry !== undefined && (entry.outputs !== null || entry.state === "Failed")) return done();
  if (entry?.state !== "Running" || status.direction === "Back" || isTerminal(status.phase)) {
    const waited = wasForward(view) && entryOf(view.status, stage)?.state === "Running";
    return waited ? superseded(OVERTAKEN) : rejected(`stage ${stage} does not wait for an approval`);
  }
  const early = Object.entries(users).find(([user, approval]) => entry.preset[user] === approvalDigest(approval));
  return early === undefined
    ? accepted()
    : rejected(`${early[0]}: given before stage ${stage} waited; give it again with another comment`);
}

function skipping(view: TaskView, status: Status): Verdict {
  for (const stage of Object.keys(view.control.skip)) {
    const entry = entryOf(status, stage);
    if (entry?.skipped !== undefined && entry.skipped !== null) continue;
    if (view.policiesMissing) return rejected("AdmissionPolicyMissing: nothing vouches for the name in `by`");
    const kind = view.spec?.stages.find(({ name }) => name === stage)?.kind;
    if (kind === undefined) return rejected(`there is no stage ${stage}`);
    if (kind === "approval") return rejected(`stage ${stage} is an approval and cannot be skipped`);
    if (entry?.outcome === "Unknown") return rejected(`nobody knows yet whether stage ${stage} took effect`);
    return maySkip(view, stage) ? superseded(OVERTAKEN) : rejected(`stage ${stage} neither failed nor waits`);
  }
  return done();
}
