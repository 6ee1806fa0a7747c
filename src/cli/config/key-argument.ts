import { COMPONENT_NAMES, type ComponentName, isComponent } from "../../infra/config/components.ts";
import { type ConfigKey, folderRefusal, parseKey, ROOT, type TenantKey } from "../../infra/config/config-key.ts";
import {
  type Environment,
  ENVIRONMENTS,
  isEnvironment,
  isLayer,
  type Layer,
  LAYERS,
} from "../../infra/config/services.ts";
import { nearest } from "../../lib/nearest.ts";
import { CliFailure, EXIT } from "./failure.ts";

const usage = (message: string): CliFailure => new CliFailure(EXIT.usage, message);

/** `/config/dev/im-repo/cache`, `dev/im-repo/cache`, or with --env `im-repo/cache`. */
export function wholeKey(text: string, env: Environment | undefined): string {
  if (text.startsWith("/")) return text;
  const [first = ""] = text.split("/");
  return isEnvironment(first) || env === undefined ? `${ROOT}${text}` : `${ROOT}${env}/${text}`;
}

/** A key that people may write. */
export function writableKey(text: string, env: Environment | undefined): ConfigKey {
  const parsed = parseKey(wholeKey(text, env));
  if (parsed.kind === "config") return parsed.key;
  if (parsed.kind === "none") throw usage(`${JSON.stringify(text)} is no key: ${parsed.reason}`);
  throw usage("keys of tenants are written by switches only; start a switch, or roll one back");
}

/** A key that may be read. */
export function readableKey(text: string, env: Environment | undefined): ConfigKey | TenantKey {
  const parsed = parseKey(wholeKey(text, env));
  if (parsed.kind !== "none") return parsed.key;
  throw usage(`${JSON.stringify(text)} is no key: ${parsed.reason}`);
}

export function environmentOf(text: string | undefined): Environment | undefined {
  if (text === undefined || isEnvironment(text)) return text;
  throw usage(
    `${JSON.stringify(text)} is no environment; ${didYouMean(text, ENVIRONMENTS)}there are ${ENVIRONMENTS.join(", ")}`,
  );
}

/** Also `global`. */
export function layerOf(text: string): Layer {
  if (isLayer(text)) return text;
  throw usage(`${JSON.stringify(text)} is no service; ${didYouMean(text, LAYERS)}there are ${LAYERS.join(", ")}`);
}

export function componentNameOf(text: string): ComponentName {
  if (isComponent(text)) return text;
  const near = didYouMean(text, COMPONENT_NAMES);
  throw usage(`${JSON.stringify(text)} is no component; ${near}there are ${COMPONENT_NAMES.join(", ")}`);
}

function didYouMean(text: string, known: readonly string[]): string {
  const near = nearest(text, known);
  return near === null ? "" : `did you mean ${near}? `;
}

/** `/config/dev/im-repo/cache`, cut at its slashes. */
const DEPTH_OF_KEYS = 5;

/** A key or a prefix ending in `/` for watching. */
export function rangeOf(text: string, env: Environment | undefined): string {
  const whole = wholeKey(text, env);
  const parsed = parseKey(whole);
  if (parsed.kind !== "none") return whole;
  const isFolder = whole.endsWith("/") || whole.split("/").length < DEPTH_OF_KEYS || whole.includes("/tenants/");
  const folder = whole.endsWith("/") ? whole : `${whole}/`;
  const reason = isFolder ? folderRefusal(folder) : parsed.reason;
  if (reason === null) return folder;
  throw usage(`${JSON.stringify(text)} can hold nothing: ${reason}`);
}
