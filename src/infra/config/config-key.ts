import { nearest } from "../../lib/nearest.ts";
import { type ComponentName, componentsOf, hasComponent, isComponent } from "./components.ts";
import {
  type Environment,
  ENVIRONMENTS,
  isEnvironment,
  isLayer,
  isService,
  type Layer,
  LAYERS,
  type Service,
} from "./services.ts";

/** What one file, or one key of the configuration centre, configures. */
export interface ConfigKey {
  readonly env: Environment;
  readonly layer: Layer;
  readonly component: ComponentName;
}

/** What a switch wrote about one tenant; services read it, people do not write it. */
export interface TenantKey {
  readonly env: Environment;
  readonly service: Service;
  readonly namespace: string;
  readonly tenantId: string;
}

export type ParsedKey =
  | { readonly kind: "config"; readonly key: ConfigKey }
  | { readonly kind: "tenant"; readonly key: TenantKey }
  | { readonly kind: "none"; readonly reason: string };

/** Where the tree stands in the configuration centre. It comes once, at the head of every key (F30). */
export const ROOT = "/config/";
const TENANTS = "tenants";
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** As the tenant's own object has it (src/api/tenant-state.ts). */
const TENANT = /^[A-Za-z0-9_-]{1,64}$/;

/** `/config/dev/im-repo/cache`; read back by {@link parseKey}. */
export const formatKey = ({ env, layer, component }: ConfigKey): string => `${ROOT}${env}/${layer}/${component}`;

/** `dev/im-repo/cache.json`, below the root of the tree; read back by {@link keyOfFile}. */
export const fileOfKey = ({ env, layer, component }: ConfigKey): string => `${env}/${layer}/${component}.json`;

export const formatTenantKey = ({ env, service, namespace, tenantId }: TenantKey): string =>
  `${tenantsPrefix(env, service)}${namespace}/${tenantId}`;

export const tenantsPrefix = (env: Environment, service: Service): string => `${ROOT}${env}/${service}/${TENANTS}/`;

/** A key of the centre, whole; every segment is checked, nothing is normalised (SEC-46). */
export function parseKey(text: string): ParsedKey {
  if (!text.startsWith(ROOT)) return none(`begins with ${ROOT}`);
  const segments = text.slice(ROOT.length).split("/");
  const [env = "", service = "", word = "", namespace = "", tenantId = ""] = segments;
  if (segments.length !== 5 || word !== TENANTS) return parsePlace(segments);
  if (!isEnvironment(env)) return none(notAn("environment", env, ENVIRONMENTS));
  if (!isService(service)) return none(`tenants stand below a service, not below ${quoted(service)}`);
  if (!NAMESPACE.test(namespace)) return none(`${quoted(namespace)} is not a namespace`);
  if (!TENANT.test(tenantId)) return none(`${quoted(tenantId)} is not a tenant's id`);
  return { kind: "tenant", key: { env, service, namespace, tenantId } };
}

/** Why nothing can stand below the folder, which ends in `/`; null where something can. */
export function folderRefusal(text: string): string | null {
  if (!text.startsWith(ROOT)) return `does not lie below ${ROOT}`;
  const segments = text.slice(ROOT.length, -1).split("/");
  const [env = "", layer, word, namespace, ...rest] = segments;
  if (text === ROOT) return null;
  if (!isEnvironment(env)) return notAn("environment", env, ENVIRONMENTS);
  if (layer === undefined) return null;
  if (!isLayer(layer)) return notAn("service", layer, LAYERS);
  if (word === undefined) return null;
  if (word !== TENANTS || !isService(layer)) return notAn("folder", word, isService(layer) ? [TENANTS] : []);
  if (namespace === undefined) return null;
  return NAMESPACE.test(namespace) && rest.length === 0 ? null : `${quoted(namespace)} is not a namespace`;
}

/** A file's path below the root of the tree, with slashes. */
export function keyOfFile(path: string): ParsedKey {
  if (!path.endsWith(".json")) return none("files of the tree end with .json");
  return parsePlace(path.slice(0, -".json".length).split("/"));
}

function parsePlace(segments: readonly string[]): ParsedKey {
  const [env = "", layer = "", component = ""] = segments;
  if (segments.length !== 3) return none(`${quoted(segments.join("/"))} has not the form {env}/{service}/{component}`);
  if (!isEnvironment(env)) return none(notAn("environment", env, ENVIRONMENTS));
  if (!isLayer(layer)) return none(notAn("service", layer, LAYERS));
  if (!isComponent(component)) return none(notAn("component", component, componentsOf(layer)));
  if (!hasComponent(layer, component))
    return none(`${layer} has no ${component}; it has ${componentsOf(layer).join(", ")}`);
  return { kind: "config", key: { env, layer, component } };
}

const none = (reason: string): ParsedKey => ({ kind: "none", reason });

function notAn(what: string, found: string, known: readonly string[]): string {
  const near = nearest(found, known);
  return `${quoted(found)} is no ${what}${near === null ? "" : `; did you mean ${near}?`} (allowed: ${known.join(", ")})`;
}
const quoted = (text: string): string => JSON.stringify(text.slice(0, 64));
