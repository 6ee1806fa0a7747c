import type { Backoff } from "../lib/backoff.ts";
import type { FailureType } from "../lib/failures.ts";
import type { Fence } from "../lib/fence.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import type { Instant, Millis } from "../lib/time.ts";
import type { Phase, StageState } from "./phase.ts";
import type { WaitingReason } from "./reasons.ts";

/** Written into every status; a status with a greater one is never touched (S30). */
export const PROTOCOL_VERSION = 1;
/** A claim lives this much longer than its attempt (protocol.md, The three steps). */
export const CLAIM_GRACE = 5000 as Millis;

export type Direction = "Forward" | "Back";

export interface DeployUnit {
  readonly id: number;
  readonly name: string;
  readonly version: number;
}
export interface Endpoint {
  readonly key: string;
  readonly host: string;
  readonly port: number;
}
/** One colour's way of serving the tenant. */
export interface Placement {
  readonly deployUnit: DeployUnit;
  readonly endpoints: readonly Endpoint[];
  readonly parameters: Readonly<Record<string, string>>;
  readonly default: boolean;
}
export interface TaskRef {
  readonly name: string;
  readonly uid: string;
}
export interface Previous extends Placement {
  readonly planVersion: number;
  /** The task that brought the tenant there; null where nobody knows. */
  readonly task: TaskRef | null;
}

export interface Retry {
  readonly maxAttempts: number;
  readonly backoff: Backoff;
}
export interface StageSpec {
  readonly name: string;
  readonly kind: string;
  readonly config: JsonObject;
  readonly timeout: Millis | null;
  readonly attemptTimeout: Millis | null;
  readonly instanceTimeout: Millis | null;
  readonly retry: Partial<Retry> | null;
  readonly onDrift: "Hold" | "Overwrite" | "Keep";
}
export interface TaskSpec {
  readonly tenantId: string;
  readonly executionUnit: string | null;
  readonly plan: { readonly id: number; readonly version: number };
  readonly target: Placement;
  readonly previous: Previous | null;
  readonly requestedBy: string | null;
  readonly serviceAccountName: string | null;
  readonly stages: readonly StageSpec[];
  readonly onFailure: "Hold" | "Rollback";
  readonly retry: Partial<Retry> | null;
  readonly progressDeadline: Millis | null;
  readonly rollbackWindow: Millis;
  readonly deletionPolicy: "Rollback" | "Abandon" | "Block";
  readonly ttlAfterFinished: Millis | null;
  readonly dryRun: boolean;
}

export interface Approval {
  readonly decision: "Approve" | "Reject";
  readonly comment: string | null;
  readonly expect: string | null;
}
export interface Control {
  readonly paused: boolean | null;
  readonly rollback: boolean;
  readonly cancel: boolean;
  readonly retry: number | null;
  readonly approvals: Readonly<Record<string, Readonly<Record<string, Approval>>>>;
  readonly skip: Readonly<Record<string, { readonly by: string; readonly reason: string }>>;
}
export type CommandField = "paused" | "rollback" | "cancel" | "retry" | "approvals" | "skip";
export interface Answer {
  readonly value: string;
  readonly result: "Accepted" | "Done" | "Rejected" | "Superseded";
  readonly reason: string | null;
  readonly at: Instant;
}

export interface Claim {
  readonly nonce: string;
  readonly by: string;
  readonly at: Instant;
  /** null for reads and gates, which may take as long as they need. */
  readonly until: Instant | null;
}
export interface Drift {
  readonly keys: readonly string[];
  readonly digests: { readonly before: string | null; readonly ours: string | null; readonly now: string | null };
}
export type Outputs = Readonly<Record<string, Json>>;

