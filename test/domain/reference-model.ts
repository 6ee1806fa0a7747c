import type { Phase } from "../../src/domain/phase.ts";
import type { Answer } from "../../src/domain/stored.ts";

/** The seven commands; pausing and resuming are one field with two values. */
export const COMMANDS = ["pause", "resume", "rollback", "cancel", "retry", "approve", "skip", "delete"] as const;
export type Command = (typeof COMMANDS)[number];

/** What comes of a command: the next thing that happens, and how it is answered in that write (null: nothing is written, or no answer is due). */
export interface Reply {
  /** `stays`, the phase that is entered, `undoes` (RollingBack with the first undo claimed), `claims`, or another decision. */
  readonly next: string;
  readonly result: Answer["result"] | null;
}

type Row = Readonly<Record<Phase, readonly [next: string, result: Answer["result"] | null]>>;

const OVER = "stays";

/**
 * api.md (Commands, Phases) as one table, read by hand and kept apart from the product. The task of each phase has two stages, a write
 * `route` and an approval `hold`: up to Pending nothing is claimed; in Running, Paused and Resuming route is Completed and hold is the
 * one that waits (or waited); in Failed route failed; while going back route is what is undone.
 */
export const MODEL: Readonly<Record<Command, Row>> = {
  // Level. Pending, Running, Resuming at once; earlier ones and Failed in the next of these; never on the way back.
  pause: {
    Created: ["Pending", "Accepted"],
    Validating: ["Pending", "Accepted"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["Paused", "Done"],
    Running: ["Paused", "Done"],
    Paused: ["stays", "Done"],
    Resuming: ["Paused", "Done"],
    Completed: [OVER, "Rejected"],
    Failed: ["stays", "Accepted"],
    RollingBack: ["undoes", "Rejected"],
    RollbackFailed: ["stays", "Rejected"],
    RolledBack: [OVER, "Rejected"],
    Cancelled: [OVER, "Rejected"],
  },
  // Only an explicit false resumes; where nothing is paused it is as it should be.
  resume: {
    Created: ["Pending", "Done"],
    Validating: ["Pending", "Done"],
    ValidationFailed: [OVER, "Done"],
    Pending: ["finalizer", null],
    Running: ["stays", "Done"],
    Paused: ["Resuming", "Done"],
    Resuming: ["claims", "Done"],
    Completed: [OVER, "Done"],
    Failed: ["stays", "Done"],
    RollingBack: ["undoes", "Done"],
    RollbackFailed: ["stays", "Done"],
    RolledBack: [OVER, "Done"],
    Cancelled: [OVER, "Done"],
  },
  // Latch. From Pending to Failed; earlier ones in Pending; Completed inside its window, after finalizer and lock.
  rollback: {
    Created: ["Pending", "Accepted"],
    Validating: ["Pending", "Accepted"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["RolledBack", "Done"],
    Running: ["undoes", "Accepted"],
    Paused: ["undoes", "Accepted"],
    Resuming: ["undoes", "Accepted"],
    Completed: ["finalizer", null],
    Failed: ["undoes", "Accepted"],
    RollingBack: ["undoes", "Accepted"],
    RollbackFailed: ["stays", "Accepted"],
    RolledBack: [OVER, "Done"],
    Cancelled: [OVER, "Superseded"],
  },
  // Latch. Nothing claimed: over at once; else undo first. A rollback that is under way stays one.
  cancel: {
    Created: ["Cancelled", "Done"],
    Validating: ["Cancelled", "Done"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["Cancelled", "Done"],
    Running: ["undoes", "Accepted"],
    Paused: ["undoes", "Accepted"],
    Resuming: ["undoes", "Accepted"],
    Completed: [OVER, "Rejected"],
    Failed: ["undoes", "Accepted"],
    RollingBack: ["undoes", "Rejected"],
    RollbackFailed: ["stays", "Rejected"],
    RolledBack: [OVER, "Superseded"],
    Cancelled: [OVER, "Done"],
  },
  // Nonce. Failed and RollbackFailed.
  retry: {
    Created: ["Pending", "Rejected"],
    Validating: ["Pending", "Rejected"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["finalizer", null],
    Running: ["stays", "Rejected"],
    Paused: ["stays", "Rejected"],
    Resuming: ["claims", "Rejected"],
    Completed: [OVER, "Rejected"],
    Failed: ["claims", "Done"],
    RollingBack: ["undoes", "Rejected"],
    RollbackFailed: ["undoes", "Done"],
    RolledBack: [OVER, "Rejected"],
    Cancelled: [OVER, "Rejected"],
  },
  // For `hold`, while it waits. In Resuming it waits again from this very write on, and what stood before does not count.
  approve: {
    Created: ["Pending", "Rejected"],
    Validating: ["Pending", "Rejected"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["finalizer", null],
    Running: ["stays", "Accepted"],
    Paused: ["stays", "Accepted"],
    Resuming: ["claims", "Accepted"],
    Completed: [OVER, "Done"],
    Failed: ["stays", "Rejected"],
    RollingBack: ["undoes", "Rejected"],
    RollbackFailed: ["stays", "Rejected"],
    RolledBack: [OVER, "Rejected"],
    Cancelled: [OVER, "Rejected"],
  },
  // Of `route`: only in Failed does it neither run nor rest settled. Approvals are never skipped.
  skip: {
    Created: ["Pending", "Rejected"],
    Validating: ["Pending", "Rejected"],
    ValidationFailed: [OVER, "Rejected"],
    Pending: ["finalizer", null],
    Running: ["stays", "Rejected"],
    Paused: ["stays", "Rejected"],
    Resuming: ["claims", "Rejected"],
    Completed: [OVER, "Rejected"],
    Failed: ["claims", "Done"],
    RollingBack: ["undoes", "Rejected"],
    RollbackFailed: ["stays", "Rejected"],
    RolledBack: [OVER, "Rejected"],
    Cancelled: [OVER, "Rejected"],
  },
  // deletionPolicy Rollback, the default. Deleting what is over undoes nothing.
  delete: {
    Created: ["Cancelled", null],
    Validating: ["Cancelled", null],
    ValidationFailed: [OVER, null],
    Pending: ["Cancelled", null],
    Running: ["undoes", null],
    Paused: ["undoes", null],
    Resuming: ["undoes", null],
    Completed: [OVER, null],
    Failed: ["undoes", null],
    RollingBack: ["undoes", null],
    RollbackFailed: ["stays", null],
    RolledBack: [OVER, null],
    Cancelled: [OVER, null],
  },
};

export const expected = (phase: Phase, command: Command): Reply => {
  const [next, result] = MODEL[command][phase];
  return { next, result };
};
