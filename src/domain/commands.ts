import type { Instant } from "../lib/time.ts";
import { approvalDigest } from "./claims.ts";
import { valueOf } from "./command-values.ts";
import { retryAsked } from "./forward.ts";
import { isTerminal } from "./phase.ts";
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
    const verdict = VERDICTS[field](view, status, value);
    if (before?.value === value && before.result === verdict.result && before.reason === verdict.reason) continue;
    commands = { ...commands, [field]: { value, ...verdict, at: now } };
  }
  return commands === status.commands ? status : { ...status, commands };
}

const VERDICTS: Readonly<Record<CommandField, (view: TaskView, status: Status, value: string) => Verdict>> = {
  paused: (view, status) => (view.control.paused === true ? pausing(status) : resuming(status)),
  rollback: (_view, status) => goingBack(status, "rollback"),
  cancel: (_view, status) => goingBack(status, "cancel"),
  retry: retrying,
  approvals: approving,
  skip: skipping,
};

const isStopped = (status: Status): boolean => status.waiting?.reason === "Diverged" && status.epoch > 0;

function pausing(status: Status): Verdict {
  if (status.phase === "Paused") return done();
  if (status.direction === "Back") {
    return status.commands.paused?.result === "Accepted"
      ? superseded("the task goes back")
      : rejected("a rollback is not paused");
  }
  if (isTerminal(status.phase)) return rejected(`the task is ${status.phase}`);
  return accepted(isStopped(status) ? "Diverged: takes effect when the tenant is released" : null);
}

const resuming = (status: Status): Verdict => (status.phase === "Paused" ? accepted() : done());

function goingBack(status: Status, verb: "rollback" | "cancel"): Verdict {
  const mine = verb === "cancel" ? status.turnedBackBy === "Cancel" : status.turnedBackBy !== null;
  switch (status.phase) {
    case "RolledBack":
      return verb === "rollback" || mine ? done() : superseded("the task was rolled back");
    case "Cancelled":
      return verb === "cancel" || mine ? done() : superseded("the task was cancelled");
    case "RollingBack":
    case "RollbackFailed":
      return verb === "rollback" || mine ? accepted() : rejected("the task is being rolled back");
    case "ValidationFailed":
      return verb === "cancel" ? rejected("the task is ValidationFailed") : rejected("nothing was switched");
    case "Completed":
      return verb === "cancel" ? rejected("the task is Completed; use rollback") : accepted();
    default:
      return accepted(isStopped(status) ? "Diverged: takes effect when the tenant is released" : null);
  }
}

function retrying(view: TaskView, status: Status, value: string): Verdict {
  if (Number(value) <= status.retried) return done();
  if (status.phase === "Failed" || status.phase === "RollbackFailed") {
    return retryAsked({ control: view.control, status }) === null
      ? superseded("another command came first")
      : accepted();
  }
  return rejected(`the task is ${status.phase}, not Failed or RollbackFailed`);
}

/** Entries for a stage that does not wait are refused; those for the one that waits are weighed when it is polled. */
function approving(view: TaskView, status: Status): Verdict {
  const verdicts = Object.entries(view.control.approvals).map(([stage, users]) =>
    approvalsOf(view, status, { stage, users }),
  );
  return (
    verdicts.find(({ result }) => result === "Rejected") ??
    verdicts.find(({ result }) => result === "Accepted") ??
    done()
  );
}

interface Given {
  readonly stage: string;
  readonly users: Control["approvals"][string];
}

function approvalsOf(view: TaskView, status: Status, { stage, users }: Given): Verdict {
  const kind = view.spec?.stages.find(({ name }) => name === stage)?.kind;
  const entry = entryOf(status, stage);
  if (kind !== "approval") return rejected(`stage ${stage} is not an approval`);
  if (entry?.state === "Completed" || entry?.state === "RolledBack" || entry?.state === "Failed") return done();
  if (entry?.state !== "Running" || status.direction === "Back")
    return rejected(`stage ${stage} does not wait for an approval`);
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
    return rejected(`stage ${stage} neither failed nor waits`);
  }
  return done();
}
