import type { Rule } from "./fields.ts";

const same = (path: string): string => `self.${path} == oldSelf.${path}`;

/**
 * One rule for the whole spec: a rule per property would let optional fields be added and removed, since it runs only where old and new
 * both have the field. Comparing optionals covers has() and value at once.
 */
export const immutableSpec = (fields: readonly string[]): Rule => ({
  rule: fields.map((field) => same(`?${field}`)).join(" && "),
  message: "spec is immutable but for control: create another task",
  reason: "FieldValueForbidden",
});

/** Latches: true once and for ever. At `spec`, because a rule at `control` does not run when control vanishes. */
export const LATCHES: readonly Rule[] = [
  {
    rule: "!oldSelf.?control.?rollback.hasValue() || self.?control.?rollback.hasValue()",
    message: "control.rollback cannot be taken back",
  },
  {
    rule: "!oldSelf.?control.?cancel.hasValue() || self.?control.?cancel.hasValue()",
    message: "control.cancel cannot be taken back",
  },
  {
    rule: "!oldSelf.?control.?retry.hasValue() || self.?control.?retry.orValue(oldSelf.control.retry) >= oldSelf.control.retry",
    message: "control.retry never falls: use a higher number",
  },
];
export const ONLY_TRUE: Rule = { rule: "self", message: "can only be true; leave it out instead of false" };

export const oneKind = (kinds: readonly string[]): Rule => ({
  rule: `[${kinds.map((kind) => `has(self.${kind})`).join(", ")}].filter(present, present).size() == 1`,
  message: `a stage sets exactly one of ${kinds.join(", ")}`,
});

export const UNIQUE_STAGES: Rule = {
  rule: "self.all(stage, self.exists_one(other, other.name == stage.name))",
  message: "stage names must be unique",
};

const BUT_ROLLBACK = ["paused", "cancel", "retry", "approvals", "skip"]
  .map((field) => same(`spec.?control.?${field}`))
  .join(" && ");

/** On terminal tasks a command would change nothing: refused at once, with words, except rollback on Completed. */
export const TERMINAL: readonly Rule[] = [
  {
    rule: `!(self.?status.?phase.orValue("") in ["RolledBack", "Cancelled", "ValidationFailed"]) || ${same("spec.?control")}`,
    message: "the task is over: commands change nothing any more",
    reason: "FieldValueForbidden",
    fieldPath: ".spec.control",
  },
  {
    rule: `self.?status.?phase.orValue("") != "Completed" || (${BUT_ROLLBACK})`,
    message: "the task is Completed: only rollback is accepted, within rollbackWindow",
    reason: "FieldValueForbidden",
    fieldPath: ".spec.control",
  },
];
