/** Who ends the wait. */
type Actor = "operator" | "person" | "other task" | "time";

interface WaitingFact {
  readonly actor: Actor;
  /** Whether the time spent counts toward progressDeadline and stage timeouts (protocol.md, Decide and settle). */
  readonly counts: boolean;
  /** What ends the wait: a command with {name}, {namespace}, {stage}, {tenant} to fill in, or plain words. */
  readonly unblock: string;
}

const patchTask = (control: string): string =>
  `kubectl patch swt {name} -n {namespace} --type=merge -p '{"spec":{"control":${control}}}'`;

/** Every reason of `status.waiting.reason`, once. */
export const WAITING = {
  WaitingForLock: {
    actor: "other task",
    counts: false,
    unblock: "kubectl get swt -n {namespace} --field-selector spec.tenantId={tenant}",
  },
  WaitingForAdmission: {
    actor: "other task",
    counts: false,
    unblock: "wait until one of the others is over: kubectl get swt -n {namespace}",
  },
  UnitUnavailable: {
    actor: "person",
    counts: false,
    unblock: "create the ExecutionUnit that the task names, or create the task without executionUnit",
  },
  OutsideWindow: { actor: "time", counts: false, unblock: "wait for the window" },
  BackingOff: { actor: "time", counts: true, unblock: "wait, or roll back: " + patchTask('{"rollback":true}') },
  Paused: { actor: "person", counts: false, unblock: patchTask('{"paused":false}') },
  AwaitingApproval: {
    actor: "person",
    counts: false,
    unblock: patchTask('{"approvals":{"{stage}":{"YOU":{"decision":"Approve","expect":"{expect}"}}}}'),
  },
  AwaitingVersions: {
    actor: "operator",
    counts: true,
    unblock: "see why the instances lag, or roll back: " + patchTask('{"rollback":true}'),
  },
  Waiting: {
    actor: "time",
    counts: true,
    unblock: "wait, or skip: " + patchTask('{"skip":{"{stage}":{"by":"YOU","reason":"WHY"}}}'),
  },
  UnknownOutcome: {
    actor: "operator",
    counts: true,
    unblock: "make the receiver readable; or roll back: " + patchTask('{"rollback":true}'),
  },
  Conflict: { actor: "person", counts: false, unblock: "put the value back, then " + patchTask('{"retry":{retry}}') },
  Quiescing: {
    actor: "time",
    counts: false,
    unblock: "wait: a receiver without fences must have seen everything that was sent",
  },
  EndpointUnavailable: { actor: "person", counts: false, unblock: "add the endpoint to the operator's settings" },
  PermissionMissing: {
    actor: "person",
    counts: false,
    unblock: "give the operator's account that right: kubectl apply --server-side -f deployment/install/",
  },
  AdmissionPolicyMissing: { actor: "person", counts: false, unblock: "kubectl apply --server-side -f admission/" },
  Diverged: {
    actor: "person",
    counts: false,
    unblock: `see what the receivers hold, then give the tenant free: kubectl patch tstate {tenantState} -n {namespace} --type=merge -p '{"spec":{"forceRelease":{"epoch":{epoch},"by":"YOU","reason":"WHY"}}}'`,
  },
} as const satisfies Readonly<Record<string, WaitingFact>>;
export type WaitingReason = keyof typeof WAITING;
export const WAITING_REASONS = Object.keys(WAITING) as readonly WaitingReason[];

/** Fills the way out with names. Unknown braces stay as they are, since the commands hold JSON. */
export function unblock(reason: WaitingReason, facts: Readonly<Record<string, string>>): string {
  return filled(WAITING[reason].unblock, facts).slice(0, 512);
}

/** The same where the record to release is gone: it is made again, with the release in it. */
export const remake = (facts: Readonly<Record<"tenantState" | "namespace" | "tenant" | "epoch", string>>): string =>
  filled(REMAKE, facts);

const REMAKE = `see what the receivers hold, then give the tenant free: echo '{"apiVersion":"turnout.dev/v1alpha1","kind":"TenantState","metadata":{"name":"{tenantState}","namespace":"{namespace}","finalizers":["turnout.dev/hold"]},"spec":{"tenantId":"{tenant}","forceRelease":{"epoch":{epoch},"by":"YOU","reason":"WHY"}}}' | kubectl create -f -`;

const filled = (text: string, facts: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\{([a-zA-Z]+)\}/g, (whole, name: string) => facts[name] ?? whole);

/** What a person types at a failed stage, or a failed undo, once its cause is gone. */
export const retryCommand = (facts: Readonly<Record<"name" | "namespace" | "retry", string>>): string =>
  filled(patchTask('{"retry":{retry}}'), facts);

/** Severity of an Event of that reason, and what is dropped first under load (api.md, Events). */
export const EVENTS = {
  Created: { type: "Normal", importance: "normal" },
  Validated: { type: "Normal", importance: "normal" },
  ValidationFailed: { type: "Warning", importance: "terminal" },
  Started: { type: "Normal", importance: "normal" },
  Progress: { type: "Normal", importance: "droppable" },
  StageCompleted: { type: "Normal", importance: "droppable" },
  StageFailed: { type: "Warning", importance: "normal" },
  Paused: { type: "Normal", importance: "normal" },
  Resumed: { type: "Normal", importance: "normal" },
  Failed: { type: "Warning", importance: "terminal" },
  Completed: { type: "Normal", importance: "terminal" },
  RollingBack: { type: "Normal", importance: "normal" },
  RolledBack: { type: "Normal", importance: "terminal" },
  RollbackFailed: { type: "Warning", importance: "terminal" },
  Cancelled: { type: "Normal", importance: "terminal" },
} as const satisfies Readonly<
  Record<string, { readonly type: "Normal" | "Warning"; readonly importance: "terminal" | "normal" | "droppable" }>
>;
export type EventReason = keyof typeof EVENTS;

/** Why a phase was entered: reasons of `status.history` and of the decisions that `explain` shows. */
export const BECAUSE = [
  "TaskSeen",
  "SpecValid",
  "SpecInvalid",
  "DryRun",
  "AlreadyExecuted",
  "Replay",
  "PreviousMoved",
  "PreviousUnknown",
  "LockTaken",
  "LockFree",
  "Claimed",
  "StageSettled",
  "AllStagesSettled",
  "StageFailed",
  "ProgressDeadline",
  "StageTimeout",
  "PauseAsked",
  "ResumeAsked",
  "Resumed",
  "RetryAsked",
  "SkipAsked",
  "RollbackAsked",
  "CancelAsked",
  "DeletionAsked",
  "FailureRollsBack",
  "NothingClaimed",
  "AllUndone",
  "UndoFailed",
  "Abandoned",
  "TakeOver",
  "Poll",
  "TenantReleased",
  "Finished",
  "NothingToDo",
  "CommandAnswered",
  "HoldFinalizer",
  "TenantUnknown",
  "MustReadTenant",
  "EventsPending",
  "ClaimantMayLive",
  "NewerProtocol",
] as const;
export type Because = (typeof BECAUSE)[number] | WaitingReason;
