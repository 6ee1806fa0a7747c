import { type FailureMeaning, failuresOf, InfraError } from "../../lib/infra-error.ts";

/** Everything that a call to Kafka can end with. */
const FAILURES = {
  ConnectFailed: {
    type: "CONNECTION",
    retryable: true,
    says: "no connection; check the brokers' addresses, tls and the network path",
  },
  TimedOut: { type: "TIMEOUT", retryable: true, says: "no answer in time; check the cluster and the network path" },
  SendUnknown: {
    type: "TIMEOUT",
    retryable: false,
    says: "the answer was lost, the messages may be there; sending again may store them twice",
  },
  Unavailable: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "the cluster cannot serve it now (leader or coordinator moves, or too few replicas)",
  },
  Rebalanced: { type: "CONFLICT", retryable: true, says: "the group gave our partitions to others" },
  AuthRefused: {
    type: "CONFIG",
    retryable: false,
    says: "user name or password is wrong; correct them in the mq settings",
  },
  PermissionDenied: {
    type: "CONFIG",
    retryable: false,
    says: "the user may not do this; grant it the topic or the group",
  },
  TlsFailed: {
    type: "CONFIG",
    retryable: false,
    says: "TLS failed; correct the CA or the certificate in the mq settings",
  },
  UnlistedBroker: {
    type: "CONFIG",
    retryable: false,
    says: "a broker names an address that brokers does not list; add it, or correct its advertised.listeners",
  },
  TopicAbsent: { type: "NOT_FOUND", retryable: false, says: "the topic does not exist; create it" },
  TopicExists: { type: "CONFLICT", retryable: false, says: "the topic exists" },
  TopicUnnamed: { type: "CONFIG", retryable: false, says: "has no topic in the mq settings; add it to topics" },
  BadTopic: {
    type: "VALIDATION",
    retryable: false,
    says: "is not a name of a topic: letters, digits and . _ -, 249 at most",
  },
  NotEncodable: { type: "VALIDATION", retryable: false, says: "the value cannot be written with the topic's codec" },
  TooLarge: {
    type: "VALIDATION",
    retryable: false,
    says: "the message is larger than maxRequestSize or than the broker takes; send less",
  },
  BufferFull: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "more waits to be sent than bufferMemory holds; the brokers are slow or away",
  },
  Refused: { type: "INTERNAL", retryable: false, says: "the broker refused the request; see its log" },
  Closed: { type: "UNAVAILABLE", retryable: false, says: "mq is closed" },
} as const satisfies Record<string, FailureMeaning>;
export type MqCode = keyof typeof FAILURES;

/** `about`: the topic, group or address concerned; never a message. */
export const { error: mqError, is: isMqError } = failuresOf<MqCode>("mq", FAILURES);

/** What the vendor's errors carry, its own properties and those of the protocol. */
interface Vendor {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly apiId?: unknown;
  readonly message?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
  readonly unlisted?: unknown;
  readonly closed?: unknown;
}

const MOST_ERRORS = 64;

/** The error, those it holds and what caused them. */
function allIn(error: unknown): readonly Vendor[] {
  const found: Vendor[] = [];
  const left: unknown[] = [error];
  while (left.length > 0 && found.length < MOST_ERRORS) {
    const next = left.shift();
    if (typeof next !== "object" || next === null || found.includes(next)) continue;
    const vendor = next as Vendor;
    found.push(vendor);
    if (Array.isArray(vendor.errors)) left.push(...(vendor.errors as readonly unknown[]));
    left.push(vendor.cause);
  }
  return found;
}

const apiIds = (...ids: readonly string[]) => {
  const known: ReadonlySet<unknown> = new Set(ids);
  return ({ apiId }: Vendor): boolean => known.has(apiId);
};
const says =
  (pattern: RegExp) =>
  ({ message }: Vendor): boolean =>
    typeof message === "string" && pattern.test(message);

/** A connection that ended during the log-in (a broker that stops, or one that speaks TLS) is told as a failed log-in, too. */
function isRefusal({ code, apiId, cause }: Vendor): boolean {
  if (apiId === "SASL_AUTHENTICATION_FAILED") return true;
  return code === "PLT_KFK_AUTHENTICATION" && !allIn(cause).some((inner) => inner.code === "PLT_KFK_NETWORK");
}

/** The first that fits any of the errors; what a person has to mend comes before what passes by itself. */
const RULES: readonly (readonly [MqCode, (error: Vendor) => boolean])[] = [
  ["UnlistedBroker", ({ unlisted }) => unlisted !== undefined],
  ["AuthRefused", isRefusal],
  ["TlsFailed", says(/^TLS handshake failed|^Broker requires TLS/)],
  [
    "TlsFailed",
    ({ code }) => typeof code === "string" && /^(?:ERR_TLS_|ERR_SSL_|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO_)/.test(code),
  ],
  ["PermissionDenied", ({ apiId }) => typeof apiId === "string" && apiId.endsWith("_AUTHORIZATION_FAILED")],
  ["TopicExists", apiIds("TOPIC_ALREADY_EXISTS")],
  ["TopicAbsent", apiIds("UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_TOPIC_ID")],
  ["TopicAbsent", says(/^Unknown topic /)],
  ["BadTopic", apiIds("INVALID_TOPIC_EXCEPTION")],
  ["TooLarge", apiIds("MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")],
  ["Rebalanced", apiIds("ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID", "REBALANCE_IN_PROGRESS", "FENCED_INSTANCE_ID")],
  [
    "Unavailable",
    apiIds(
      "LEADER_NOT_AVAILABLE",
      "NOT_LEADER_OR_FOLLOWER",
      "NOT_ENOUGH_REPLICAS",
      "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
      "COORDINATOR_LOAD_IN_PROGRESS",
      "COORDINATOR_NOT_AVAILABLE",
      "NOT_COORDINATOR",
      "KAFKA_STORAGE_ERROR",
    ),
  ],
  [
    "TimedOut",
    ({ code, apiId, name }) => code === "PLT_KFK_TIMEOUT" || apiId === "REQUEST_TIMED_OUT" || name === "AbortError",
  ],
  ["ConnectFailed", ({ code }) => code === "PLT_KFK_NETWORK"],
];

/** Classified once, here: nobody above reads a vendor's error. */
export function mqErrorOf(error: unknown, about: string): InfraError {
  if (error instanceof InfraError) return error;
  const all = allIn(error);
  const rule = RULES.find(([, fits]) => all.some(fits));
  return mqError(rule?.[0] ?? "Refused", about, error);
}

/** Of messages that were handed over: the same, but where the answer may have been lost on the way. */
export function sendErrorOf(error: unknown, about: string): InfraError {
  const known = mqErrorOf(error, about);
  if (!isMqError(known, "TimedOut", "ConnectFailed")) return known;
  // Leaves: what happened at last, each time that it was tried.
  const leaves = allIn(error).filter(({ errors, cause }) => !Array.isArray(errors) && cause === undefined);
  const neverSent = leaves.every(says(/ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH/));
  return neverSent ? known : mqError("SendUnknown", about, error);
}
