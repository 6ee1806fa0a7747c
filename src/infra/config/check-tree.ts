import type { Json, JsonObject } from "../../lib/json.ts";
import { checkLayers, type LayerProblem, pathWithin } from "./check-layers.ts";
import { type ComponentName, componentOf } from "./components.ts";
import type { ConfigKey } from "./config-key.ts";
import { crossCheck } from "./cross-check.ts";
import type { Place } from "./json-text.ts";
import type { Layers } from "./layers.ts";
import type { Problem } from "./problems.ts";
import { ENVIRONMENTS, GLOBAL, type Layer } from "./services.ts";
import type { FileProblem } from "./tree.ts";

/** A value, wherever it came from, that can say where each of its fields stands. */
export interface Sourced {
  /** A file's path or a key of the centre. */
  readonly source: string;
  readonly key: ConfigKey;
  readonly value: Json;
  readonly placeOf: (path: string) => Place | null;
}

/**
 * Everything that is wrong with a set of values of one kind (all files, or all of the centre): each service's component as it comes
 * out with the global layer below, each global one by itself. A field that is wrong for several services is told once.
 */
export function checkSet(all: readonly Sourced[], from: "file" | "centre"): readonly FileProblem[] {
  const problems = ENVIRONMENTS.flatMap((env) => {
    const inside = all.filter(({ key }) => key.env === env);
    return [...inside.flatMap((one) => checkOne(one, inside, from)), ...checkTogether(inside)];
  });
  const seen = new Set<string>();
  return problems.filter(({ file, path, message }) => {
    const id = `${file} ${path} ${message}`;
    const first = !seen.has(id);
    seen.add(id);
    return first;
  });
}

function checkOne(one: Sourced, inside: readonly Sourced[], from: "file" | "centre"): readonly FileProblem[] {
  const { component, layer } = one.key;
  const below = layer === GLOBAL ? undefined : find(inside, GLOBAL, component);
  const layers: Layers = { [`${from} ${layer === GLOBAL ? "global" : "service"}`]: one.value, ...under(below, from) };
  const checked = checkLayers(component, layers);
  if (checked.ok) return [];
  return checked.problems.flatMap((problem) => {
    if (problem.absent === true && isSaidElsewhere(one.key, problem.path, from)) return [];
    const source = problem.layer === `${from} global` && below !== undefined ? below : one;
    return [placed(problem, source)];
  });
}

/** What a global value leaves out, services may say; what the centre may not hold, files say. */
function isSaidElsewhere({ layer, component }: ConfigKey, path: string, from: "file" | "centre"): boolean {
  const field = pathWithin(component, path);
  return layer === GLOBAL || (from === "centre" && componentOf(component).filesOnly.includes(field));
}

const under = (below: Sourced | undefined, from: "file" | "centre"): Layers =>
  below === undefined ? {} : { [`${from} global`]: below.value };

/** What settings and endpoints of the operator say only together. */
function checkTogether(inside: readonly Sourced[]): readonly FileProblem[] {
  const operator = find(inside, "turnout", "operator");
  const endpoints = find(inside, "turnout", "endpoints");
  const raw: Record<string, Json> = {};
  if (operator !== undefined && isObject(operator.value)) raw["operator"] = operator.value;
  if (endpoints !== undefined) raw["endpoints"] = endpoints.value;
  return crossCheck(raw).flatMap((problem) => {
    const source = problem.path.startsWith("operator") ? operator : endpoints;
    return source === undefined ? [] : [placed(problem, source)];
  });
}

function placed(problem: Problem | LayerProblem, { source, key, placeOf }: Sourced): FileProblem {
  const { path, value, message, allowed } = problem;
  return { file: source, place: placeOf(pathWithin(key.component, path)), path, value, message, allowed };
}

const find = (inside: readonly Sourced[], layer: Layer, component: ComponentName): Sourced | undefined =>
  inside.find(({ key }) => key.layer === layer && key.component === component);
const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
