import { type Millis, seconds } from "../lib/time.ts";

/**
 * What an answer of the API server, or its absence, means for the caller. `Refused`: nothing was sent. `Ambiguous`: it may have
 * been carried out, nobody knows; read before anything else. All others: it was not carried out.
 */
export type KubeErrorKind =
  | "Conflict"
  | "AlreadyExists"
  | "NotFound"
  | "Gone"
  | "Invalid"
  | "Forbidden"
  | "Unauthorized"
  | "Throttled"
  | "TooLarge"
  | "Refused"
  | "Ambiguous"
  | "BadAnswer";

export type KubeVerb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";

/** What was asked, as messages and metrics name it. */
export interface Asked {
  readonly verb: KubeVerb;
  /** `switchtasks.example.dev/status`, `leases.coordination.k8s.io`, `pods`. */
  readonly resource: string;
  /** `namespace/name`, `name`, `namespace/` for a list, or empty. */
  readonly target: string;
}

interface Answered {
  readonly kind: KubeErrorKind;
  readonly status: number | null;
  readonly reason: string | null;
  readonly retryAfter?: Millis | null;
  /** `details.causes[].reason` of the Status. */
  readonly causes?: readonly string[];
  /** The API server's own words: shown for Invalid and Forbidden only. */
  readonly says?: string;
  readonly cause?: unknown;
}

/** Longest text of the API server that a message repeats. */
const LONGEST_WORDS = 512;

/** Thrown by the client, classified once, here. The message holds no header, token or body of ours. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly kind: KubeErrorKind;
  readonly status: number | null;
  readonly reason: string | null;
  readonly retryAfter: Millis | null;
  readonly causes: readonly string[];
  readonly verb: KubeVerb;
  readonly resource: string;
  readonly target: string;

  constructor(asked: Asked, answered: Answered) {
    super(messageOf(asked, answered), { cause: answered.cause });
    this.kind = answered.kind;
    this.status = answered.status;
    this.reason = answered.reason;
    this.retryAfter = answered.retryAfter ?? null;
    this.causes = answered.causes ?? [];
    this.verb = asked.verb;
    this.resource = asked.resource;
    this.target = asked.target;
  }
}

function messageOf({ verb, resource, target }: Asked, { kind, status, reason, says }: Answered): string {
  const what = [verb, resource, target].filter((part) => part !== "").join(" ");
  const code = [status, reason].filter((part) => part !== null && part !== "").join(" ");
  const words = says === undefined || says === "" ? "" : `: ${oneLine(says)}`;
  return `${what}: ${kind}${code === "" ? "" : ` (${code})`}${words}`;
}

const oneLine = (text: string): string => text.slice(0, LONGEST_WORDS).replaceAll(/\p{Cc}+/gu, " ");

/**
 * The transport got no answer that it could use. `Refused` only where no byte of the request left; for a read an unusable answer
 * is `BadAnswer`, for a write it is `Ambiguous`.
 */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  readonly kind: "Refused" | "Ambiguous" | "BadAnswer" | "TooLarge";
  /** Short code: `ECONNREFUSED`, `Timeout`, `Aborted`, `NotJson`. Never text of a library or of the other side. */
  readonly reason: string;
  constructor(kind: NoAnswer["kind"], reason: string, cause?: unknown) {
    super(`${kind} (${reason})`, { cause });
    this.kind = kind;
    this.reason = reason;
  }
}

export function fromNoAnswer(asked: Asked, error: NoAnswer): KubeError {
  return new KubeError(asked, { kind: error.kind, status: null, reason: error.reason, cause: error });
}

const ALREADY_EXISTS = "AlreadyExists";

const BY_STATUS: Readonly<Record<number, KubeErrorKind>> = {
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  408: "Ambiguous",
  409: "Conflict",
  410: "Gone",
  413: "TooLarge",
  429: "Throttled",
};

/** Longest Retry-After that is believed. */
const LONGEST_RETRY_AFTER = 300;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: unknown;
}

