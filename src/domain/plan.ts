import { base32Digest, canonicalJson, hexDigest } from "../lib/digest.ts";
import type { Json, JsonObject } from "../lib/json.ts";
import { own } from "../lib/own.ts";
import type { Lookup, Variable } from "./templates.ts";
import { render, renderPath } from "./templates.ts";
import {
  PROTOCOL_VERSION,
  type Direction,
  type EffectiveDefaults,
  type Issue,
  type Outputs,
  type Placement,
  type Previous,
  type Retry,
  type StageSpec,
  type TaskSpec,
} from "./stored.ts";

/** write: changes data beside a companion record; announce: tells others; read and gate change nothing. */
export type Effect = "write" | "announce" | "read" | "gate";

/** One piece of a stage's undo. `verify` asks the previous unit instead of undoing anything. */
export interface UndoPart {
  readonly part: string;
  readonly role: "write" | "announce" | "verify";
}

/** A named endpoint, as far as planning needs it. The `refuses…` name the rule of its policy that speaks against; null: none. */
export interface EndpointFacts {
  readonly name: string;
  readonly protocol: string;
  readonly addresses: readonly string[];
  readonly fencing: "Token" | "None";
  readonly allowedNamespaces: readonly string[];
  /** A literal address is judged here, a name again at every connect. */
  readonly refusesAddress: (host: string, port: number) => string | null;
  readonly refusesRequest: (line: RequestLine) => string | null;
  readonly refusesKey: (key: string) => string | null;
}
export interface RequestLine {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What domain knows of a stage kind; `src/stages` implements it. */
export interface StagePlanner {
  readonly kind: string;
  effect(config: JsonObject): Effect;
  undoParts(config: JsonObject): readonly UndoPart[];
  /** Names under which later stages may read `${stages.NAME.outputs.KEY}`. */
  readonly outputs: readonly string[];
  /** Renders and checks; problems go to `context.issue`. */
  plan(context: PlanContext): Planned;
}
export interface PlanContext {
  readonly config: JsonObject;
  readonly namespace: string;
  readonly tenantId: string;
  readonly planVersion: number;
  readonly direction: Direction;
  /** Whose endpoints `to:` selects from: the target's, or while undoing the previous unit's. null: no previous is known. */
  readonly placement: Placement | null;
  endpoint(name: string): EndpointFacts | null;
  /** Keys and objects: those of the forward claim in both directions, from variables that are fixed when the plan is frozen. */
  key(text: string, where: string): string;
  /** As `key`, each value percent-encoded. */
  path(text: string, where: string): string;
  /** Content as the forward claim rendered it, in both directions: what an undo compares with. */
  forward(value: Json, where: string): Json;
  /** Content: while undoing it sees `target` = previous and `${plan.version}` = `previous.planVersion`. */
  content(value: Json, where: string): Json;
  issue(where: string, value: string, message: string): void;
}
export interface Planned {
  readonly inputs: Json;
  /** What this stage writes; two stages of one plan with the same entry are refused. */
  readonly conflicts: readonly string[];
  readonly endpoint: string | null;
  /** `host:port` of everything the act may touch. */
  readonly audience: readonly string[];
  readonly fencing: "Token" | "None";
  readonly canProbe: boolean;
  /** May be sent again without asking, although nobody knows whether it arrived. */
  readonly idempotent: boolean;
  /** One line for `dryRun`. */
  readonly preview: string;
}

export interface PlanSettings {
  readonly endpoints: Readonly<Record<string, EndpointFacts>>;
  readonly defaults: EffectiveDefaults;
}

/** Everything a plan follows from. */
export interface Basis {
  readonly namespace: string;
  readonly spec: TaskSpec;
  readonly previous: Previous | null;
  readonly settings: PlanSettings;
  readonly kinds: Readonly<Record<string, StagePlanner>>;
  /** `later` while nothing has run. */
  readonly outputs: (stage: string) => Outputs | "later";
  /** null while nothing is claimed. */
  readonly opId: string | null;
  /** `${now}`: first start of the stage; null while nothing is claimed. */
  readonly now: string | null;
}

export type PlannedStage =
  | { readonly planned: Planned; readonly issues: readonly [] }
  | { readonly planned: null; readonly issues: readonly [Issue, ...Issue[]] };

const error = (path: string, value: string, message: string): Issue => ({
  severity: "error",
  path,
  value: value.slice(0, 128),
  message,
});

/** Renders stage `index` for one direction. `planned` is null where `issues` holds errors. */
export function planStage(basis: Basis, index: number, direction: Direction): PlannedStage {
  const stage = basis.spec.stages[index];
  const planner = stage === undefined ? undefined : basis.kinds[stage.kind];
  if (stage === undefined || planner === undefined) {
    return { planned: null, issues: [error(`spec.stages[${index}]`, stage?.kind ?? "", "no such kind of stage")] };
  }
  const issues: Issue[] = [];
  const report = (where: string, value: string, message: string): void => {
    issues.push(error(`spec.stages[${index}].${stage.kind}${where === "" ? "" : `.${where}`}`, value, message));
  };
  const there = { placement: basis.spec.target, version: basis.spec.plan.version };
  const forward = lookupIn(basis, index, { ...there, direction: "Forward" });
  const back = { placement: basis.previous, version: basis.previous?.planVersion ?? null, direction };
  const content = direction === "Forward" ? forward : lookupIn(basis, index, back);
  const text = (rendered: { value: Json; problems: readonly string[] }, where: string, source: string): string => {
    for (const problem of rendered.problems) report(where, source, problem);
    return typeof rendered.value === "string" ? rendered.value : JSON.stringify(rendered.value);
  };
  const fill = (value: Json, where: string, lookup: Lookup): Json => {
    const rendered = render(value, lookup);
    for (const problem of rendered.problems) report(where, JSON.stringify(value), problem);
    return rendered.value;
  };
  const planned = planner.plan({
    config: stage.config,
    namespace: basis.namespace,
    tenantId: basis.spec.tenantId,
    planVersion: direction === "Forward" ? basis.spec.plan.version : (basis.previous?.planVersion ?? 0),
    direction,
    placement: direction === "Forward" ? basis.spec.target : basis.previous,
    endpoint: (name) => own(basis.settings.endpoints, name) ?? null,
    key: (source, where) => text(render(source, frozenOnly(forward)), where, source),
    path: (source, where) => text(renderPath(source, frozenOnly(forward)), where, source),
    forward: (value, where) => fill(value, where, forward),
    content: (value, where) => fill(value, where, content),
    issue: report,
  });
  const [first, ...others] = issues;
  return first === undefined ? { planned, issues: [] } : { planned: null, issues: [first, ...others] };
}

interface View {
  readonly placement: Placement | null;
  readonly version: number | null;
  readonly direction: Direction;
}

function lookupIn(basis: Basis, index: number, view: View): Lookup {
  const roots: Readonly<Record<string, Json | undefined>> = {
    tenantId: basis.spec.tenantId,
    namespace: basis.namespace,
    direction: view.direction,
    target: view.placement === null ? undefined : asJson(view.placement),
    previous: basis.previous === null ? undefined : asJson(basis.previous),
    plan: view.version === null ? undefined : { id: basis.spec.plan.id, version: view.version },
  };
  return (name) => {
    const [root = "", ...rest] = name.split(".");
    if (root === "opId") return basis.opId === null ? LATER : value(basis.opId);
    if (root === "now") return basis.now === null ? LATER : value(basis.now);
    if (root === "stages") return outputOf(basis, index, rest);
    if (!Object.hasOwn(roots, root)) return unknown("no such variable");
    const start = roots[root];
    return start === undefined ? unknown("the tenant's previous configuration is not known") : descend(start, rest);
  };
}

const LATER: Variable = { is: "later" };
const value = (found: Json): Variable => ({ is: "value", value: found });
const unknown = (why: string): Variable => ({ is: "unknown", why });

function descend(here: Json, [name, ...rest]: readonly string[]): Variable {
  if (name === undefined) return value(here);
  const next = typeof here === "object" && here !== null ? own(here as JsonObject, name) : undefined;
  return next === undefined ? unknown("no such variable") : descend(next, rest);
}

function outputOf(basis: Basis, index: number, names: readonly string[]): Variable {
  const [name, word, key = "", ...rest] = names;
  if (word !== "outputs" || key === "" || rest.length > 0) return unknown("write stages.NAME.outputs.KEY");
  const stage = basis.spec.stages.slice(0, index).find((candidate) => candidate.name === name);
  if (stage === undefined) return unknown("only outputs of earlier stages can be read");
  if (basis.kinds[stage.kind]?.outputs.includes(key) !== true)
    return unknown(`stage ${stage.name} has no output ${key}`);
  const outputs = basis.outputs(stage.name);
  if (outputs === "later") return LATER;
  const found = outputs[key];
  return found === undefined ? unknown(`stage ${stage.name} left no ${key}`) : value(found);
}

const VARYING = /^(?:opId|now|stages|direction)(?:\.|$)/;

/** Keys decide what two stages and two tasks collide on, so they may hold only what is known when the plan is frozen. */
function frozenOnly(lookup: Lookup): Lookup {
  return (name) =>
    VARYING.test(name)
      ? { is: "unfit", why: "not allowed in a key or path: it is not fixed when the plan is frozen" }
      : lookup(name);
}

function asJson(placement: Placement): Json {
  const { deployUnit, endpoints, parameters } = placement;
  const plain = { deployUnit, endpoints, parameters, default: placement.default };
  return JSON.parse(JSON.stringify(plain)) as Json;
}

/** Fields under the digest, by protocolVersion: a later release keeps this list for plans that an older one froze. */
const DIGEST_FIELDS = [
  "tenantId",
  "executionUnit",
  "plan",
  "target",
  "previous",
  "serviceAccountName",
  "stages",
  "onFailure",
  "retry",
  "progressDeadline",
  "rollbackWindow",
  "deletionPolicy",
] as const satisfies readonly (keyof TaskSpec)[];

/** `sha256:…` over the spec without `control`, the resolved previous configuration and what the settings gave (protocol.md, Plan). */
export function planDigest(spec: TaskSpec, previous: Previous | null, effective: EffectiveDefaults): string {
  const rest = [canonicalJson(previous), canonicalJson(effective)] as const;
  const known = digests.get(spec);
  if (known !== undefined && known.rest.every((text, i) => text === rest[i])) return known.digest;
  const digest = `sha256:${hexDigest("plan", String(PROTOCOL_VERSION), textOf(spec), ...rest)}`;
  digests.set(spec, { rest, digest });
  return digest;
}

const digests = new WeakMap<TaskSpec, { readonly rest: readonly string[]; readonly digest: string }>();

/** The same spec is digested at every turn of its task, and never changes. */
const texts = new WeakMap<TaskSpec, string>();

function textOf(spec: TaskSpec): string {
  const known = texts.get(spec);
  if (known !== undefined) return known;
  const text = canonicalJson(Object.fromEntries(DIGEST_FIELDS.map((field) => [field, spec[field]])));
  texts.set(spec, text);
  return text;
}

/** What makes two objects the same execution: name and spec without `control`, and the text of `turnout.dev/rerun`. */
export function identityOf(name: string, spec: TaskSpec, rerun: string | null): string {
  return hexDigest("identity", name, canonicalJson(spec), rerun ?? "").slice(0, 32);
}

/** The idempotency key of one operation: the same for each of its attempts. 52 characters of `[a-z2-7]`. */
export const opIdOf = (uid: string, stage: string, direction: Direction, part: string | null): string =>
  base32Digest(uid, stage, direction, part ?? "");

export interface Limits {
  readonly timeout: EffectiveDefaults["timeout"];
  readonly attemptTimeout: EffectiveDefaults["attemptTimeout"];
  readonly instanceTimeout: EffectiveDefaults["instanceTimeout"];
  readonly retry: Retry;
}

/** What applies to a stage: its own word, else the task's, else what the operator's settings said when the plan was frozen. */
export function limitsOf(stage: StageSpec, spec: TaskSpec, effective: EffectiveDefaults): Limits {
  return {
    timeout: stage.timeout ?? effective.timeout,
    attemptTimeout: stage.attemptTimeout ?? effective.attemptTimeout,
    instanceTimeout: stage.instanceTimeout ?? effective.instanceTimeout,
    retry: {
      maxAttempts: stage.retry?.maxAttempts ?? spec.retry?.maxAttempts ?? effective.retry.maxAttempts,
      backoff: stage.retry?.backoff ?? spec.retry?.backoff ?? effective.retry.backoff,
    },
  };
}
