import { fault } from "../../src/lib/failures.ts";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import type { StageEntry, Status } from "../../src/domain/stored.ts";
import type { Act, Found, Outcome, TaskView } from "../../src/domain/task.ts";
import { type About, actOf, after, aTask, at, NOON } from "../support/build.ts";
import type { KindName } from "../support/domain-kinds.ts";

const LOST = fault("HttpTimeout", { endpoint: "receivers", address: "10.0.1.1:80", timeout: "3s" });
export const REFUSED = fault("ConnectRefused", { endpoint: "receivers", address: "10.0.1.1:80" });
export const REJECTED = fault("HttpRejected", { endpoint: "receivers", address: "10.0.1.1:80", status: "400" });

export const DONE = { is: "done", outputs: { version: 42 } } satisfies Outcome;
export const UNKNOWN = { is: "unknown", fault: LOST } satisfies Outcome;
export const RETRYABLE = { is: "retryable", fault: REFUSED, after: null } satisfies Outcome;
export const TERMINAL = { is: "terminal", fault: REJECTED } satisfies Outcome;

export interface Case {
  readonly kind?: KindName;
  /** The journal of the stage before this claim. */
  readonly entry?: Partial<StageEntry>;
  readonly back?: boolean;
  readonly about?: About;
}

/** A claim of stage `one`, stored and its outcome in hand. */
export function claimed({ kind = "tell", entry = {}, back = false, about = {} }: Case = {}): {
  view: TaskView;
  act: Act;
} {
  const before = aTask({
    phase: back ? "RollingBack" : "Running",
    pipeline: { one: kind },
    stages: { one: { state: back ? "Completed" : "Running", attempts: 0, seq: back ? 1 : 0, ...entry } },
    ...about,
  });
  const decision = decide(before, NOON);
  return { view: after(before, decision), act: actOf(decision) };
}

export const settled = (about: Case, outcome: Outcome | Found): Status => {
  const { view, act } = claimed(about);
  return settle(view, act, outcome, at(2));
};
