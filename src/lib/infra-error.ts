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
  /** The key, address or name concerned, for who says it in words of their own. */
  readonly about?: string;
}

/** What every component of the kit throws and nothing else; `cause` is for logs only. */
export class InfraError extends Error {
  override name = "InfraError";
  readonly component: string;
  readonly type: InfraErrorType;
  readonly code: string;
  readonly retryable: boolean;
  readonly about: string;

  constructor(
    { component, type, code, message, retryable, about = "" }: InfraFailure,
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
    this.component = component;
    this.type = type;
    this.code = code;
    this.retryable = retryable;
    this.about = about;
  }
}

export interface FailureMeaning {
  readonly type: InfraErrorType;
  readonly retryable: boolean;
  /** What happened, and what a person does about it. */
  readonly says: string;
}

export interface FailuresOf<Code extends string> {
  /** `about`: the key, address or name concerned; empty where there is none. Never a secret, never a stored value. */
  readonly error: (code: Code, about: string, cause?: unknown) => InfraError;
  /** Whether it is one of the component's own, with one of these codes. */
  readonly is: (error: unknown, ...codes: readonly Code[]) => error is InfraError;
}

/** Makes and tells apart what a component throws, from the one table of its codes. */
export function failuresOf<Code extends string>(
  component: string,
  table: Readonly<Record<Code, FailureMeaning>>,
): FailuresOf<Code> {
  return {
    error: (code, about, cause) => {
      const { type, retryable, says } = table[code];
      const message = about === "" ? `${component}: ${says}` : `${component}: ${about.slice(0, 256)}: ${says}`;
      return new InfraError({ component, type, code, message, retryable, about }, cause === undefined ? {} : { cause });
    },
    is: (error, ...codes): error is InfraError =>
      error instanceof InfraError && error.component === component && codes.some((code) => code === error.code),
  };
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
