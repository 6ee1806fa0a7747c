import { InfraError, type InfraErrorType } from "../../lib/infra-error.ts";

/** What the command line ends with. */
export const EXIT = {
  done: 0,
  /** Something is wrong with the configuration, differs, or is not there. */
  found: 1,
  usage: 2,
  /** The centre does not let us. */
  refused: 3,
  /** Somebody else changed it meanwhile. */
  conflict: 4,
  /** The centre was not reached in time. */
  unreachable: 5,
  /** A command or address that was to be told failed. */
  untold: 6,
} as const;

/** Ended by Ctrl-C or SIGTERM: 128 + SIGINT, as shells say it. */
export const STOPPED = 130;

/** A refusal for people: what, where, and what to do next. */
export class CliFailure extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

const OF_TYPE: Readonly<Record<InfraErrorType, number>> = {
  CONFIG: EXIT.refused,
  CONNECTION: EXIT.unreachable,
  TIMEOUT: EXIT.unreachable,
  VALIDATION: EXIT.usage,
  CONFLICT: EXIT.conflict,
  NOT_FOUND: EXIT.found,
  UNAVAILABLE: EXIT.unreachable,
  INTERNAL: EXIT.found,
};

/** Null for what is neither a refusal nor a failure of the centre: a bug. */
export function exitOf(error: unknown): { readonly exitCode: number; readonly message: string } | null {
  if (error instanceof CliFailure) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof InfraError) return { exitCode: OF_TYPE[error.type], message: error.message };
  return null;
}
