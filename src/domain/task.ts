import type { Fault } from "../lib/failures.ts";
import type { Fence } from "../lib/fence.ts";
import type { Json } from "../lib/json.ts";
import type { Instant, Millis } from "../lib/time.ts";
import type { Phase } from "./phase.ts";
import type { PlanSettings, StagePlanner } from "./plan.ts";
import type { Because, WaitingReason } from "./reasons.ts";
import type {
  Answer,
  Approval,
  Control,
  Direction,
  Drift,
  Issue,
  Outputs,
  StageSpec,
  Status,
  TaskSpec,
  TenantStatus,
} from "./stored.ts";

/** The tenant's lock as this process knows it. */
export interface TenantView {
  readonly name: string;
  readonly exists: boolean;
  /** Read from the API server, or answered by it to our own write, during this reconcile (protocol.md, ◆ consistent read). */
  readonly fresh: boolean;
  readonly deleting: boolean;
  /** null: the object has no status yet, or lost it. */
  readonly status: TenantStatus | null;
}
/** Another task of the same tenant, from a consistent LIST. */
export interface Rival {
  readonly name: string;
  readonly uid: string;
  readonly phase: Phase | null;
  readonly finalizer: boolean;
  readonly fence: Fence;
}

/** What this process remembers of the claim it holds. */
export interface Mine {
  readonly nonce: string;
  /** Monotonic time since the claim was sent. */
  readonly elapsed: Millis;
  /** Monotonic time until the next poll; null: only when the object changes. */
  readonly waitLeft: Millis | null;
  readonly memo: Json;
}

export interface TaskView {
  readonly ref: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly generation: number;
  readonly deletedAt: Instant | null;
  readonly finalizer: boolean;
  readonly done: boolean;
  readonly rerun: string | null;
  /** null where the object does not decode; `issues` says why. */
  readonly spec: TaskSpec | null;
  readonly issues: readonly Issue[];
  readonly control: Control;
  /** As the API server holds it; null: there is none. */
  readonly stored: Status | null;
  /** As this process wants it: `stored` plus an outcome that is not stored yet. */
  readonly status: Status;
  readonly tenant: TenantView;
  /** null: not listed in this reconcile. */
  readonly rivals: readonly Rival[] | null;
  readonly settings: PlanSettings;
  readonly kinds: Readonly<Record<string, StagePlanner>>;
  readonly mine: Mine | null;
  /** Supplied afresh for every decision. `jitter` is uniform in [0, 1). */
  readonly self: { readonly by: string; readonly nonce: string; readonly jitter: number };
  /** Monotonic time since this process first saw the open claim that is not its own. */
  readonly claimSeenFor: Millis;
  /** The claimant's lease was seen to end, or is held again under the same identity. */
  readonly claimantGone: boolean;
  /** Monotonic: a version newer than the present one was seen before (S30). */
  readonly rewound: boolean;
  readonly namespaceTerminating: boolean;
  /** The admission policies that force names in approvals and skips are absent or do not deny (SEC-14). */
  readonly policiesMissing: boolean;
  /** Tasks of the namespace that hold a tenant, and how many may (SEC-40). */
  readonly crowd: { readonly holding: number; readonly most: number };
  /** Events of this task that must be out before the watch forgets it. */
  readonly eventsPending: boolean;
}

/** One attempt, as claimed. */
export interface Act {
  readonly stage: string;
  readonly kind: string;
  readonly does: "run" | "undo";
  readonly direction: Direction;
  readonly part: string | null;
  /** Ask first what is in force; `only`: and do nothing afterwards, the attempts are used up. */
  readonly probe: "no" | "first" | "only";
  /** What may follow an outcome that nobody knows: ask, send the same again, or wait for a person. */
  readonly recover: "probe" | "repeat" | "hold";
  readonly nonce: string;
  readonly seq: number;
  readonly opId: string;
  /** The forward operation, and whether it ever settled Completed. */
  readonly undoes: { readonly opId: string; readonly settled: boolean };
  readonly fence: Fence;
  readonly base: Fence;
  readonly inputs: Json;
  /** Addresses that have not acknowledged yet. */
  readonly addresses: readonly string[];
  readonly endpoint: string | null;
  readonly attemptTimeout: Millis | null;
  readonly instanceTimeout: Millis;
  /** Counted time of this stage before the present claim. */
  readonly ran: Millis;
  /** Counted age of the stage, for expiries. */
  readonly age: Millis;
  readonly onDrift: StageSpec["onDrift"];
  readonly approvals: Readonly<Record<string, Approval>>;
  readonly requestedBy: string | null;
  readonly policiesMissing: boolean;
  /** The plan's, for approvals that name it. */
  readonly digest: string;
  readonly memo: Json;
}

/** Which instances answered how; addresses, not indexes. */
export interface Reach {
  readonly acked: readonly string[];
  readonly failures: readonly { readonly address: string; readonly code: string }[];
}
export type Outcome =
  | { readonly is: "done"; readonly outputs: Outputs; readonly drift?: Drift; readonly answer?: ApprovalAnswer }
  | {
      readonly is: "waiting";
      readonly again: Millis | null;
      readonly reason: WaitingReason;
      readonly message: string;
      readonly memo: Json;
      readonly answer?: ApprovalAnswer;
    }
  | {
      readonly is: "retryable";
      readonly fault: Fault;
      readonly after: Millis | null;
      readonly reach?: Reach;
      readonly drift?: Drift;
    }
  | {
      readonly is: "terminal";
      readonly fault: Fault;
      readonly reach?: Reach;
      readonly drift?: Drift;
      readonly answer?: ApprovalAnswer;
    }
  | { readonly is: "unknown"; readonly fault: Fault; readonly reach?: Reach }
  | { readonly is: "fenced"; readonly fault: Fault }
  | { readonly is: "diverged"; readonly fault: Fault };
export type ApprovalAnswer = Pick<Answer, "result" | "reason">;

/** What a probe answers. */
export type Found =
  | { readonly is: "in-force"; readonly outputs: Outputs }
  | { readonly is: "not-in-force" }
  | { readonly is: "foreign"; readonly fault: Fault }
  | { readonly is: "unreadable"; readonly fault: Fault };

export type Decision =
  /** Nothing to do before `after` (null: before something changes). */
  | { readonly do: "sleep"; readonly after: Millis | null; readonly because: Because }
  | { readonly do: "write"; readonly status: Status; readonly because: Because }
  /** `status` holds the claim; null: a poll under a claim that is stored already. */
  | { readonly do: "act"; readonly status: Status | null; readonly act: Act; readonly because: Because }
  | { readonly do: "finalizer"; readonly because: Because }
  | { readonly do: "create-tenant"; readonly because: Because }
  | { readonly do: "lock"; readonly tenant: TenantStatus; readonly because: Because }
  | { readonly do: "release"; readonly tenant: TenantStatus; readonly because: Because }
  /** Finalizer off, label on: the watch forgets the task. */
  | { readonly do: "remove"; readonly because: Because }
  | { readonly do: "read"; readonly what: "tenant" | "rivals"; readonly because: Because }
  /** A status of a newer protocol: never written, only reported. */
  | { readonly do: "leave"; readonly because: Because };
