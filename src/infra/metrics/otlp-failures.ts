import { type FailureMeaning, failuresOf } from "../../lib/infra-error.ts";

/** Everything that sending to the collector can end with. */
const FAILURES = {
  ConnectFailed: {
    type: "CONNECTION",
    retryable: true,
    says: "no connection; start the collector or correct otlpEndpoint in the metrics settings",
  },
  TlsFailed: {
    type: "CONFIG",
    retryable: false,
    says: "TLS failed; correct otlpTls in the metrics settings",
  },
  Denied: {
    type: "CONFIG",
    retryable: false,
    says: "the address is not one that may be connected to; correct otlpEndpoint in the metrics settings",
  },
  TimedOut: { type: "TIMEOUT", retryable: true, says: "no whole answer in time; see the collector's log" },
  Busy: { type: "UNAVAILABLE", retryable: true, says: "takes nothing now; see the collector's log" },
  Refused: {
    type: "UNAVAILABLE",
    retryable: false,
    says: "refused what was sent; is it an OTLP collector that takes protobuf over HTTP? See its log",
  },
} as const satisfies Readonly<Record<string, FailureMeaning>>;
export type OtlpFailureCode = keyof typeof FAILURES;

export const { error: otlpError, is: isOtlpError } = failuresOf<OtlpFailureCode>("otlp", FAILURES);
