import { planStage, type Basis, type UndoPart } from "./plan.ts";
import { parseHost } from "../lib/address.ts";
import type { Endpoint, Issue, StageSpec, TaskSpec } from "./stored.ts";

/** What validating needs besides the spec. */
export interface ValidationContext {
  readonly basis: Basis;
  /** `resolved`: the previous configuration is final, so plans are rendered in both directions. */
  readonly previous: "open" | "resolved";
  /** Live tasks of the same tenant, by name: a warning only, the lock decides (R18). */
  readonly rivals: readonly string[];
}
type Validator = (spec: TaskSpec, context: ValidationContext) => readonly Issue[];

type Shown = string | number;
const issue = (severity: Issue["severity"], path: string, value: Shown, message: string): Issue => ({
  severity,
  path,
  value: String(value).slice(0, 128),
  message,
});
const error = (path: string, value: Shown, message: string): Issue => issue("error", path, value, message);
const warning = (path: string, value: Shown, message: string): Issue => issue("warning", path, value, message);

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;
const STAGE_NAME = /^[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?$/;
const MANY_ENDPOINTS = 10;

/** The chain, in order (R14–R19). A new rule is one entry; each is usable alone. */
export const VALIDATORS: readonly { readonly order: number; readonly name: string; readonly check: Validator }[] = [
  { order: 1, name: "required", check: required },
  { order: 5, name: "tenant", check: tenant },
  { order: 10, name: "endpoints", check: endpoints },
  { order: 15, name: "stages", check: stages },
  { order: 20, name: "conflict", check: conflict },
  { order: 30, name: "plan", check: plan },
  { order: 35, name: "undo", check: undo },
  { order: 40, name: "approval", check: approvals },
  { order: 50, name: "business", check: business },
];

/** Every issue of every validator; nothing stops at the first. Pure: the controller and the CLI call the same. */
export function validate(
  spec: TaskSpec,
  context: ValidationContext,
): { readonly valid: boolean; readonly issues: readonly Issue[] } {
  const issues = VALIDATORS.flatMap(({ check }) => check(spec, context));
  return { valid: issues.every(({ severity }) => severity !== "error"), issues };
}

function required(spec: TaskSpec): readonly Issue[] {
  const numbers: readonly (readonly [string, number])[] = [
    ["spec.plan.id", spec.plan.id],
    ["spec.plan.version", spec.plan.version],
    ["spec.target.deployUnit.id", spec.target.deployUnit.id],
    ["spec.target.deployUnit.version", spec.target.deployUnit.version],
  ];
  const bad = numbers.filter(([, value]) => !Number.isInteger(value) || value < 1 || value > 2_147_483_647);
  const unnamed = spec.target.deployUnit.name === "" ? [error("spec.target.deployUnit.name", "", "is required")] : [];
  return [...bad.map(([path, value]) => error(path, value, "must be a whole number from 1 to 2147483647")), ...unnamed];
}

function tenant(spec: TaskSpec): readonly Issue[] {
  return TENANT.test(spec.tenantId)
    ? []
    : [error("spec.tenantId", spec.tenantId, "must be 1–64 characters of A-Z a-z 0-9 _ -")];
}

function endpoints(spec: TaskSpec): readonly Issue[] {
  const sides: readonly (readonly [string, readonly Endpoint[]])[] = [
    ["spec.target.endpoints", spec.target.endpoints],
    ["spec.previous.endpoints", spec.previous?.endpoints ?? []],
  ];
  return sides.flatMap(([path, list]) => [
    ...(list.length > 64 ? [error(path, list.length, "at most 64 endpoints")] : []),
    ...list.flatMap((endpoint, i) => oneEndpoint(`${path}[${i}]`, endpoint)),
  ]);
}

function oneEndpoint(path: string, { key, host, port }: Endpoint): readonly Issue[] {
  return [
    ...(key === "" ? [error(`${path}.key`, key, "is required")] : []),
    ...(parseHost(host) === null
      ? [error(`${path}.host`, host, "must be a DNS name or an IP address in its usual form")]
      : []),
    ...(!Number.isInteger(port) || port < 1 || port > 65_535
      ? [error(`${path}.port`, port, "must be from 1 to 65535")]
      : []),
  ];
}

function stages(spec: TaskSpec, { basis }: ValidationContext): readonly Issue[] {
  const issues: Issue[] = [];
  if (spec.stages.length < 1 || spec.stages.length > 32)
    issues.push(error("spec.stages", spec.stages.length, "must be 1 to 32 stages"));
  const seen = new Set<string>();
  for (const [i, { name, kind }] of spec.stages.entries()) {
    if (!STAGE_NAME.test(name))
      issues.push(error(`spec.stages[${i}].name`, name, "must be lower-case letters, digits and -, at most 40"));
    if (seen.has(name)) issues.push(error(`spec.stages[${i}].name`, name, "stands twice"));
    if (basis.kinds[kind] === undefined) issues.push(error(`spec.stages[${i}]`, kind, "no such kind of stage"));
    seen.add(name);
  }
  return issues;
}

function conflict(spec: TaskSpec, { rivals }: ValidationContext): readonly Issue[] {
  if (rivals.length === 0) return [];
  return [
    warning(
      "spec.tenantId",
      spec.tenantId,
      `is being switched by ${rivals.slice(0, 3).join(", ")}; this task waits for it`,
    ),
  ];
}

/** Renders every stage and finds two that write the same thing. */
function plan(spec: TaskSpec, { basis, previous }: ValidationContext): readonly Issue[] {
  const issues: Issue[] = [];
  const written = new Map<string, string>();
  for (const [i, stage] of spec.stages.entries()) {
    const forward = planStage(basis, i, "Forward");
    // Until the lock is taken the previous configuration may still change: only what cannot become right is refused.
    issues.push(
      ...forward.issues.filter(({ message }) => previous === "resolved" || !message.includes("previous configuration")),
    );
    for (const key of forward.planned?.conflicts ?? []) {
      const other = written.get(key);
      if (other !== undefined) issues.push(error(`spec.stages[${i}]`, key, `writes what stage ${other} writes`));
      written.set(key, stage.name);
    }
    if (previous === "resolved" && forward.planned !== null) issues.push(...undoIssues(basis, stage, i));
  }
  return issues;
}

const partsOf = ({ kinds }: Basis, { kind, config }: StageSpec): readonly UndoPart[] =>
  kinds[kind]?.undoParts(config) ?? [];

function undoIssues(basis: Basis, stage: StageSpec, index: number): readonly Issue[] {
  const parts = partsOf(basis, stage);
  if (!parts.some(({ role }) => role !== "verify" || basis.previous !== null)) return [];
  // `undo` says in one sentence what is missing.
  if (basis.previous === null && parts.some(({ role }) => role === "announce") && !ownUndo(stage.config)) return [];
  return planStage(basis, index, "Back").issues.map((found) => ({
    ...found,
    message: `while undoing: ${found.message}`,
  }));
}

/** A first placement can be undone only by announces that say themselves how (protocol.md, No previous known). */
function undo(spec: TaskSpec, { basis, previous }: ValidationContext): readonly Issue[] {
  if (previous === "open" || basis.previous !== null) return [];
  return spec.stages.flatMap((stage, i) => {
    const announces = partsOf(basis, stage).some(({ role }) => role === "announce");
    if (!announces || ownUndo(stage.config)) return [];
    const message = `nobody knows where the tenant is now: state spec.previous, or say in stage ${stage.name} how to undo`;
    return [error(`spec.stages[${i}].${stage.kind}.undo`, "", message)];
  });
}

function ownUndo(config: StageSpec["config"]): boolean {
  const publish = config["publish"];
  const inner = typeof publish === "object" && publish !== null && "undo" in publish;
  return config["undo"] !== undefined || inner;
}

function approvals(spec: TaskSpec): readonly Issue[] {
  return spec.stages.flatMap(({ kind, config }, i) => {
    const different = kind === "approval" && config["requireDifferentUser"] === true;
    if (!different || spec.requestedBy !== null) return [];
    return [error(`spec.stages[${i}].approval.requireDifferentUser`, "true", "needs spec.requestedBy")];
  });
}

function business(spec: TaskSpec): readonly Issue[] {
  const count = spec.target.endpoints.length;
  return [
    ...(count > MANY_ENDPOINTS ? [warning("spec.target.endpoints", count, "more than 10 endpoints")] : []),
    ...(count === 1
      ? [warning("spec.target.endpoints", count, "only one endpoint: nothing takes over while it restarts")]
      : []),
    ...(spec.tenantId.startsWith("test_") ? [warning("spec.tenantId", spec.tenantId, "looks like a test tenant")] : []),
    ...secretLooking(spec),
  ];
}

/** Parameters are public to everyone who may read the task (SEC-38). */
function secretLooking(spec: TaskSpec): readonly Issue[] {
  return Object.keys(spec.target.parameters)
    .filter((name) => /passw|secret|token|credential|apikey/i.test(name))
    .map((name) => warning(`spec.target.parameters.${name}`, "", "parameters are public: keep secrets out of them"));
}
