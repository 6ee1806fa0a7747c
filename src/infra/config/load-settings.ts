import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { decodeJson, type Json, type JsonObject } from "../../lib/json.ts";
import { endpointProblems } from "./check-endpoints.ts";
import { crossCheck } from "./cross-check.ts";
import { type EndpointSettings, endpointsSettings } from "./endpoint-settings.ts";
import { misses, type Problem, problemsOf } from "./problems.ts";
import { operatorSettings, type OperatorSettings, type Settings } from "./settings.ts";

export type LoadedSettings =
  { readonly ok: true; readonly settings: Settings } | { readonly ok: false; readonly problems: readonly Problem[] };

const LARGEST_FILE = 1024 * 1024;
const LIMITS = { depth: 12, keys: 50_000 };

/**
 * The operator's settings from a file `{ operator, endpoints }`, or from a folder with operator.json and endpoints.json. Either
 * everything holds, or every problem is reported at once; nothing is silently defaulted or ignored.
 */
export async function loadSettings(path: string): Promise<LoadedSettings> {
  const problems: Problem[] = [];
  const raw = await readAll(path, problems);
  return problems.length > 0 ? { ok: false, problems } : checkSettings(raw);
}

/** The same for a document that is already decoded. */
export function checkSettings(raw: Json): LoadedSettings {
  if (!isObject(raw)) return { ok: false, problems: [misses("", raw, "an object with operator and endpoints")] };
  const problems: Problem[] = Object.keys(raw)
    .filter((key) => key !== "operator" && key !== "endpoints")
    .map((key) => ({ path: key, value: "", message: "is not a setting", allowed: "operator, endpoints" }));
  const operator = checkOperator(raw.operator, problems);
  const endpoints = checkEndpoints(raw.endpoints, problems);
  problems.push(...crossCheck(raw));
  return problems.length > 0 || operator === null
    ? { ok: false, problems }
    : { ok: true, settings: { operator, endpoints } };
}

function checkOperator(raw: Json | undefined, problems: Problem[]): OperatorSettings | null {
  const result = operatorSettings.safeParse(raw);
  if (result.success) return result.data;
  problems.push(...problemsOf(result.error, { path: "operator", raw, schema: operatorSettings }));
  return null;
}

function checkEndpoints(raw: Json | undefined, problems: Problem[]): readonly EndpointSettings[] {
  const result = endpointsSettings.safeParse(raw);
  if (result.success) return result.data;
  problems.push(...endpointProblems(raw));
  return [];
}

async function readAll(path: string, problems: Problem[]): Promise<Json> {
  const folder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!folder) return (await readJson(path, problems)) ?? null;
  const operator = await readJson(join(path, "operator.json"), problems);
  const endpoints = await readJson(join(path, "endpoints.json"), problems);
  return { operator: operator ?? null, endpoints: endpoints ?? null };
}

async function readJson(path: string, problems: Problem[]): Promise<Json | null> {
  const text = await readBounded(path);
  if (text === null) {
    problems.push({ path, value: "", message: "cannot be read", allowed: "a readable file of at most 1 MiB" });
    return null;
  }
  const decoded = decodeJson(text, LIMITS);
  if (decoded.ok) return decoded.value;
  problems.push({
    path,
    value: "",
    message: `is refused: ${decoded.reason}${placeOf(text)}`,
    allowed: "one JSON document",
  });
  return null;
}

async function readBounded(path: string): Promise<string | null> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size <= LARGEST_FILE ? await readFile(path, "utf8") : null;
  } catch {
    return null;
  }
}

/** Where the syntax breaks, as ` at line:column`; the library's own text may quote the file and is dropped. */
function placeOf(text: string): string {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    const position = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined;
    const before = text.slice(0, position === undefined ? text.length : Number(position)).split("\n");
    return ` at ${before.length}:${(before.at(-1) ?? "").length + 1}`;
  }
}

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
