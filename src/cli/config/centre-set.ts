import { checkSet, type Sourced } from "../../infra/config/check-tree.ts";
import { componentOf, COMPONENT_NAMES } from "../../infra/config/components.ts";
import { type ConfigKey, formatKey, parseKey, ROOT } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { type Environment, LAYERS } from "../../infra/config/services.ts";
import type { FileProblem, TreeFile } from "../../infra/config/tree.ts";
import type { Centre, KeyValue } from "../../infra/coord/coord.ts";
import type { Json, JsonObject } from "../../lib/json.ts";

/** What stands in the centre below one place. */
export interface CentreSet {
  readonly values: ReadonlyMap<string, KeyValue>;
  readonly sourced: readonly Sourced[];
  /** Keys that are none, and values that are no JSON. */
  readonly problems: readonly FileProblem[];
  /** How many keys of tenants there are; they belong to switches. */
  readonly tenants: number;
}

export async function readCentre(centre: Centre, prefix: string, signal: AbortSignal): Promise<CentreSet> {
  const { items } = await centre.list(prefix, signal);
  return setOf(items);
}

/** The configuration of one environment without its tenants, key by key: cheap however many tenants there are. */
export async function readRelated(centre: Centre, key: ConfigKey, signal: AbortSignal): Promise<CentreSet> {
  const found = await Promise.all(relatedTo(key).map((one) => centre.get(formatKey(one), signal)));
  return setOf(found.flatMap((item) => item ?? []));
}

/** The same component in all layers, and what is checked together with it. */
function relatedTo({ env, component }: ConfigKey): readonly ConfigKey[] {
  const alone = !componentOf(component).shared;
  const components = alone ? COMPONENT_NAMES.filter((name) => !componentOf(name).shared) : [component];
  const layers = alone ? (["turnout"] as const) : LAYERS;
  return components.flatMap((name) =>
    layers
      .map((layer) => ({ env, layer, component: name }))
      .filter((one) => parseKey(formatKey(one)).kind === "config"),
  );
}

function setOf(items: readonly KeyValue[]): CentreSet {
  const values = new Map<string, KeyValue>();
  const sourced: Sourced[] = [];
  const problems: FileProblem[] = [];
  let tenants = 0;
  for (const item of items) {
    const parsed = parseKey(item.key);
    if (parsed.kind === "tenant") {
      tenants += 1;
      continue;
    }
    if (parsed.kind === "none") {
      problems.push(about(item.key, `is no key of configuration: ${parsed.reason}`, ""));
      continue;
    }
    values.set(item.key, item);
    const read = readJson(item.value);
    if (item.damaged === true) problems.push(about(item.key, "is not UTF-8", "JSON"));
    else if (!read.ok) problems.push({ ...about(item.key, read.reason, "JSON"), place: read.place });
    else sourced.push(fromDocument(item.key, parsed.key, read.document));
  }
  return { values, sourced, problems, tenants };
}

const about = (file: string, message: string, allowed: string): FileProblem => ({
  file,
  place: null,
  path: "",
  value: "",
  message,
  allowed,
});

const fromDocument = (source: string, key: ConfigKey, document: TreeFile["document"]): Sourced => ({
  source,
  key,
  value: document.value,
  placeOf: (path) => document.placeOf(path),
});

export const fromFile = ({ file, key, document }: TreeFile): Sourced => fromDocument(file, key, document);

/** The file's value as the centre may hold it: what only files may say stays in the file (SEC-45). */
export function forCentre({ component }: ConfigKey, value: Json): Json {
  const { filesOnly } = componentOf(component);
  if (filesOnly.length === 0 || !isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([field]) => !filesOnly.includes(field)));
}

/** What would be wrong with the centre, and is not wrong yet, if these values stood in it. */
export function newProblems(before: readonly Sourced[], changes: readonly Sourced[]): readonly FileProblem[] {
  const idOf = ({ file, path, message }: FileProblem): string => `${file} ${path} ${message}`;
  const known = new Set(checkSet(before, "centre").map(idOf));
  const keys = new Set(changes.map(({ key }) => formatKey(key)));
  const after = [...before.filter(({ key }) => !keys.has(formatKey(key))), ...changes];
  return checkSet(after, "centre").filter((problem) => !known.has(idOf(problem)) || keys.has(problem.file));
}

/** A value that is about to stand in the centre. */
export const asSourced = (key: ConfigKey, value: Json): Sourced => ({
  source: formatKey(key),
  key,
  value,
  placeOf: () => null,
});

export const prefixOf = (env: Environment | undefined, service?: string): string =>
  env === undefined ? ROOT : `${ROOT}${env}/${service === undefined ? "" : `${service}/`}`;

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
