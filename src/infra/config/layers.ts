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
  const root = nobody();
  let value: Json | undefined;
  for (const layer of LAYER_ORDER) {
    const above = layers[layer];
    if (above !== undefined) value = lay({ below: value, above, shape }, { origin: root, layer });
  }
  return { value: value === undefined ? emptyOf(shape) : value, originOf: (path) => originAt(root, path) };
}

/** The patch laid over the value as layers are: what `set` does with one key. */
export function mergePatch(schema: z.ZodType, below: Json | undefined, above: Json): Json {
  return lay({ below, above, shape: shapeOf(schema) }, { origin: nobody(), layer: "centre service" });
}

/** Whose a value is; null where nobody said it as a whole, and each field inside has its own. */
interface Origin {
  layer: LayerName | null;
  readonly inner: Map<string, Origin>;
}
const nobody = (): Origin => ({ layer: null, inner: new Map() });

interface Laying {
  readonly below: Json | undefined;
  readonly above: Json;
  readonly shape: Shape;
}

/** Notes in `origin` what now comes from `layer`. */
function lay(
  { below, above, shape }: Laying,
  { origin, layer }: { readonly origin: Origin; readonly layer: LayerName },
): Json {
  if (shape === null || !isObject(above)) {
    claim(origin, layer);
    return above;
  }
  const result = Object.assign(Object.create(null) as Record<string, Json>, isObject(below) ? below : {});
  // Fields that the upper layer leaves out are nobody's now.
  if (!isObject(below)) claim(origin, null);
  for (const [key, value] of Object.entries(above)) {
    const inner = origin.inner.get(key) ?? nobody();
    origin.inner.set(key, inner);
    const field = { below: own(result, key), above: value, shape: shape.fields.get(key) ?? shape.others };
    result[key] = lay(field, { origin: inner, layer });
  }
  return result;
}

function claim(origin: Origin, layer: LayerName | null): void {
  Object.assign(origin, { layer });
  origin.inner.clear();
}

/** A key may itself hold dots. */
function originAt(origin: Origin, path: string): LayerName | null {
  if (origin.layer !== null || path === "") return origin.layer;
  for (let end = path.indexOf("."); ; end = path.indexOf(".", end + 1)) {
    const step = end < 0 ? path : path.slice(0, end);
    const inner = origin.inner.get(step) ?? origin.inner.get(step.replace(/\[\d+\]$/, ""));
    if (inner !== undefined) return originAt(inner, end < 0 ? "" : path.slice(end + 1));
    if (end < 0) return null;
  }
}

function shapeOf(schema: z.ZodType): Shape {
  const known = shapes.get(schema);
  if (known !== undefined) return known;
  const shape = shapeOfNode(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }));
  shapes.set(schema, shape);
  return shape;
}

function shapeOfNode(node: unknown): Shape {
  // A union has no type of its own.
  if (!isNode(node) || node["type"] !== "object") return null;
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
