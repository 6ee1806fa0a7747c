import { z } from "zod";
import type { Json } from "../../lib/json.ts";

type Node = Readonly<Record<string, unknown>>;

/** One field of a component as people read about it. */
export interface FieldDoc {
  readonly path: string;
  readonly name: string;
  readonly about: string;
  /** What it takes: `true or false`, `1 to 1000`, `a duration such as …`. */
  readonly takes: string;
  readonly required: boolean;
  /** Undefined where there is none. */
  readonly default: Json | undefined;
  /** Fields of an object that is always one; empty for everything else. */
  readonly inner: readonly FieldDoc[];
}

/** The fields of a schema, in its order. */
export const fieldsOf = (schema: z.ZodType): readonly FieldDoc[] => fieldsOfNode(nodeOf(schema), "");

/** All defaults of a schema as one value; what has none is left out. */
export function defaultsOf(schema: z.ZodType): Json {
  const node = nodeOf(schema);
  return node["type"] === "object" ? defaultsOfFields(fieldsOfNode(node, "")) : [];
}

const nodeOf = (schema: z.ZodType): Node => z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });

function defaultsOfFields(fields: readonly FieldDoc[]): Json {
  const known = fields.flatMap((field): (readonly [string, Json])[] => {
    if (field.inner.length > 0) return field.required ? [] : [[field.name, defaultsOfFields(field.inner)]];
    return field.default === undefined ? [] : [[field.name, field.default]];
  });
  return Object.fromEntries(known);
}

function fieldsOfNode(node: Node, prefix: string): readonly FieldDoc[] {
  const required = new Set(Array.isArray(node["required"]) ? node["required"].map(String) : []);
  return Object.entries(recordOf(node["properties"])).map(([name, value]) => {
    const field = recordOf(value);
    const path = prefix === "" ? name : `${prefix}.${name}`;
    return {
      path,
      name,
      about: typeof field["description"] === "string" ? field["description"] : "",
      takes: takes(field),
      required: required.has(name),
      default: field["default"] as Json | undefined,
      inner: field["type"] === "object" ? fieldsOfNode(field, path) : [],
    };
  });
}

/** What a value may be, in words. */
export function takes(node: Node): string {
  const { allowed, type, enum: values, const: only, anyOf } = node;
  if (typeof allowed === "string") return allowed;
  if (Array.isArray(values)) return values.map((value) => JSON.stringify(value)).join(", ");
  if (only !== undefined) return JSON.stringify(only);
  if (Array.isArray(anyOf)) return anyOf.map((branch) => takes(recordOf(branch))).join(", or ");
  switch (type) {
    case "string":
      return `text${bounds(node["minLength"], node["maxLength"], "characters")}`;
    case "integer":
    case "number":
      return `${type === "integer" ? "" : "a number, "}${String(node["minimum"])} to ${String(node["maximum"])}`;
    case "boolean":
      return "true or false";
    case "array":
      return `a list${bounds(node["minItems"], node["maxItems"], "entries")}: ${takes(recordOf(node["items"]))}`;
    case "object":
      return Object.keys(recordOf(node["properties"])).length > 0
        ? "the fields below"
        : `names with ${takes(recordOf(node["additionalProperties"]))}`;
    default:
      return "JSON";
  }
}

function bounds(least: unknown, most: unknown, of: string): string {
  const [low, high] = [typeof least === "number" ? least : 0, typeof most === "number" ? most : null];
  if (high === null) return low === 0 ? "" : ` of at least ${low} ${of}`;
  return low === 0 ? ` of at most ${high} ${of}` : ` of ${low} to ${high} ${of}`;
}

const recordOf = (value: unknown): Node =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Node) : {};
