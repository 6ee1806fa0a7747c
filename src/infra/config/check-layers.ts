import type { Json, JsonObject } from "../../lib/json.ts";
import { endpointProblems } from "./check-endpoints.ts";
import { type Component, componentOf, type ComponentName } from "./components.ts";
import { type LayerName, type Layers, mergeLayers } from "./layers.ts";
import { type Problem, problemsOf } from "./problems.ts";

/** A problem, and the layer whose field it is; null where a field is missing, which no layer wrote. */
export interface LayerProblem extends Problem {
  readonly layer: LayerName | null;
}

export type Checked =
  | { readonly ok: true; readonly value: unknown; readonly raw: Json }
  | { readonly ok: false; readonly problems: readonly LayerProblem[]; readonly raw: Json };

const CENTRE_LAYERS = ["centre global", "centre service"] as const;

/** Lays the layers over each other and checks what comes out. The paths of problems begin with the component's name. */
export function checkLayers(name: ComponentName, layers: Layers): Checked {
  const { schema, filesOnly } = componentOf(name);
  const merged = mergeLayers(schema, layers);
  const problems = [...notFromCentre(name, filesOnly, layers)];
  const result = schema.safeParse(merged.value);
  if (!result.success) {
    const about = { path: name, raw: merged.value, schema };
    const found = name === "endpoints" ? endpointProblems(merged.value) : problemsOf(result.error, about);
    problems.push(...found.map((one) => ({ ...one, layer: layerOf(one, name, merged.originOf) })));
  }
  return result.success && problems.length === 0
    ? { ok: true, value: result.data, raw: merged.value }
    : { ok: false, problems, raw: merged.value };
}

/** The path of a problem without the component's name: `cache.retryBackoff.min` → `retryBackoff.min`. */
export const pathWithin = (name: ComponentName, path: string): string => path.slice(name.length).replace(/^\./, "");

/** A field that is absent was written by nobody; an unknown or wrong one by the layer that it came from. */
function layerOf(
  { path, absent }: Problem,
  name: ComponentName,
  originOf: (path: string) => LayerName | null,
): LayerName | null {
  const within = pathWithin(name, path);
  return absent === true ? originOf(within.replace(/\.?[^.]*$/, "")) : originOf(within);
}

/** SEC-45: the outermost bound of every policy is not for whoever may write the centre. */
function notFromCentre(name: ComponentName, filesOnly: Component["filesOnly"], layers: Layers): LayerProblem[] {
  return CENTRE_LAYERS.flatMap((layer) => {
    const value = layers[layer];
    if (!isObject(value)) return [];
    return filesOnly
      .filter((field) => Object.hasOwn(value, field))
      .map((field) => ({
        path: `${name}.${field}`,
        value: "",
        message: "may be set in files only, never in the configuration centre",
        allowed: `leave ${field} out here`,
        layer,
      }));
  });
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
