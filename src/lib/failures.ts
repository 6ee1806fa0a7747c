/** Failure types of `status.failure.type` (api.md). An unknown outcome is not a type: it is `outcome: Unknown`. */
export const FAILURE_TYPES = [
  "Validation",
  "Network",
  "Timeout",
  "Unavailable",
  "Rejected",
  "Conflict",
  "Fenced",
  "Business",
  "Permission",
  "System",
] as const;
export type FailureType = (typeof FAILURE_TYPES)[number];

export interface Failure {
  readonly type: FailureType;
  /** Whether the same attempt may succeed later without anybody doing anything. */
  readonly retryable: boolean;
  /** What happened; `{name}` is filled from the facts. */
  readonly says: string;
  /** What a person does about it. */
  readonly todo: string;
}

/** Every failure once; codes are never renamed or reused. docs/errors.md is made from this. */
export const FAILURES = {
  // Nothing was sent: safe to try again.
  ConnectRefused: {
    type: "Network",
    retryable: true,
    says: "{endpoint}: {address} refused the connection",
    todo: "start the instance or correct its address",
  },
  DnsFailed: {
    type: "Network",
    retryable: true,
    says: "{endpoint}: the name of {address} does not resolve",
    todo: "correct the name or repair DNS",
  },
  ConnectTimeout: {
    type: "Network",
    retryable: true,
    says: "{endpoint}: no connection to {address} in time",
    todo: "check the network path and the instance",
  },
  TlsFailed: {
    type: "Network",
    retryable: false,
    says: "{endpoint}: TLS with {address} failed ({reason})",
    todo: "correct the certificate or the tls settings of the endpoint",
  },
  ReceiverBusy: {
    type: "Unavailable",
    retryable: true,
    says: "{endpoint}: {address} answered {status}",
    todo: "wait until the instance takes requests again",
  },
  NoInstances: {
    type: "Unavailable",
    retryable: true,
    says: "no instance to call; looked in {sources}",
    todo: "add instances to the target or addresses to the endpoint",
  },
  EndpointUnavailable: {
    type: "Unavailable",
    retryable: true,
    says: "endpoint {endpoint} is not in the operator's settings",
    todo: "add the endpoint to the settings or correct its name",
  },
  ClaimExpired: {
    type: "Timeout",
    retryable: true,
    says: "the claim of stage {stage} ran out before anything was sent",
    todo: "nothing: the next claim sends it",
  },
  // Sent, and nobody knows.
  AnswerLost: {
    type: "Timeout",
    retryable: true,
    says: "{endpoint}: {address} was sent the request and gave no whole answer",
    todo: "nothing: the outcome is probed before anything else",
  },
  HttpTimeout: {
    type: "Timeout",
    retryable: true,
    says: "{endpoint}: {address} did not answer within {timeout}",
    todo: "nothing: the outcome is probed before anything else",
  },
  ServerError: {
    type: "Unavailable",
    retryable: true,
    says: "{endpoint}: {address} answered {status}",
    todo: "see the log of the instance; the outcome is probed before anything else",
  },
  ActInterrupted: {
    type: "System",
    retryable: true,
    says: "stage {stage}: none of its attempts was answered, and its receivers say that none took effect",
    todo: "see why they did not answer, then retry",
  },
  OutcomeUnknown: {
    type: "System",
    retryable: false,
    says: "nobody knows whether stage {stage} took effect, and its kind cannot ask",
    todo: "look at the receiver, then retry (the request is sent again) or roll back",
  },
  ProbeFailed: {
    type: "Unavailable",
    retryable: true,
    says: "{endpoint}: cannot read what is in force at {address}",
    todo: "make the instance readable; the outcome stays unknown until then",
  },
  // The other side said no.
  HttpRejected: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint}: {address} answered {status}",
    todo: "see the log of the instance, then retry",
  },
  Unauthorized: {
    type: "Permission",
    retryable: false,
    says: "{endpoint}: {address} answered {status} to our credentials",
    todo: "correct the credentials of the endpoint, then retry",
  },
  Redirected: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint}: {address} answered a redirect ({status}), which is never followed",
    todo: "configure the final address",
  },
  NotJson: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint}: {address} promised JSON and sent something else ({bytes} bytes)",
    todo: "correct the receiver or the path, then retry",
  },
  AnswerTooLarge: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint}: the answer of {address} exceeds {limit} bytes",
    todo: "make the receiver answer less, then retry",
  },
  RequestTooLarge: {
    type: "Validation",
    retryable: false,
    says: "{endpoint}: the request has {bytes} bytes, more than {limit}",
    todo: "send less",
  },
  AnswerDiffers: {
    type: "Business",
    retryable: false,
    says: "{endpoint}: {address} answered 2xx, but {pointer} is not as demanded",
    todo: "see the log of the instance, then retry",
  },
  FailListNotEmpty: {
    type: "Business",
    retryable: false,
    says: "{endpoint}: {address} lists failures at {pointer}",
    todo: "see the log of the instance, then retry",
  },
  ContentDiffers: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {address} holds other content under the same operation",
    todo: "see who wrote it, then roll back",
  },
  ForeignOperation: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {address} has an operation in force that is neither ours nor the one before",
    todo: "see who wrote it, put it back, then retry",
  },
  Fenced: {
    type: "Fenced",
    retryable: false,
    says: "{endpoint}: {address} has seen the newer fence {seen}",
    todo: "nothing if another operator took over; otherwise release the tenant with a higher fence",
  },
  Diverged: {
    type: "Fenced",
    retryable: false,
    says: "{endpoint}: {address} has seen {seen}, which this cluster's history does not know",
    todo: "compare with the backup that was restored, then release the tenant",
  },
  EgressDenied: {
    type: "Permission",
    retryable: false,
    says: "endpoint {endpoint} does not allow this destination ({rule})",
    todo: "ask the platform team to widen the endpoint's policy",
  },
  SecretUnreadable: {
    type: "Permission",
    retryable: false,
    says: "a credential of endpoint {endpoint} cannot be read ({reason})",
    todo: "mount the secret where the settings say, then retry",
  },
  // Redis.
  RedisWrongType: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {key} holds another type",
    todo: "delete or rename what is there, then retry",
  },
  RedisDenied: {
    type: "Permission",
    retryable: false,
    says: "{endpoint} answered {reply} for {key}",
    todo: "correct the credentials or the ACL, then retry",
  },
  RedisBusy: {
    type: "Unavailable",
    retryable: true,
    says: "{endpoint} answered {reply}",
    todo: "wait until the server takes writes again",
  },
  RedisEvicts: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint} may evict records (maxmemory-policy {policy})",
    todo: "set maxmemory-policy noeviction or volatile-*, then retry",
  },
  RedisRefused: {
    type: "Rejected",
    retryable: false,
    says: "{endpoint} answered {reply} for {key}",
    todo: "see its log, then retry",
  },
  ReadBackDiffers: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {key} does not hold what was just written",
    todo: "see who else writes it, then retry",
  },
  ForeignEdit: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {key} was changed by others",
    todo: "put {key} back, then retry",
  },
  ForeignRecord: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: {key} is kept for another tenant ({owner})",
    todo: "give each tenant its own key, then retry",
  },
  RecordMissing: {
    type: "Conflict",
    retryable: false,
    says: "{endpoint}: the record beside {key} is gone",
    todo: "restore {key} by hand, then skip or release",
  },
  // Stages and tasks.
  VersionsLate: {
    type: "Timeout",
    retryable: true,
    says: "{late} of {total} instances do not report version {version}; last answers: {answers}",
    todo: "see why they lag, then retry",
  },
  UnitDiffers: {
    type: "Business",
    retryable: true,
    says: "{late} of {total} instances report another deploy unit",
    todo: "see which unit they serve, then retry",
  },
  StageTimeout: {
    type: "Timeout",
    retryable: true,
    says: "stage {stage} did not finish within {timeout}",
    todo: "see what it waited for, then retry",
  },
  ProgressDeadline: {
    type: "Timeout",
    retryable: true,
    says: "the task did not finish within its progressDeadline {deadline}",
    todo: "retry or roll back",
  },
  ApprovalRejected: {
    type: "Rejected",
    retryable: false,
    says: "{user} rejected stage {stage}",
    todo: "roll back, or retry to ask again",
  },
  ApprovalExpired: {
    type: "Timeout",
    retryable: false,
    says: "nobody approved stage {stage} within {expires}",
    todo: "retry to ask again",
  },
  InvalidSpec: {
    type: "Validation",
    retryable: false,
    says: "{path}: {message}{others}",
    todo: "nothing was switched: delete this task and create a corrected one",
  },
  CannotRender: {
    type: "Validation",
    retryable: false,
    says: "stage {stage} no longer renders: {path}: {message}",
    todo: "take back what changed since the plan was frozen, in the operator's settings or in an earlier stage's outputs, then retry; or roll back",
  },
  PreviousMoved: {
    type: "Validation",
    retryable: false,
    says: "spec.previous says {stated}, but the tenant is served by {actual}",
    todo: "nothing was switched: delete this task and create one whose previous matches, or without previous",
  },
  PreviousUnknown: {
    type: "Validation",
    retryable: false,
    says: "nobody knows where tenant {tenant} is now",
    todo: "nothing was switched: find out which unit serves it, delete this task and create one that states spec.previous",
  },
  PlanChanged: {
    type: "System",
    retryable: false,
    says: "the plan no longer has the digest it was frozen with",
    todo: "report this; release the tenant after comparing spec and status",
  },
  IllegalTransition: {
    type: "System",
    retryable: false,
    says: "{from} may not become {to}",
    todo: "report this with the task's status",
  },
  CheckpointFailed: {
    type: "System",
    retryable: true,
    says: "the status of {task} could not be stored",
    todo: "nothing: no further effect happens until it can",
  },
  TaskNotFound: {
    type: "Validation",
    retryable: false,
    says: "there is no task {task}",
    todo: "see kubectl get swt -A",
  },
  Permission: {
    type: "Permission",
    retryable: false,
    says: "the API server refuses {verb} {resource}",
    todo: "grant it to the operator's account",
  },
  ApiUnavailable: {
    type: "Unavailable",
    retryable: true,
    says: "the API server does not answer ({reason})",
    todo: "wait: no effect happens until it does",
  },
  Internal: {
    type: "System",
    retryable: true,
    says: "the operator hit a bug ({reason})",
    todo: "report this with the operator's log",
  },
} as const satisfies Readonly<Record<string, Failure>>;
export type FailureCode = keyof typeof FAILURES;

type Names<S extends string> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;
/** What the message of a code names and therefore must be given. */
export type Facts<C extends FailureCode> = Readonly<
  Record<Names<(typeof FAILURES)[C]["says"] | (typeof FAILURES)[C]["todo"]>, string>
>;

const fill = (text: string, facts: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => (facts[name] ?? "?").slice(0, 120));

/** `says`, filled. At most 512 characters. */
export function describe<C extends FailureCode>(code: C, facts: Facts<C>): string {
  return fill(FAILURES[code].says, facts).slice(0, 512);
}

/** `todo`, filled. */
export function remedy<C extends FailureCode>(code: C, facts: Facts<C>): string {
  return fill(FAILURES[code].todo, facts).slice(0, 256);
}

/** A failure as data: what an outcome carries and the status keeps. Holds no library text, body or address beyond the configured one. */
export interface Fault {
  readonly code: FailureCode;
  readonly message: string;
  readonly remedy: string;
}

export function fault<C extends FailureCode>(code: C, facts: Facts<C>): Fault {
  return { code, message: describe(code, facts), remedy: remedy(code, facts) };
}
