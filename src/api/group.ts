// api: the wire. zod schemas, from which types and CRDs come, and the translation between objects and domain's plain data.
// Imports lib and domain only; never talks to a server.

export const GROUP = "turnout.dev";
export const VERSION = "v1alpha1";
export const API_VERSION = `${GROUP}/${VERSION}`;

export const SWITCH_TASKS = {
  group: GROUP,
  version: VERSION,
  plural: "switchtasks",
  kind: "SwitchTask",
  namespaced: true,
} as const;
export const TENANT_STATES = {
  group: GROUP,
  version: VERSION,
  plural: "tenantstates",
  kind: "TenantState",
  namespaced: true,
} as const;
export const EXECUTION_UNITS = {
  group: GROUP,
  version: VERSION,
  plural: "executionunits",
  kind: "ExecutionUnit",
  namespaced: true,
} as const;

export const FINALIZER = "turnout.dev/hold";
/** On every task that is over: it leaves the operator's watch (api.md, What the operator watches). */
export const DONE_LABEL = "turnout.dev/done";
export const UNIT_LABEL = "turnout.dev/unit";
export const PLAN_LABEL = "turnout.dev/plan-id";
/** Any new text on a new object makes it another execution (api.md, Replay). */
export const RERUN_ANNOTATION = "turnout.dev/rerun";
export const SEQUENCE_ANNOTATION = "turnout.dev/sequence";

export const OPERATOR_NAMESPACE = "turnout-system";
export const OPERATOR_ACCOUNT = "turnout";
export const OPERATOR_USER = `system:serviceaccount:${OPERATOR_NAMESPACE}:${OPERATOR_ACCOUNT}`;
export const LEASE_NAME = "turnout";
