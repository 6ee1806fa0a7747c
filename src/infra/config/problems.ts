import { z } from "zod";
import type { Json } from "../../lib/json.ts";
import { defaultsOf } from "./field-docs.ts";
import { nearest } from "../../lib/nearest.ts";

/** One thing that is wrong with settings: where, what stands there, why not, what would do. */
export interface Problem {
  readonly path: string;
  /** As JSON, cut; hidden where a secret might have been written by mistake. */
  readonly value: string;
  readonly message: string;
  /** What would be accepted; empty where the message says it. */
  readonly allowed: string;
  /** Nobody wrote the field: it is missing, or its default does not fit the others. */
  readonly absent?: true;
}

/** `value` is undefined where nothing stands. */
export const misses = (path: string, value: Json | undefined, allowed: string): Problem =>
  value === undefined
    ? { path, value: "", message: "is missing", allowed, absent: true }
    : { path, value: shown(path, value), message: "is not allowed here", allowed };

export function formatProblem({ path, value, message, allowed }: Problem): string {
  const what = value === "" ? message : `${value} ${message}`;
  return `${path === "" ? "settings" : path}: ${what}${allowed === "" ? "" : ` (allowed: ${allowed})`}`;
}

interface Checked {
  readonly path: string;
  readonly raw: unknown;
  readonly schema: z.ZodType;
}

/** A document that is wrong throughout is told by its first problems: nobody reads more, and nothing is to wait for them. */
const MOST_PROBLEMS = 100;

/** The issues of one refused document, at most 100 of them; unknown keys get the nearest known one. */
export function problemsOf(error: z.ZodError, { path, raw, schema }: Checked): Problem[] {
  const issues = error.issues.slice(0, MOST_PROBLEMS).flatMap(flat);
  const problems = issues.flatMap((issue) => {
    const steps = issue.path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`));
    const place = `${path}${steps.join("")}`;
    if (issue.code === "unrecognized_keys") {
      const keys = issue.keys.slice(0, MOST_PROBLEMS);
      return keys.map((key) => unknownKey(place, key, { schema, path: issue.path }));
    }
    const value = valueAt(raw, issue.path);
    if (value === undefined) return [absent(place, issue, valueAt(defaultsOf(schema), issue.path))];
    return [{ path: place, value: shown(place, value), message: messageOf(issue), allowed: allowedBy(issue) }];
  });
  return problems.slice(0, MOST_PROBLEMS);
}

/** A field that nobody wrote is wrong because it is missing, or because its default does not fit what was written. */
function absent(path: string, issue: z.core.$ZodIssue, byDefault: unknown): Problem {
  const isJudged = issue.code === "custom";
  const value = isJudged && byDefault !== undefined ? `${shown(path, byDefault)} (the default)` : "";
  return { path, value, message: isJudged ? messageOf(issue) : "is missing", allowed: allowedBy(issue), absent: true };
}

/** A union that says nothing itself is explained by its last branch, the object one. */
function flat(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  const branch = issue.code === "invalid_union" && isDefault(issue.message) ? issue.errors.at(-1) : undefined;
  return branch === undefined
    ? [issue]
    : branch.flatMap(flat).map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
}

interface Where {
  readonly schema: z.ZodType;
  readonly path: readonly PropertyKey[];
}

/** What the key was probably meant to be: a neighbour's name rather than one from elsewhere. */
function unknownKey(place: string, key: string, { schema, path }: Where): Problem {
  const root = jsonSchemaOf(schema);
  const near = nearest(key, keysAt(root, path)) ?? nearest(key, keysWithin(root));
  const hint = near === null ? "" : `; did you mean ${near}?`;
  return { path: `${place}.${key.slice(0, 64)}`, value: "", message: `is not a setting${hint}`, allowed: "" };
}

/** The schema's own sentence, else one made here; zod's would not name what is allowed. */
function messageOf(issue: z.core.$ZodIssue): string {
  if (!isDefault(issue.message)) return issue.message;
  if (issue.code === "too_small") return "is too small";
  return issue.code === "too_big" ? "is too large" : "is not allowed here";
}

const isDefault = (message: string): boolean => /^(?:Invalid|Too|Unrecognized)\b/.test(message);

function allowedBy(issue: z.core.$ZodIssue): string {
  if (issue.code !== "custom" && !isDefault(issue.message)) return "";
  switch (issue.code) {
    case "custom": {
      const allowed: unknown = issue.params?.allowed;
      return typeof allowed === "string" ? allowed : "";
    }
    case "too_small":
      return `at least ${issue.minimum}${issue.origin === "array" ? " entries" : ""}`;
    case "too_big":
      return `at most ${issue.maximum}${issue.origin === "array" ? " entries" : issue.origin === "string" ? " characters" : ""}`;
    case "invalid_value":
      return issue.values.map(String).join(", ");
    case "invalid_type":
      return article(issue.expected);
    default:
      return "";
  }
}

const article = (type: string): string => (/^[aeio]/.test(type) ? `an ${type}` : `a ${type}`);

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let here: unknown = raw;
  for (const step of path) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Readonly<Record<PropertyKey, unknown>>)[step];
  }
  return here;
}

/** Fields that refer to secrets. One that was typed there instead of a reference must not travel on. */
const SECRET_FIELD = /(?:^|\.)(?:credentials|tls|password|dsn|token|secret|bearer)\b/;
export const holdsSecret = (path: string): boolean => SECRET_FIELD.test(path);

/** The value for people: JSON, cut; hidden where a secret belongs. */
export function shown(path: string, value: unknown): string {
  if (holdsSecret(path)) return "(hidden)";
  const text = JSON.stringify(value) ?? "";
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

const jsonSchemas = new WeakMap<z.ZodType, unknown>();
function jsonSchemaOf(schema: z.ZodType): unknown {
  const known = jsonSchemas.get(schema) ?? z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  jsonSchemas.set(schema, known);
  return known;
}

/** Names that stand at the place itself, in any branch of a union. */
function keysAt(root: unknown, path: readonly PropertyKey[]): ReadonlySet<string> {
  let nodes = branchesOf(root);
  for (const step of path) {
    nodes = nodes.flatMap((node) =>
      branchesOf(typeof step === "number" ? node["items"] : nodeOf(node["properties"])[String(step)]),
    );
  }
  return new Set(nodes.flatMap((node) => Object.keys(nodeOf(node["properties"]))));
}

type Node = Readonly<Record<string, unknown>>;
const nodeOf = (value: unknown): Node => (typeof value === "object" && value !== null ? (value as Node) : {});

function branchesOf(value: unknown): readonly Node[] {
  const node = nodeOf(value);
  const branches = node["anyOf"] ?? node["oneOf"];
  return Array.isArray(branches) ? branches.flatMap(branchesOf) : [node];
}

/** Names of all keys that the schema knows at any depth. */
function keysWithin(root: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === "properties" && typeof value === "object" && value !== null)
        Object.keys(value).forEach((name) => found.add(name));
      visit(value);
    }
  };
  visit(root);
  return found;
}
