import { type FailureMeaning, failuresOf, type InfraError } from "../../lib/infra-error.ts";

/** Everything that a call to etcd can end with. */
const FAILURES = {
  ConnectFailed: { type: "CONNECTION", retryable: true, says: "no connection; check the address and the network path" },
  Broken: { type: "CONNECTION", retryable: true, says: "the connection broke before the answer" },
  AnswerLost: {
    type: "TIMEOUT",
    retryable: false,
    says: "the answer was lost, it may have been done; read the key before writing again",
  },
  Silent: {
    type: "TIMEOUT",
    retryable: true,
    says: "connected, but no answer comes; see whether etcd is stuck or overloaded",
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
  AuthNeeded: {
    type: "CONFIG",
    retryable: false,
    says: "etcd asks for a user; give username and password in the coord settings",
  },
  AuthOff: {
    type: "CONFIG",
    retryable: false,
    says: "etcd asks for no user, authentication is off; leave username and password out of the coord settings",
  },
  PermissionDenied: {
    type: "CONFIG",
    retryable: false,
    says: "the user may not do this; grant it the role for this key",
  },
  TlsAbsent: {
    type: "CONFIG",
    retryable: false,
    says: 'it speaks no TLS, or breaks it off; correct the address, or say tls "None" in the coord settings',
  },
  TlsUntrusted: {
    type: "CONFIG",
    retryable: false,
    says: "its certificate is of no authority that we trust; correct tls.ca in the coord settings",
  },
  TlsOtherName: {
    type: "CONFIG",
    retryable: false,
    says: "its certificate is for another name; correct the address or tls.serverName in the coord settings",
  },
  TlsExpired: {
    type: "CONFIG",
    retryable: false,
    says: "its certificate has expired or is not valid yet; renew it, or correct the clock here",
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

/** What etcd calls an invalid argument, and what it means. */
const INVALID: readonly (readonly [words: RegExp, code: CoordCode | "TokenStale"])[] = [
  [/invalid user ID or password/, "AuthRefused"],
  [/user name is empty/, "AuthNeeded"],
  [/revision of auth store is old/, "TokenStale"],
  [/too many operations/, "TooManyOperations"],
  [/too large/, "TooLarge"],
];

/** gRPC status codes as the gateway passes them on; the text decides only where one code means two things. */
export function codeOfStatus(status: number, text: string): CoordCode | "TokenStale" {
  switch (status) {
    case 3:
      return INVALID.find(([words]) => words.test(text))?.[1] ?? "Refused";
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
      return /authentication is not enabled/.test(text) ? "AuthOff" : "Refused";
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

/** What a failed handshake means, by the code of Node or OpenSSL. */
const TLS_CODES: Readonly<Record<string, CoordCode>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: "TlsAbsent",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "TlsAbsent",
  ERR_SSL_HTTP_REQUEST: "TlsAbsent",
  // etcd in the clear hangs up on a handshake.
  ECONNRESET: "TlsAbsent",
  EPIPE: "TlsAbsent",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "TlsUntrusted",
  UNABLE_TO_GET_ISSUER_CERT: "TlsUntrusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "TlsUntrusted",
  SELF_SIGNED_CERT_IN_CHAIN: "TlsUntrusted",
  DEPTH_ZERO_SELF_SIGNED_CERT: "TlsUntrusted",
  CERT_SIGNATURE_FAILURE: "TlsUntrusted",
  CERT_UNTRUSTED: "TlsUntrusted",
  ERR_TLS_CERT_ALTNAME_INVALID: "TlsOtherName",
  CERT_HAS_EXPIRED: "TlsExpired",
  CERT_NOT_YET_VALID: "TlsExpired",
};

/** Why no secured connection came about. */
export function tlsError(address: string, reason: string): InfraError {
  const code = TLS_CODES[reason] ?? "TlsFailed";
  return coordError(code, code === "TlsFailed" ? `${address} (${reason})` : address);
}
