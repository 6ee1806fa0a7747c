import { DONE_LABEL, GROUP, OPERATOR_USER } from "./group.ts";

type Manifest = Readonly<Record<string, unknown>>;

/** Names of the policies and bindings that must be there and deny, else nothing vouches for names (SEC-14). */
export const REQUIRED_POLICIES = ["turnout-names", "turnout-releases"] as const;

interface Check {
  readonly expression: string;
  readonly message: string;
}
interface Policy {
  readonly name: string;
  readonly resource: "switchtasks" | "tenantstates";
  readonly variables: Readonly<Record<string, string>>;
  readonly checks: readonly Check[];
}

const CALLER = "request.userInfo.username";
const may = (verb: string, resource: string): string =>
  `authorizer.group("${GROUP}").resource("${resource}").namespace(request.namespace).name(request.name).check("${verb}").allowed()`;

/** A map of `control`, empty where there is none. `old` is null when an object is created. */
const control = (field: string): Readonly<Record<string, string>> => ({
  [field]: `object.?spec.?control.?${field}.orValue(dyn({}))`,
  [`${field}Before`]: `request.operation == "CREATE" ? dyn({}) : oldObject.?spec.?control.?${field}.orValue(dyn({}))`,
});

const NAMES: Policy = {
  name: "turnout-names",
  resource: "switchtasks",
  variables: {
    ...control("approvals"),
    ...control("skip"),
    changedStages:
      "variables.approvals.map(s, s).filter(s, !(s in variables.approvalsBefore) || variables.approvals[s] != variables.approvalsBefore[s])",
    changedSkips:
      "variables.skip.map(s, s).filter(s, !(s in variables.skipBefore) || variables.skip[s] != variables.skipBefore[s])",
    label: `object.?metadata.?labels[?"${DONE_LABEL}"].orValue("")`,
    labelBefore: `request.operation == "CREATE" ? "" : oldObject.?metadata.?labels[?"${DONE_LABEL}"].orValue("")`,
  },
  checks: [
    {
      expression: 'request.operation != "CREATE" || (variables.approvals.size() == 0 && variables.skip.size() == 0)',
      message: "a task is created without approvals and skips: they answer a stage that waits",
    },
    {
      expression: `request.operation != "CREATE" || !has(object.spec.requestedBy) || object.spec.requestedBy == ${CALLER}`,
      message: "spec.requestedBy is the caller's own user name, or left out",
    },
    {
      expression: `variables.approvals.all(s, variables.approvals[s].all(u, u == ${CALLER} || (s in variables.approvalsBefore && u in variables.approvalsBefore[s] && variables.approvalsBefore[s][u] == variables.approvals[s][u])))`,
      message: "control.approvals.STAGE.USER: USER is your own user name (kubectl auth whoami)",
    },
    {
      expression: `variables.approvalsBefore.all(s, variables.approvalsBefore[s].all(u, u == ${CALLER} || (s in variables.approvals && u in variables.approvals[s])))`,
      message: "approvals of others cannot be taken away",
    },
    {
      expression: `variables.changedStages.size() == 0 || ${may("approve", "switchtasks")}`,
      message: "approving needs the verb approve on this SwitchTask",
    },
    {
      expression:
        "variables.changedStages.all(s, object.spec.stages.all(g, g.name != s || !has(g.approval) || !has(g.approval.approvers) || " +
        `g.approval.approvers.?users.orValue([]).exists(u, u == ${CALLER}) || ` +
        "g.approval.approvers.?groups.orValue([]).exists(a, request.userInfo.?groups.orValue([]).exists(b, a == b))))",
      message: "you are not among the approvers of this stage",
    },
    {
      expression: `variables.changedSkips.all(s, variables.skip[s].by == ${CALLER})`,
      message: "control.skip.STAGE.by is your own user name (kubectl auth whoami)",
    },
    {
      expression: `variables.skipBefore.all(s, s in variables.skip || variables.skipBefore[s].by == ${CALLER})`,
      message: "skips of others cannot be taken away",
    },
    {
      expression: `variables.changedSkips.size() == 0 || ${may("skip", "switchtasks")}`,
      message: "skipping needs the verb skip on this SwitchTask",
    },
    {
      expression: `variables.label == variables.labelBefore || ${may("repair", "switchtasks")}`,
      message: `the label ${DONE_LABEL} is set by the operator`,
    },
  ],
};

const RELEASES: Policy = {
  name: "turnout-releases",
  resource: "tenantstates",
  variables: {
    release: "object.?spec.?forceRelease.orValue(dyn({}))",
    releaseBefore: 'request.operation == "CREATE" ? dyn({}) : oldObject.?spec.?forceRelease.orValue(dyn({}))',
  },
  checks: [
    {
      expression: `variables.release == variables.releaseBefore || variables.release.size() == 0 || variables.release.by == ${CALLER}`,
      message: "spec.forceRelease.by is your own user name (kubectl auth whoami)",
    },
    {
      expression: `variables.release == variables.releaseBefore || ${may("release", "tenantstates")}`,
      message: "releasing a tenant needs the verb release on this TenantState",
    },
  ],
};

/** Files below admission/: each a policy with its binding. None matches DELETE; the operator's own requests are exempt (SEC-11, 12). */
export function admissionPolicies(): Readonly<Record<string, readonly Manifest[]>> {
  return Object.fromEntries([NAMES, RELEASES].map((policy) => [policy.name, [manifest(policy), binding(policy.name)]]));
}

function manifest({ name, resource, variables, checks }: Policy): Manifest {
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name, labels: { "app.kubernetes.io/name": "turnout" } },
    spec: {
      failurePolicy: "Fail",
      matchConstraints: {
        resourceRules: [
          { apiGroups: [GROUP], apiVersions: ["*"], operations: ["CREATE", "UPDATE"], resources: [resource] },
        ],
      },
      matchConditions: [{ name: "not-the-operator", expression: `${CALLER} != "${OPERATOR_USER}"` }],
      variables: Object.entries(variables).map(([variable, expression]) => ({ name: variable, expression })),
      validations: checks.map((check) => ({ ...check, reason: "Forbidden" })),
    },
  };
}

const binding = (name: string): Manifest => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicyBinding",
  metadata: { name, labels: { "app.kubernetes.io/name": "turnout" } },
  spec: { policyName: name, validationActions: ["Deny"] },
});
