import { type Host, parseAddress, parseHost } from "../../lib/address.ts";
import { hexDigest } from "../../lib/digest.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import type { EndpointSettings, Protocol } from "../config/endpoint-settings.ts";
import type { SecretReference } from "../config/setting-fields.ts";
import type { Destination, Guard } from "./connect.ts";
import { isAllowedKey } from "./key-rules.ts";
import { type CeilingSettings, type EgressPolicy, policyOf } from "./policy.ts";
import type { Secrets } from "./secrets.ts";
import type { TlsMaterial } from "./tls.ts";

/** Secrets of an endpoint as they are now. Stays inside infra/: no caller of a port sees one. */
export interface Material {
  readonly bearer: string | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly tls: Omit<TlsMaterial, "identity" | "alpn"> | null;
  /** Changes with any of them: pools opened under another one are closed. */
  readonly digest: string;
}

/** An endpoint that may be used: its settings, its policy, and a way to its secrets. */
export interface OpenEndpoint<P extends Protocol = Protocol> {
  readonly settings: Extract<EndpointSettings, { readonly protocol: P }>;
  readonly policy: EgressPolicy;
  material(): Promise<Found<Material>>;
  /** Where to connect for one of its addresses. */
  destination(material: Material, at: DialAs): Omit<Destination, "namespace">;
  /** Why a rendered key may not be touched; null where it may. */
  keyRefusal(key: string): Fault | null;
}

export interface DialAs {
  readonly address: string;
  readonly alpn: readonly string[];
}

export type Found<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: Fault };

export interface Endpoints {
  /** The endpoint, if it exists, speaks this protocol and the namespace may use it; one text for all three refusals (SEC-26). */
  find<P extends Protocol>(name: string, namespace: string, protocol: P): Found<OpenEndpoint<P>>;
  /** As the settings have it now, whoever may use it; null where they have none of that name and protocol. */
  open<P extends Protocol>(name: string, protocol: P): OpenEndpoint<P> | null;
  /** Other settings are in force: what is under way ends by the old ones, all that begins goes by the new ones. */
  replace(next: Pick<EndpointsDeps, "endpoints" | "ceiling">): void;
}

export interface EndpointsDeps {
  readonly endpoints: readonly EndpointSettings[];
  readonly ceiling: CeilingSettings;
  readonly secrets: Secrets;
  readonly guard: Guard;
}

/** Of an address that is none, and so is refused before TLS: a name that no certificate carries. */
const UNNAMED: Host = { kind: "name", text: "invalid" };

export function openEndpoints({ endpoints, ceiling, secrets, guard }: EndpointsDeps): Endpoints {
  const opened = (settings: EndpointSettings, within: CeilingSettings): OpenEndpoint => {
    const policy = policyOf(settings, within);
    return {
      settings,
      policy,
      material: () => materialOf(settings, secrets),
      destination: (material, at) => ({ policy, address: at.address, tls: tlsOf(settings, material, at) }),
      keyRefusal: (key) =>
        settings.protocol === "redis" && isAllowedKey(key, settings) ? null : guard.refuse(settings.name, "key"),
    };
  };
  const allOf = (next: Pick<EndpointsDeps, "endpoints" | "ceiling">): ReadonlyMap<string, OpenEndpoint> =>
    new Map(next.endpoints.map((settings) => [settings.name, opened(settings, next.ceiling)]));
  let byName = allOf({ endpoints, ceiling });
  const open = <P extends Protocol>(name: string, protocol: P): OpenEndpoint<P> | null => {
    const found = byName.get(name);
    return found?.settings.protocol === protocol ? (found as unknown as OpenEndpoint<P>) : null;
  };
  return {
    open,
    find: <P extends Protocol>(name: string, namespace: string, protocol: P): Found<OpenEndpoint<P>> => {
      const value = open(name, protocol);
      const isUsable = value?.settings.allowedNamespaces.includes(namespace) === true;
      if (value === null || !isUsable) return { ok: false, fault: guard.refuse(name.slice(0, 63), "endpoint") };
      return { ok: true, value };
    },
    replace: (next) => void (byName = allOf(next)),
  };
}

/** Null only where the endpoint says `None`. */
function tlsOf({ tls }: EndpointSettings, material: Material, { address, alpn }: DialAs): TlsMaterial | null {
  if (tls === "None" || material.tls === null) return null;
  const identity = parseHost(tls.serverName ?? "") ?? parseAddress(address)?.host ?? UNNAMED;
  return { ...material.tls, identity, alpn };
}

async function materialOf(settings: EndpointSettings, secrets: Secrets): Promise<Found<Material>> {
  const { credentials, tls, name } = settings;
  const wanted: Readonly<Record<string, SecretReference | undefined>> = {
    ...credentials,
    ...(tls === "None" ? {} : { ca: tls.ca, cert: tls.cert, key: tls.key }),
  };
  const values = new Map<string, string>();
  for (const [part, reference] of Object.entries(wanted)) {
    if (reference === undefined) continue;
    const read = await secrets.read(reference);
    if (!read.ok) return { ok: false, fault: fault("SecretUnreadable", { endpoint: name, reason: read.reason }) };
    // RFC 6750: what a bearer token may hold; a line break would become a header of its own.
    if (part === "bearer" && !/^[\x21-\x7e]{1,8192}$/.test(read.value)) {
      return { ok: false, fault: fault("SecretUnreadable", { endpoint: name, reason: "not plain text" }) };
    }
    values.set(part, read.value);
  }
  const part = (key: string): string | null => values.get(key) ?? null;
  return {
    ok: true,
    value: {
      bearer: part("bearer"),
      username: part("username"),
      password: part("password"),
      tls: tls === "None" ? null : { ca: part("ca"), cert: part("cert"), key: part("key") },
      digest: hexDigest(...[...values].flat()),
    },
  };
}