/** An answer outside 200–299 → what it means. 409 is told apart by `Status.reason`; 3xx is never followed (SEC-4). */
export function fromAnswer(asked: Asked, { status, headers, body }: Answer): KubeError {
  const told = statusOf(body);
  const kind = kindOf(status, told.reason);
  return new KubeError(asked, {
    kind,
    status,
    reason: told.reason,
    retryAfter: retryAfterOf(headers["retry-after"]),
    causes: told.causes,
    ...(kind === "Invalid" || kind === "Forbidden" ? { says: told.message } : {}),
  });
}

/** The `object` of a watch event of type ERROR. */
export function fromStatusObject(asked: Asked, object: unknown): KubeError {
  const code = own(object, "code");
  return fromAnswer(asked, { status: typeof code === "number" ? code : 500, headers: {}, body: object });
}

function kindOf(status: number, reason: string | null): KubeErrorKind {
  if (status >= 500) return "Ambiguous";
  if (status < 400) return "BadAnswer";
  if (status === 409 && reason === ALREADY_EXISTS) return ALREADY_EXISTS;
  return BY_STATUS[status] ?? "Invalid";
}

function retryAfterOf(header: string | undefined): Millis | null {
  return header !== undefined && /^\d{1,9}$/.test(header)
    ? seconds(Math.min(Number(header), LONGEST_RETRY_AFTER))
    : null;
}

interface Told {
  readonly reason: string | null;
  readonly message: string;
  readonly causes: readonly string[];
}

/** Fields of a `v1.Status`, as far as the body is one. */
function statusOf(body: unknown): Told {
  const [reason, message] = [own(body, "reason"), own(body, "message")];
  const causes = own(own(body, "details"), "causes");
  return {
    reason: typeof reason === "string" && /^[A-Za-z]{1,64}$/.test(reason) ? reason : null,
    message: typeof message === "string" ? message : "",
    causes: Array.isArray(causes) ? causes.slice(0, 16).flatMap(reasonOf) : [],
  };
}

function reasonOf(cause: unknown): readonly string[] {
  const reason = own(cause, "reason");
  return typeof reason === "string" ? [reason.slice(0, 64)] : [];
}

function own(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined;
}

/** A KubeError of these kinds; what is none stays a KubeError for the compiler. */
type OfKind<K extends KubeErrorKind> = KubeError & { readonly kind: K };

export const isKind = <K extends KubeErrorKind>(error: unknown, ...kinds: readonly K[]): error is OfKind<K> =>
  error instanceof KubeError && (kinds as readonly KubeErrorKind[]).includes(error.kind);

/** Somebody else wrote in between: read, decide again. */
export const isConflict = (error: unknown): error is OfKind<"Conflict"> => isKind(error, "Conflict");
export const isAlreadyExists = (error: unknown): error is OfKind<"AlreadyExists"> => isKind(error, "AlreadyExists");
export const isNotFound = (error: unknown): error is OfKind<"NotFound"> => isKind(error, "NotFound");
export const isGone = (error: unknown): error is OfKind<"Gone"> => isKind(error, "Gone");
export const isInvalid = (error: unknown): error is OfKind<"Invalid"> => isKind(error, "Invalid");
export const isForbidden = (error: unknown): error is OfKind<"Forbidden"> => isKind(error, "Forbidden");
/** Carried out or not, nobody knows: read before anything else. */
export const isAmbiguous = (error: unknown): error is OfKind<"Ambiguous"> => isKind(error, "Ambiguous");
/** Nothing was sent. */
export const isRefused = (error: unknown): error is OfKind<"Refused"> => isKind(error, "Refused");

const UNAVAILABLE = ["Refused", "Ambiguous", "Throttled", "Unauthorized", "BadAnswer"] as const;
/** The API server takes no requests of ours now: it is away, busy or does not know us. Waiting helps, nothing else does. */
export const isUnavailable = (error: unknown): error is OfKind<(typeof UNAVAILABLE)[number]> =>
  isKind(error, ...UNAVAILABLE);

/** A create that came too late: its namespace is going away. */
export const isNamespaceTerminating = (error: unknown): error is OfKind<"Forbidden"> =>
  isForbidden(error) && error.causes.includes("NamespaceTerminating");