/** The journal of one stage; an entry appears with its first claim or skip and is never taken out. */
export interface StageEntry {
  readonly name: string;
  readonly state: StageState;
  /** Every attempt of every operation of this stage. */
  readonly attempts: number;
  /** Attempts that no longer count toward maxAttempts: earlier operations, before a person's retry, take-overs. */
  readonly attemptsBefore: number;
  /** seq of its last claim; 0 where it was skipped without one. */
  readonly seq: number;
  readonly startedAt: Instant | null;
  readonly finishedAt: Instant | null;
  /** Its timeout counts from here; null: from startedAt. Moves with pauses and with a person's retry. */
  readonly since: Instant | null;
  /** Gates: time that passed under earlier claims. */
  readonly ran: Millis;
  readonly claim: Claim | null;
  /** The part of the undo that the present or last claim is for; null while forward. */
  readonly part: string | null;
  /** Parts whose undo has settled. */
  readonly undone: readonly string[];
  readonly outcome: "Unknown" | null;
  /** Indexes into `Status.instances`. */
  readonly audience: readonly number[];
  readonly acked: readonly number[];
  readonly failures: readonly { readonly i: number; readonly code: string }[];
  readonly retryAt: Instant | null;
  /** Until then something sent without a fence may still arrive (protocol.md, Receivers that cannot check a fence). */
  readonly quietUntil: Instant | null;
  readonly outputs: Outputs | null;
  readonly drift: Drift | null;
  /** Approvals that stood before the stage waited, user → digest: they never count (SEC-13). */
  readonly preset: Readonly<Record<string, string>>;
  readonly skipped: { readonly by: string; readonly reason: string } | null;
}

export interface EffectiveDefaults {
  readonly timeout: Millis;
  readonly attemptTimeout: Millis;
  readonly instanceTimeout: Millis;
  readonly retry: Retry;
}
export interface FrozenPlan {
  readonly digest: string;
  readonly frozenAt: Instant;
  readonly previous: Previous | null;
  readonly effective: EffectiveDefaults;
  /** Stages whose receivers check no fence: what the undo does about it follows from the plan, not from later settings (S14). */
  readonly unfenced: readonly string[];
}
export interface Preview {
  readonly stages: readonly { readonly stage: string; readonly does: string }[];
  readonly undo: readonly { readonly stage: string; readonly part: string; readonly does: string }[];
  readonly warnings: readonly string[];
}

export interface Waiting {
  readonly reason: WaitingReason;
  readonly message: string;
  readonly since: Instant;
  readonly until: Instant | null;
  readonly unblock: string;
}
export interface TaskFailure {
  readonly type: FailureType;
  readonly code: string;
  readonly stage: string | null;
  readonly message: string;
  readonly retryable: boolean;
  readonly at: Instant;
}
export interface HistoryEntry {
  readonly from: Phase | null;
  readonly to: Phase;
  readonly at: Instant;
  readonly reason: string;
}
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: Instant;
}

export interface Status {
  readonly observedGeneration: number;
  readonly phase: Phase;
  readonly direction: Direction;
  readonly protocolVersion: number;
  readonly startedAt: Instant | null;
  readonly finishedAt: Instant | null;
  /** When progressDeadline strikes; moves with everything that counts toward no timeout. */
  readonly deadline: Instant | null;
  readonly plan: FrozenPlan | null;
  readonly preview: Preview | null;
  readonly epoch: number;
  readonly seq: number;
  readonly instances: readonly string[];
  readonly stages: readonly StageEntry[];
  readonly waiting: Waiting | null;
  readonly commands: Readonly<Partial<Record<CommandField, Answer>>>;
  readonly retried: number;
  readonly pausedFor: Millis;
  readonly abandoned: { readonly by: string; readonly reason: string; readonly at: Instant } | null;
  readonly failure: TaskFailure | null;
  /** What turned the task back: decides between RolledBack and Cancelled at the end. */
  readonly turnedBackBy: TurnCause | null;
  readonly issues: readonly Issue[];
  readonly history: readonly HistoryEntry[];
  readonly eventSequence: number;
  readonly conditions: readonly Condition[];
}
export type TurnCause = "Rollback" | "Cancel" | "Deletion" | "Failure";

export interface Issue {
  readonly severity: "error" | "warning";
  readonly path: string;
  readonly value: string;
  readonly message: string;
}

export interface Holder {
  readonly task: string;
  readonly uid: string;
  readonly unit: string | null;
  readonly direction: Direction;
  readonly since: Instant;
}
export interface Current extends Placement {
  readonly planVersion: number;
  readonly since: Instant;
  readonly task: TaskRef | null;
  /** Whether the task that brought the tenant here may still be rolled back: records nest one level. */
  readonly restorable: boolean;
}
export interface Execution {
  readonly identity: string;
  readonly uid: string;
  readonly outcome: Phase;
  readonly at: Instant;
}
export interface TenantStatus {
  readonly current: Current | null;
  readonly unknown: { readonly since: Instant; readonly by: string } | null;
  readonly diverged: { readonly reason: string; readonly since: Instant } | null;
  readonly holder: Holder | null;
  readonly epoch: number;
  readonly fence: Fence;
  readonly executions: readonly Execution[];
  readonly released: Answer | null;
}
