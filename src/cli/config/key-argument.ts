import { type ConfigKey, parseKey, ROOT, type TenantKey } from "../../infra/config/config-key.ts";
import {
  type Environment,
  ENVIRONMENTS,
  isEnvironment,
  isService,
  type Service,
  SERVICES,
} from "../../infra/config/services.ts";
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
  throw usage(`${JSON.stringify(text)} is no environment; there are ${ENVIRONMENTS.join(", ")}`);
}

export function serviceOf(text: string | undefined): Service | undefined {
  if (text === undefined || isService(text)) return text;
  throw usage(`${JSON.stringify(text)} is no service; there are ${SERVICES.join(", ")}`);
}

/** A key or a prefix ending in `/` for watching. */
export function rangeOf(text: string, env: Environment | undefined): string {
  const whole = wholeKey(text, env);
  if (!whole.startsWith(ROOT)) throw usage(`${JSON.stringify(text)} does not lie below ${ROOT}`);
  if (whole.endsWith("/")) return whole;
  if (parseKey(whole).kind !== "none") return whole;
  return `${whole}/`;
}
