import type { Instant } from "../lib/time.ts";
import { rollbackFailed, rollingBack } from "./backward.ts";
import { answer } from "./commands.ts";
import { completed, ended } from "./finished.ts";
import { failed, paused, resuming, running } from "./forward.ts";
import {
  cancelOrRollback,
  deleting,
  diverged,
  failureRollsBack,
  type Guard,
  notPastDeadline,
  notPastGrace,
  pastDeadline,
  pauseAsked,
} from "./guards.ts";
import type { Phase } from "./phase.ts";
import { created, pending } from "./starting.ts";
import type { Decision, TaskView } from "./task.ts";

/** They outrank the phase; the order is the policy (protocol.md): delete > rollback/cancel > pause > retry > forward. */
export const GUARDS: readonly Guard[] = [
  diverged,
  deleting,
  cancelOrRollback,
  pauseAsked,
  pastDeadline,
  failureRollsBack,
];

type Handler = (view: TaskView, now: Instant) => Decision;

const BY_PHASE: Readonly<Record<Phase, Handler>> = {
  Created: created,
  Validating: created,
  Pending: pending,
  Running: running,
  Paused: paused,
  Resuming: resuming,
  RollingBack: rollingBack,
  Completed: completed,
  Failed: failed,
  RollbackFailed: rollbackFailed,
  ValidationFailed: ended,
  RolledBack: ended,
  Cancelled: ended,
};

/**
 * The one next thing to do for a task, and why. Pure: the same view and moment give the same decision, on the live object too
 * (`explain`). A decision that stores a status also answers the commands that stand in `spec.control`.
 */
export function decide(view: TaskView, now: Instant): Decision {
  return answered(view, awake(view, byPolicy(view, now), now), now);
}

/** Wakes by itself at every moment that changes the decision. */
const awake = (view: TaskView, decision: Decision, now: Instant): Decision =>
  notPastGrace(view, notPastDeadline(view, decision, now), now);

function byPolicy(view: TaskView, now: Instant): Decision {
  for (const guard of GUARDS) {
    const decision = guard(view, now);
    if (decision !== null) return decision;
  }
  return BY_PHASE[view.status.phase](view, now);
}

function answered(view: TaskView, decision: Decision, now: Instant): Decision {
  switch (decision.do) {
    case "write":
      return { ...decision, status: answer(view, decision.status, now) };
    case "act":
      return decision.status === null ? decision : { ...decision, status: answer(view, decision.status, now) };
    case "sleep": {
      const status = answer(view, view.status, now);
      return status === view.status ? decision : { do: "write", status, because: "CommandAnswered" };
    }
    default:
      return decision;
  }
}
