import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Json } from "../../src/lib/json.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { type Schema, valueOf } from "./schema-values.ts";

interface Crd {
  readonly spec: { readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: Schema } }] };
}

export const crdFile = (plural: string): string => join(import.meta.dirname, "..", "..", "crds", `${plural}.yaml`);

/** Schema of a kind's `spec`, as the API server gets it. */
export function specSchema(plural: string): Schema {
  const crd = parse(readFileSync(crdFile(plural), "utf8")) as Crd;
  return crd.spec.versions[0].schema.openAPIV3Schema.properties?.["spec"] ?? {};
}

/** Fields that exclude each other: what stands here is left out, so that the rest of the union is there whole. */
const UNIONS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  redis: [
    [".string", ".publish.stream"],
    [".hash", ".versionField", ".publish.channel"],
  ],
};

/** A stage of every kind, twice where a kind is a union, each with every field that it can have. */
export function fullStages(schema: Schema, n: 0 | 1): readonly Json[] {
  const kinds = Object.keys(STAGES);
  const stage = schema.properties?.["stages"]?.items ?? {};
  return kinds.flatMap((kind) =>
    (UNIONS[kind] ?? [[]]).map((left, i) => {
      const others = kinds.filter((other) => other !== kind).map((other) => `.${other}`);
      const out = new Set([...others, ...left.map((path) => `.${kind}${path}`)]);
      const made = valueOf(stage, n, (path) => out.has(path)) as Readonly<Record<string, Json>>;
      return { ...made, name: `${kind}-${i}` };
    }),
  );
}

/** A task's spec with every field that exists but `control`, and who may ask for it. */
export function fullSpec(schema: Schema): Readonly<Record<string, Json>> {
  const made = valueOf(schema, 0, (path) => path === ".stages" || path === ".control");
  return { ...(made as Readonly<Record<string, Json>>), requestedBy: "admin", stages: fullStages(schema, 0) };
}

/** As short as the schema lets it be: only what is demanded, in the same stages. */
export function shortSpec(schema: Schema): Readonly<Record<string, Json>> {
  const full = fullSpec(schema);
  const stage = schema.properties?.["stages"]?.items ?? {};
  const only = required(full, schema) as Readonly<Record<string, Json>>;
  const stages = (full["stages"] as readonly Readonly<Record<string, Json>>[]).map((made) => {
    const kind = Object.keys(STAGES).find((one) => made[one] !== undefined) ?? "";
    const of = stage.properties?.[kind] ?? {};
    const about = made[kind] as Readonly<Record<string, Json>>;
    const value = about["hash"] ?? about["string"];
    const union = value === undefined ? {} : { [about["hash"] === undefined ? "string" : "hash"]: value };
    return { name: made["name"] ?? "", [kind]: { ...(required(about, of) as object), ...union } };
  });
  return { ...only, stages };
}

/** The value without whatever may be left out. */
export function required(value: Json, schema: Schema): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if (schema.properties === undefined) return value;
  const fields = value as Readonly<Record<string, Json>>;
  const kept = (schema.required ?? []).filter((key) => fields[key] !== undefined);
  return Object.fromEntries(kept.map((key) => [key, required(fields[key] ?? null, schema.properties?.[key] ?? {})]));
}
