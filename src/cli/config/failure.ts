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
  /** A command or address that was to be told failed, or the output or a file could not be written. */
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

/** What a person at a terminal does about it: flags, where a service has coord settings. */
const HERE: Readonly<Record<string, string>> = {
  AuthRefused: "user name or password is wrong; correct --username and --password-file",
  AuthNeeded: "it asks for a user; give --username and --password-file",
  AuthOff: "it asks for no user, authentication is off; leave --username and --password-file out",
  TlsAbsent: "it speaks no TLS, or breaks it off; no scheme means https, for the clear write http://HOST:PORT",
  TlsUntrusted: "its certificate is of no authority that is trusted here; name the right one with --ca-file",
  TlsOtherName: "its certificate is for another name; write one that it carries in --endpoints",
  TlsFailed: "TLS failed; correct --ca-file, or the certificate there",
  AnswerLost: "the answer was lost, so it may have been done; look before you write again: config-cli diff, or get",
  TooManyKeys: "more keys lie below it than are listed at once; name an environment, or a service",
};

/** A path of etcd's gateway says nothing to a person. */
function sayHere({ component, code, message, about }: InfraError): string {
  const here = component === "coord" ? HERE[code] : undefined;
  if (here === undefined) return message;
  return `${about === "" || about.startsWith("/v3/") || about === "log-in" ? "etcd" : about}: ${here}`;
}

/** Null for what is neither a refusal nor a failure of the centre: a bug. */
export function exitOf(error: unknown): { readonly exitCode: number; readonly message: string } | null {
  if (error instanceof CliFailure) return { exitCode: error.exitCode, message: error.message };
  if (error instanceof InfraError) return { exitCode: OF_TYPE[error.type], message: sayHere(error) };
  return null;
}
