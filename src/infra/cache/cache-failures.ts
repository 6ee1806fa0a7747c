import type { Fault } from "../../lib/failures.ts";
import { InfraError, type InfraErrorType } from "../../lib/infra-error.ts";

interface Meaning {
  readonly type: InfraErrorType;
  readonly retryable: boolean;
  readonly says: string;
}

/** Every way in which the cache can fail, once. `{at}`: the command, key or lock it was about. */
const MEANINGS = {
  Closed: { type: "UNAVAILABLE", retryable: false, says: "cache: {at}: the cache was closed" },
  ConnectFailed: {
    type: "CONNECTION",
    retryable: true,
    says: "cache: {at}: Redis cannot be reached; see addr, tls and its log",
  },
  ConnectionLost: {
    type: "CONNECTION",
    retryable: true,
    says: "cache: {at}: the connection ended before the answer; what became of it is unknown",
  },
  CommandTimeout: {
    type: "TIMEOUT",
    retryable: true,
    says: "cache: {at}: no answer in time; what became of it is unknown (readTimeout, writeTimeout)",
  },
  PoolExhausted: {
    type: "TIMEOUT",
    retryable: true,
    says: "cache: {at}: no connection became free in time; raise poolSize or poolTimeout, or send less at once",
  },
  BreakerOpen: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "cache: {at}: not sent, Redis failed several times in a row and is given a rest",
  },
  AuthRefused: {
    type: "CONFIG",
    retryable: false,
    says: "cache: {at}: Redis refuses user, password or right; see username, password and the ACL",
  },
  TlsFailed: {
    type: "CONFIG",
    retryable: false,
    says: "cache: {at}: TLS failed; correct the CA or the certificate in the cache settings",
  },
  DatabaseRefused: {
    type: "CONFIG",
    retryable: false,
    says: "cache: {at}: Redis has no database of this number; see db",
  },
  SecretUnreadable: {
    type: "CONFIG",
    retryable: false,
    says: "cache: {at}: a secret that the settings refer to cannot be read; see password and tls",
  },
  Busy: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "cache: {at}: Redis takes no commands now (loading, busy or read-only)",
  },
  Full: {
    type: "UNAVAILABLE",
    retryable: false,
    says: "cache: {at}: Redis is out of memory; see maxmemory and its policy",
  },
  WrongType: {
    type: "CONFLICT",
    retryable: false,
    says: "cache: {at}: the key holds another kind of value; use another key",
  },
  Refused: {
    type: "INTERNAL",
    retryable: false,
    says: "cache: {at}: Redis refused the command; see the code in the log",
  },
  ReplyRefused: {
    type: "VALIDATION",
    retryable: false,
    says: "cache: {at}: the answer is larger than allowed or no Redis answer, and was thrown away",
  },
  ValueUnreadable: {
    type: "VALIDATION",
    retryable: false,
    says: "cache: {at}: what is stored there was not written by this cache; delete the key",
  },
  ValueTooLarge: {
    type: "VALIDATION",
    retryable: false,
    says: "cache: {at}: the value is larger than 8 MiB; store less",
  },
  KeyInvalid: {
    type: "VALIDATION",
    retryable: false,
    says: "cache: {at}: a key has 1 to 512 characters without controls and does not begin with ~",
  },
  TooMany: {
    type: "VALIDATION",
    retryable: false,
    says: "cache: {at}: more than 1000 items in one call; send them in parts",
  },
  ScoreInvalid: { type: "VALIDATION", retryable: false, says: "cache: {at}: a score is a finite number" },
  LockTooShort: { type: "VALIDATION", retryable: false, says: "cache: {at}: a lock is held for 100ms at least" },
  ScriptClash: {
    type: "CONFIG",
    retryable: false,
    says: "cache: script {at} is declared already with another text; give it another name",
  },
} as const satisfies Readonly<Record<string, Meaning>>;
export type CacheCode = keyof typeof MEANINGS;

export function cacheError(code: CacheCode, at: string, cause?: unknown): InfraError {
  const { type, retryable, says } = MEANINGS[code];
  const message = says.replace("{at}", () => at.slice(0, 160));
  return new InfraError({ component: "cache", type, code, message, retryable }, { cause });
}

export const isCacheError = (error: unknown, ...codes: readonly CacheCode[]): boolean =>
  error instanceof InfraError && error.component === "cache" && codes.some((code) => code === error.code);

const OF_REPLY: Readonly<Record<string, CacheCode>> = {
  NOAUTH: "AuthRefused",
  WRONGPASS: "AuthRefused",
  NOPERM: "AuthRefused",
  WRONGTYPE: "WrongType",
  LOADING: "Busy",
  BUSY: "Busy",
  CLUSTERDOWN: "Busy",
  TRYAGAIN: "Busy",
  MASTERDOWN: "Busy",
  READONLY: "Busy",
  OOM: "Full",
};

/** What an error reply means; `reply` is its first word. */
export const replyError = (reply: string, at: string): InfraError =>
  cacheError(OF_REPLY[reply] ?? "Refused", OF_REPLY[reply] === undefined ? `${at} (${reply})` : at);

/** What the guard's refusal of a connection means. */
export const connectError = ({ code, message }: Fault, at: string): InfraError =>
  cacheError(code === "SecretUnreadable" || code === "TlsFailed" ? code : "ConnectFailed", at, new Error(message));

/** Whether the other side did not answer at all: what the breaker counts. A refusal is an answer. */
export const isSilence = (error: unknown): boolean =>
  isCacheError(error, "ConnectFailed", "ConnectionLost", "CommandTimeout");
