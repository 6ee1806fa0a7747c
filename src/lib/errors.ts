import { FAILURES, type Fault, type FailureCode, type FailureType } from "./failures.ts";

/** Thrown for bugs and broken infrastructure only; expected ends are values. `cause` is for logs, never for status. */
export class TurnoutError extends Error {
  readonly fault: Fault;
  constructor(what: Fault, options?: { readonly cause?: unknown }) {
    super(what.message, options);
    this.name = "TurnoutError";
    this.fault = what;
  }
  get code(): FailureCode {
    return this.fault.code;
  }
  get type(): FailureType {
    return FAILURES[this.fault.code].type;
  }
  get retryable(): boolean {
    return FAILURES[this.fault.code].retryable;
  }
}

/** A spec that no plan can be made of. */
export class InvalidSpecError extends TurnoutError {
  override name = "InvalidSpecError";
}
/** A bug met while a task was carried out; the task backs off alone. */
export class ExecutionError extends TurnoutError {
  override name = "ExecutionError";
}
/** A transition that the table forbids: a bug, which stops the reconcile. */
export class TransitionError extends TurnoutError {
  override name = "TransitionError";
}
/** A status that could not be stored: no further effect happens. */
export class CheckpointError extends TurnoutError {
  override name = "CheckpointError";
}
export class TaskNotFoundError extends TurnoutError {
  override name = "TaskNotFoundError";
}

const EXIT_CODES: Readonly<Record<FailureType, number>> = {
  Validation: 2,
  Permission: 3,
  Conflict: 4,
  Fenced: 4,
  Network: 5,
  Timeout: 5,
  Unavailable: 5,
  Rejected: 6,
  Business: 6,
  System: 1,
};

/** Exit code of a command that ended with this error; 1 for anything that is not ours. */
export function exitCodeOf(error: unknown): number {
  return error instanceof TurnoutError ? EXIT_CODES[error.type] : 1;
}
