import { z } from "zod";
import { DURATION_PATTERN, NAME } from "./fields.ts";
import { SWITCH_TASKS, TENANT_STATES } from "./group.ts";
import { placed } from "./rule-places.ts";
import { TERMINAL } from "./rules.ts";
import { switchTaskStatus } from "./status-schema.ts";
import { type KindSchemas, STAGE_NAME, switchTaskSpec, TENANT_ID } from "./switch-task.ts";
import { tenantStateSpec, tenantStateStatus } from "./tenant-state.ts";

type Node = Readonly<Record<string, unknown>>;
export type Crd = Readonly<Record<string, unknown>>;

interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "date" | "boolean";
  readonly jsonPath: string;
  readonly description: string;
  readonly priority?: number;
}

interface CrdParts {
  readonly resource: typeof SWITCH_TASKS | typeof TENANT_STATES;
  readonly about: string;
  readonly shortNames: readonly string[];
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly rules: readonly unknown[];
  /** Moves rules to where they are to be evaluated. */
  readonly place: (root: Node) => Node;
  readonly selectable: readonly string[];
  readonly columns: readonly Column[];
}

const AGE: Column = {
  name: "Age",
  type: "date",
  jsonPath: ".metadata.creationTimestamp",
  description: "Time since creation.",
};

const column = (name: string, jsonPath: string, description: string, priority?: number): Column => ({
  name,
  type: "string",
  jsonPath,
  description,
  ...(priority === undefined ? {} : { priority }),
});

/** The CRD of SwitchTask; the kinds of stages come from the registry, so that api/ need not know them. */
export function switchTaskCrd(kinds: KindSchemas): Crd {
  return crd({
    resource: SWITCH_TASKS,
    about: "One tenant's switch from one deploy unit to another.",
    shortNames: ["swt"],
    spec: switchTaskSpec(kinds),
    status: switchTaskStatus,
    rules: TERMINAL,
    place: placed,
    selectable: [".spec.tenantId", ".spec.executionUnit", ".spec.plan.id", ".status.phase", ".spec.control.rollback"],
    columns: [
      column("Tenant", ".spec.tenantId", "The tenant that moves."),
      column("Target", ".spec.target.deployUnit.name", "Where it goes."),
      column("Phase", ".status.phase", "Where the task is."),
      column("Progress", ".status.progress", "Settled stages of all."),
      column("Waiting", ".status.waiting.reason", "What it waits for."),
      AGE,
      column("Unit", ".spec.executionUnit", "The unit that admits it.", 1),
      { ...column("Epoch", ".status.epoch", "First half of its fences.", 1), type: "integer" },
      column("Message", '.status.conditions[?(@.type=="Ready")].message', "What it waits for, or why it stopped.", 1),
    ],
  });
}

export function tenantStateCrd(): Crd {
  return crd({
    resource: TENANT_STATES,
    about: "Where a tenant is, who holds it, and how far its fences have grown. Written by the operator.",
    shortNames: ["tstate"],
    spec: tenantStateSpec,
    status: tenantStateStatus,
    rules: [],
    place: (root) => root,
    selectable: [".spec.tenantId"],
    columns: [
      column("Tenant", ".spec.tenantId", "The tenant."),
      column("Current", ".status.current.deployUnit.name", "The unit that serves it."),
      { ...column("Version", ".status.current.planVersion", "The version its receivers report."), type: "integer" },
      column("Holder", ".status.holder.task", "The task that holds it."),
      column("Diverged", ".status.diverged.reason", "Why nobody may switch it."),
      AGE,
      { ...column("Epoch", ".status.epoch", "Epoch of the lock.", 1), type: "integer" },
      column("Fence", ".status.fence", "Greatest fence of the last holder.", 1),
    ],
  });
}

function crd(parts: CrdParts): Crd {
  const { group, plural, kind, version } = parts.resource;
  const root: Node = {
    type: "object",
    description: parts.about,
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: structural(parts.spec),
      status: structural(parts.status),
    },
    ...(parts.rules.length === 0 ? {} : { "x-kubernetes-validations": parts.rules }),
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}`, labels: { "app.kubernetes.io/name": "turnout" } },
    spec: {
      group,
      scope: "Namespaced",
      names: {
        kind,
        plural,
        singular: kind.toLowerCase(),
        listKind: `${kind}List`,
        shortNames: parts.shortNames,
        categories: ["turnout"],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: parts.place(root) },
          subresources: { status: {} },
          selectableFields: parts.selectable.map((jsonPath) => ({ jsonPath })),
          additionalPrinterColumns: parts.columns,
        },
      ],
    },
  };
}

/** zod → structural schema: no references, no `additionalProperties: false` (unknown fields are pruned), no JSON Schema dialect keys. */
export function structural(schema: z.ZodType): Node {
  const json = z.toJSONSchema(schema, {
    target: "openapi-3.0",
    io: "input",
    reused: "inline",
    unrepresentable: "any",
  }) as Node;
  return plain(json);
}

const DROPPED = new Set(["$schema", "definitions", "propertyNames", "default", "free", "id"]);

function plain(node: Node): Node {
  if (isFree(node)) return { ...said(node), [PRESERVE]: true };
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(node)) {
    if (DROPPED.has(key) || (key === "format" && value !== "date-time")) continue;
    if (key === "properties") out[key] = mapValues(value as Readonly<Record<string, Node>>, plain);
    else if (key === "items") out[key] = plain(value as Node);
    else if (key === "additionalProperties") Object.assign(out, extra(value, node));
    else out[key] = value;
  }
  return inWords(bounds(out));
}

/** A refusal shows the bare pattern; `kubectl explain` must say what it wants. */
const WORDS: Readonly<Record<string, string>> = {
  [DURATION_PATTERN.source]: "A duration such as 90s, 5m or 1h30m.",
  [NAME.source]: "Lower-case letters, digits and -.",
  [STAGE_NAME.source]: "Lower-case letters, digits and -, beginning with a letter.",
  [TENANT_ID.source]: "Letters, digits, _ and -.",
};

function inWords(node: Node): Node {
  const { pattern, description } = node;
  const words = typeof pattern === "string" ? WORDS[pattern] : undefined;
  return words === undefined || typeof description !== "string"
    ? node
    : { ...node, description: `${description} ${words}` };
}

/** Any JSON: zod describes it by references to itself, which a structural schema cannot hold. */
const isFree = (node: Node): boolean => node["free"] === true || "$ref" in node || "anyOf" in node || "allOf" in node;

const said = ({ description }: Node): Node => (description === undefined ? {} : { description });

/** Maps keep their value schema; closed objects simply do not allow more, which is what pruning does. */
function extra(value: unknown, { [PRESERVE]: open }: Node): Node {
  if (value === false || typeof value !== "object" || value === null || open === true) return {};
  return { additionalProperties: plain(value as Node) };
}

const PRESERVE = "x-kubernetes-preserve-unknown-fields";

/** Structural schemas take plain inclusive bounds only, and `int64` where numbers outgrow 32 bits. */
function bounds(node: Node): Node {
  if (node["type"] !== "integer") return node;
  const { exclusiveMinimum: _min, exclusiveMaximum: _max, ...rest } = node;
  return { ...rest, format: Number(node["maximum"]) > 2_147_483_647 ? "int64" : "int32" };
}

function mapValues(values: Readonly<Record<string, Node>>, change: (node: Node) => Node): Node {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, change(value)]));
}
