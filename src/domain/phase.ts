// domain: policy as pure functions over plain data; everything comes in, one decision or status comes out.
// No clock, randomness, environment, package or node built-in; imports lib only.

const arrows = <const T extends { readonly [P in keyof T]: readonly (keyof T)[] }>(table: T): T => table;

/** Every phase and every arrow (api.md, Phases). An arrow to a phase without a row does not compile. */
export const TRANSITIONS = arrows({
  Created: ["Validating"],
  Validating: ["ValidationFailed", "Pending", "Completed", "Cancelled"],
  Pending: ["Running", "Paused", "ValidationFailed", "RollingBack", "Cancelled"],
  Running: ["Paused", "Completed", "Failed", "RollingBack", "Cancelled"],
  Paused: ["Resuming", "RollingBack", "Cancelled"],
  Resuming: ["Pending", "Running", "Paused", "Failed", "RollingBack", "Cancelled"],
  Failed: ["Running", "RollingBack", "Cancelled"],
  Completed: ["RollingBack"],
  RollingBack: ["RolledBack", "RollbackFailed", "Cancelled"],
  RollbackFailed: ["RollingBack", "Cancelled"],
  ValidationFailed: [],
  RolledBack: [],
  Cancelled: [],
});
export type Phase = keyof typeof TRANSITIONS;
export const PHASES = Object.keys(TRANSITIONS) as readonly Phase[];

type None<T extends never> = T;
/** Compiles only while every phase but the first can be entered. */
export type Unreachable = None<Exclude<Phase, "Created" | (typeof TRANSITIONS)[Phase][number]>>;

export function mayEnter(from: Phase, to: Phase): boolean {
  const targets: readonly Phase[] = TRANSITIONS[from];
  return targets.includes(to);
}

/** Nothing follows, except a rollback of Completed inside its window. Failed and RollbackFailed are rests: they keep the tenant. */
export const isTerminal = (phase: Phase): boolean =>
  phase === "Completed" || phase === "RolledBack" || phase === "Cancelled" || phase === "ValidationFailed";
export const isFailure = (phase: Phase): boolean =>
  phase === "Failed" || phase === "RollbackFailed" || phase === "ValidationFailed";
export const canPause = (phase: Phase): boolean => mayEnter(phase, "Paused");
export const canResume = (phase: Phase): boolean => phase === "Paused";
export const canRetry = (phase: Phase): boolean => phase === "Failed" || phase === "RollbackFailed";
/** A rollback may begin here at once. In Created and Validating it is taken up in Pending; Completed adds conditions of its own. */
export const canRollback = (phase: Phase): boolean => phase !== "RollbackFailed" && mayEnter(phase, "RollingBack");

/** States of one stage and the edges between consecutive stored versions (api.md, Status). */
export const STAGE_EDGES = arrows({
  Pending: ["Running", "Skipped", "RollingBack"],
  Running: ["Running", "Completed", "Failed", "Skipped", "RollingBack"],
  Failed: ["Running", "Skipped", "RollingBack"],
  Completed: ["RollingBack"],
  Skipped: ["RollingBack"],
  RollingBack: ["RollingBack", "RolledBack"],
  RolledBack: [],
});
export type StageState = keyof typeof STAGE_EDGES;
export const STAGE_STATES = Object.keys(STAGE_EDGES) as readonly StageState[];

export function stageMayBecome(from: StageState, to: StageState): boolean {
  const targets: readonly StageState[] = STAGE_EDGES[from];
  return targets.includes(to);
}
