import { z } from "zod";
import { canonicalJson } from "../../lib/digest.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { own } from "../../lib/own.ts";

/** Where a layer comes from; the later ones of {@link LAYER_ORDER} lie above the earlier ones. */
export const LAYER_ORDER = ["file global", "file service", "centre global", "centre service"] as const;
export type LayerName = (typeof LAYER_ORDER)[number];

export type Layers = Readonly<Partial<Record<LayerName, Json>>>;

export interface Merged {
  readonly value: Json;
  /** Which layer the field of a path came from; null where it is the default of the code. */
  readonly originOf: (path: string) => LayerName | null;
}

/** How a component's values lie above each other. A union, such as a secret's reference, is replaced as a whole. */
type Shape = { readonly fields: ReadonlyMap<string, Shape>; readonly others: Shape | null } | null;

const shapes = new WeakMap<z.ZodType, Shape>();

/**
 * Puts the layers together, field by field; lists and whatever is no object are replaced as a whole. Only keys that the schema knows
 * to be objects are gone into (SEC-44); unknown keys stay, so that validation sees them.
 */
export function mergeLayers(schema: z.ZodType, layers: Layers): Merged {
  const shape = shapeOf(schema);
  const origins = new Map<string, LayerName>();
  let value: Json | undefined;
  for (const layer of LAYER_ORDER) {
    const above = layers[layer];
    if (above === undefined) continue;
    value = lay({ below: value, above, shape, path: "" }, (path, whole) => {
      for (const known of origins.keys()) if (isBelow(known, path)) origins.delete(known);
      if (whole) origins.set(path, layer);
    });
  }
  return { value: value ?? emptyOf(shape), originOf: (path) => originAt(origins, path) };
}

/** The patch laid over the value as layers are: what `set` does with one key. */
export function mergePatch(schema: z.ZodType, below: Json | undefined, above: Json): Json {
  return lay({ below, above, shape: shapeOf(schema), path: "" }, () => undefined);
}

interface Laying {
  readonly below: Json | undefined;
  readonly above: Json;
  readonly shape: Shape;
  readonly path: string;
}

/** Told of each path whose value is no longer the lower layer's; `whole` where all of it is now the upper one's. */
type Replaced = (path: string, whole: boolean) => void;

function lay({ below, above, shape, path }: Laying, replaced: Replaced): Json {
  if (shape === null || !isObject(above)) {
    replaced(path, true);
    return above;
  }
  const result = Object.assign(Object.create(null) as Record<string, Json>, isObject(below) ? below : {});
  // Fields that the upper layer leaves out are nobody's now.
  if (!isObject(below)) replaced(path, false);
  for (const [key, value] of Object.entries(above)) {
    const inner = shape.fields.get(key) ?? shape.others;
    const at = { below: own(result, key), above: value, shape: inner, path: path === "" ? key : `${path}.${key}` };
    result[key] = lay(at, replaced);
  }
  return result;
}

function originAt(origins: ReadonlyMap<string, LayerName>, path: string): LayerName | null {
  let found: readonly [string, LayerName] | null = null;
  for (const entry of origins) {
    if (isBelow(path, entry[0]) && (found === null || entry[0].length >= found[0].length)) found = entry;
  }
  return found?.[1] ?? null;
}

const isBelow = (path: string, above: string): boolean =>
  above === "" || path === above || path.startsWith(`${above}.`) || path.startsWith(`${above}[`);

function shapeOf(schema: z.ZodType): Shape {
  const known = shapes.get(schema);
  if (known !== undefined) return known;
  const shape = shapeOfNode(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }));
  shapes.set(schema, shape);
  return shape;
}

function shapeOfNode(node: unknown): Shape {
  if (!isNode(node) || node["anyOf"] !== undefined || node["oneOf"] !== undefined || node["type"] !== "object")
    return null;
  const properties = isNode(node["properties"]) ? Object.entries(node["properties"]) : [];
  const others = node["additionalProperties"];
  return {
    fields: new Map(properties.map(([key, inner]) => [key, shapeOfNode(inner)])),
    others: isNode(others) ? shapeOfNode(others) : null,
  };
}

const emptyOf = (shape: Shape): Json => (shape === null ? [] : {});
const isNode = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isObject = (value: Json | undefined): value is JsonObject => isNode(value);

/** Whether two raw values say the same, whatever the order of their keys. */
export const sameJson = (a: Json, b: Json): boolean => canonicalJson(a) === canonicalJson(b);
