import { type FailureMeaning, failuresOf } from "../../lib/infra-error.ts";

/** Everything that a call to etcd can end with. */
const FAILURES = {
  ConnectFailed: { type: "CONNECTION", retryable: true, says: "no connection; check the address and the network path" },
  Broken: { type: "CONNECTION", retryable: true, says: "the connection broke before the answer" },
  AnswerLost: {
    type: "TIMEOUT",
    retryable: false,
    says: "the answer was lost, it may have been done; read the key before writing again",
  },
  TimedOut: { type: "TIMEOUT", retryable: true, says: "no answer in time; check the cluster and the network path" },
  Unavailable: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "the cluster cannot serve it now (no leader, or overloaded)",
  },
  AuthRefused: {
    type: "CONFIG",
    retryable: false,
    says: "user name or password is wrong; correct them in the coord settings",
  },
  PermissionDenied: {
    type: "CONFIG",
    retryable: false,
    says: "the user may not do this; grant it the role for this key",
  },
  TlsFailed: {
    type: "CONFIG",
    retryable: false,
    says: "TLS failed; correct the CA or the certificate in the coord settings",
  },
  Compacted: { type: "NOT_FOUND", retryable: false, says: "that revision is compacted away; ask for a later one" },
  Rewound: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "etcd went back to an older state; what stands now was taken over",
  },
  FutureRevision: { type: "VALIDATION", retryable: false, says: "that revision does not exist yet" },
  LeaseLost: { type: "NOT_FOUND", retryable: true, says: "the lease has ended; take it anew" },
  TooLarge: { type: "VALIDATION", retryable: false, says: "larger than etcd takes (1.5 MiB); split the value" },
  TooManyOperations: {
    type: "VALIDATION",
    retryable: false,
    says: "too many operations for one transaction; split it",
  },
  TooManyKeys: {
    type: "VALIDATION",
    retryable: false,
    says: "more keys lie below it than are listed at once; ask for a narrower prefix, or delete what nobody needs",
  },
  IdsExhausted: {
    type: "UNAVAILABLE",
    retryable: true,
    says: "every instance number is taken; wait until a process ends, or give the group's processes another group",
  },
  NoSpace: {
    type: "UNAVAILABLE",
    retryable: false,
    says: "etcd is out of space; compact, defragment, then disarm its alarm",
  },
  BadAnswer: {
    type: "INTERNAL",
    retryable: true,
    says: "the answer is none of etcd's; check that the address is an etcd",
  },
  Refused: { type: "INTERNAL", retryable: false, says: "etcd refused the request; see its log" },
  Closed: { type: "UNAVAILABLE", retryable: false, says: "coord is closed" },
  LeaseTooShort: { type: "VALIDATION", retryable: false, says: "a lease lasts at least 1s; ask for a longer one" },
  BadKey: {
    type: "VALIDATION",
    retryable: false,
    says: "is not a key: 1 to 1024 characters, beginning with /, no empty segment",
  },
} as const satisfies Record<string, FailureMeaning>;
export type CoordCode = keyof typeof FAILURES;

/** `about`: the key or address concerned. */
export const { error: coordError, is: isCoordError } = failuresOf<CoordCode>("coord", FAILURES);

/** gRPC status codes as the gateway passes them on; the text decides only where one code means two things. */
export function codeOfStatus(status: number, text: string): CoordCode | "TokenStale" {
  switch (status) {
    case 3:
      if (/invalid user ID or password/.test(text)) return "AuthRefused";
      if (/revision of auth store is old/.test(text)) return "TokenStale";
      if (/too many operations/.test(text)) return "TooManyOperations";
      return /too large/.test(text) ? "TooLarge" : "Refused";
    case 4:
    case 1:
      return "AnswerLost";
    case 5:
      return /lease/.test(text) ? "LeaseLost" : "Refused";
    case 7:
      return "PermissionDenied";
    case 8:
      return /space/.test(text) ? "NoSpace" : "Unavailable";
    case 9:
      return /authentication is not enabled/.test(text) ? "AuthRefused" : "Refused";
    case 11:
      return /compacted/.test(text) ? "Compacted" : "FutureRevision";
    case 14:
      // A leader that changes, or a request that timed out inside the cluster, may have been applied.
      return /timed out/.test(text) ? "AnswerLost" : "Unavailable";
    case 16:
      return "TokenStale";
    default:
      return "Refused";
  }
}
