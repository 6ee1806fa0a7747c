import type { Rule } from "./fields.ts";

/** Comparing optionals (`self.?f`) would be shorter, but their sizes are unknown to the cost estimate, which then refuses the CRD. */
const same = (path: string): string =>
  `has(self.${path}) == has(oldSelf.${path}) && (!has(self.${path}) || self.${path} == oldSelf.${path})`;

/**
 * One rule for the whole spec: a rule per property would let optional fields be added and removed, since it runs only where old and new
 * both have the field.
 */
export const immutableSpec = (fields: readonly string[]): Rule => ({
  rule: fields.map((field) => same(field)).join(" && "),
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
  message: `set exactly one of ${kinds.join(", ")}`,
});

export const UNIQUE_STAGES: Rule = {
  // Each name is looked up once: comparing stage with stage would look up n² of them.
  rule: "[self.map(stage, stage.name)].all(names, names.all(name, names.exists_one(other, other == name)))",
  message: "stage names must be unique",
};

const CONTROL = "spec.control";
const BUT_ROLLBACK = ["paused", "cancel", "retry", "approvals", "skip"]
  .map((field) => {
    const given = (of: string): string => `has(${of}.${CONTROL}) && has(${of}.${CONTROL}.${field})`;
    return `((${given("self")}) == (${given("oldSelf")}) && (!(${given("self")}) || self.${CONTROL}.${field} == oldSelf.${CONTROL}.${field}))`;
  })
  .join(" && ");
const PHASE = "has(self.status) && has(self.status.phase)";

/** On terminal tasks a command would change nothing: refused at once, with words, except rollback on Completed. */
export const TERMINAL: readonly Rule[] = [
  {
    rule: `!(${PHASE} && self.status.phase in ["RolledBack", "Cancelled", "ValidationFailed"]) || (${same(CONTROL)})`,
    message: "the task is over: commands change nothing any more",
    reason: "FieldValueForbidden",
    fieldPath: ".spec.control",
  },
  {
    rule: `!(${PHASE} && self.status.phase == "Completed") || (${BUT_ROLLBACK})`,
    message: "the task is Completed: only rollback is accepted, within rollbackWindow",
    reason: "FieldValueForbidden",
    fieldPath: ".spec.control",
  },
];
