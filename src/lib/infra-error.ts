export const INFRA_ERROR_TYPES = [
  "CONFIG",
  "CONNECTION",
  "TIMEOUT",
  "VALIDATION",
  "CONFLICT",
  "NOT_FOUND",
  "UNAVAILABLE",
  "INTERNAL",
] as const;
export type InfraErrorType = (typeof INFRA_ERROR_TYPES)[number];

export interface InfraFailure {
  /** Which component of the kit met it: `coord`, `config`, `cache`, … */
  readonly component: string;
  readonly type: InfraErrorType;
  /** Stable word for programs, such as `AuthRefused`; CamelCase, unique within its component. */
  readonly code: string;
  /** What, where, which value, what to do. Never a secret, never a vendor's text. */
  readonly message: string;
  /** Whether the same call may succeed later without anybody doing anything. */
  readonly retryable: boolean;
}

/** What every component of the kit throws and nothing else; `cause` is for logs only. */
export class InfraError extends Error {
  override name = "InfraError";
  readonly component: string;
  readonly type: InfraErrorType;
  readonly code: string;
  readonly retryable: boolean;

  constructor({ component, type, code, message, retryable }: InfraFailure, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.component = component;
    this.type = type;
    this.code = code;
    this.retryable = retryable;
  }
}

/** The error itself where it is one of ours already; else a bug of the component, not retryable. */
export function infraErrorOf(component: string, error: unknown): InfraError {
  if (error instanceof InfraError) return error;
  const message = `${component} failed in a way that it does not know; see its log`;
  return new InfraError(
    { component, type: "INTERNAL", code: "Unclassified", message, retryable: false },
    { cause: error },
  );
}
