import type { Json } from "../../lib/json.ts";
import type { KeyValue } from "../coord/coord.ts";
import { checkLayers } from "./check-layers.ts";
import type { ComponentName } from "./components.ts";
import { readJson } from "./json-text.ts";
import type { LayerName, Layers } from "./layers.ts";
import { formatProblem, type Problem } from "./problems.ts";
import type { Snapshot } from "./snapshot.ts";

export type ConfigSource = "centre" | "snapshot" | "file" | "default";
export type CentreLayer = Extract<LayerName, `centre ${string}`>;

/** What is known of each layer. A centre layer that was never heard is not there; null means that nothing stands in it. */
export interface Known {
  readonly files: Layers;
  readonly centre: Readonly<Partial<Record<CentreLayer, KeyValue | null>>>;
  readonly snapshot: Snapshot | null;
}

export interface Chosen {
  readonly value: unknown;
  /** As it was merged, before defaults. */
  readonly raw: Json;
  readonly source: ConfigSource;
  /** Of the youngest centre layer in it. */
  readonly revision: number | null;
  /** The centre's part of it, for the snapshot. */
  readonly centre: Snapshot["layers"];
}

export type Choice =
  { readonly ok: true; readonly chosen: Chosen } | { readonly ok: false; readonly problems: readonly string[] };

export const CENTRE_LAYERS: readonly CentreLayer[] = ["centre global", "centre service"];

/** Whether the centre has told everything that counts. */
export const isHeard = ({ centre }: Known): boolean => CENTRE_LAYERS.every((layer) => centre[layer] !== undefined);

/** What should be in force now: with the centre where it was heard, else with what it last said, else from files and defaults. */
export function choose(name: ComponentName, known: Known): Choice {
  if (isHeard(known)) return withCentre(name, known);
  return known.snapshot === null ? withoutCentre(name, known) : withSnapshot(name, known, known.snapshot);
}

/** The same at the start, when there is no value yet to stay with: what cannot be used is told, and the next best is taken. */
export function chooseFirst(
  name: ComponentName,
  known: Known,
): { readonly choice: Choice; readonly refused: readonly string[] } {
  const best = choose(name, known);
  const tries = [
    () => (isHeard(known) && known.snapshot !== null ? withSnapshot(name, known, known.snapshot) : best),
    () => withoutCentre(name, known),
  ];
  let choice = best;
  for (const next of tries) if (!choice.ok) choice = next();
  return { choice, refused: best.ok ? [] : best.problems };
}

function withCentre(name: ComponentName, { files, centre }: Known): Choice {
  const layers: Partial<Record<CentreLayer, Json>> = {};
  const problems: string[] = [];
  let revision: number | null = null;
  for (const layer of CENTRE_LAYERS) {
    const found = centre[layer] ?? null;
    if (found === null) continue;
    const read = readJson(found.value);
    if (found.damaged === true) problems.push(`${found.key}: is not UTF-8`);
    else if (read.ok) layers[layer] = read.document.value;
    else problems.push(`${found.key}:${read.place.line}:${read.place.column}: ${read.reason}`);
    revision = Math.max(revision ?? 0, found.revision);
  }
  if (problems.length > 0) return { ok: false, problems };
  const source = revision === null ? sourceOf(files) : "centre";
  return checked(name, { ...files, ...layers }, { source, revision, centre: layers });
}

const withSnapshot = (name: ComponentName, { files }: Known, { layers, revision }: Snapshot): Choice =>
  checked(name, { ...files, ...layers }, { source: "snapshot", revision, centre: layers });

const withoutCentre = (name: ComponentName, { files }: Known): Choice =>
  checked(name, files, { source: sourceOf(files), revision: null, centre: {} });

const sourceOf = (files: Layers): ConfigSource => (Object.keys(files).length === 0 ? "default" : "file");

function checked(name: ComponentName, layers: Layers, about: Pick<Chosen, "source" | "revision" | "centre">): Choice {
  const result = checkLayers(name, layers);
  if (result.ok) return { ok: true, chosen: { ...about, value: deepFreeze(result.value), raw: result.raw } };
  return { ok: false, problems: result.problems.map((problem) => said(problem, problem.layer)) };
}

const said = (problem: Problem, layer: LayerName | null): string =>
  layer === null ? formatProblem(problem) : `${layer}: ${formatProblem(problem)}`;

/** The value and all that is in it. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
