import { parseHost } from "../../lib/address.ts";
import type { EndpointSettings } from "../config/endpoint-settings.ts";
import { isAllowedKey } from "./key-rules.ts";
import { type CeilingSettings, policyOf, refusalOf } from "./policy.ts";
import { requestRefusal } from "./request-rules.ts";

/** An endpoint as plans see it: who may use it, and what its policy says of a destination, a request, a key. Nothing is counted. */
export interface PlanFacts {
  readonly name: string;
  readonly protocol: string;
  readonly addresses: readonly string[];
  readonly fencing: "Token" | "None";
  readonly allowedNamespaces: readonly string[];
  readonly refusesAddress: (host: string, port: number) => string | null;
  readonly refusesRequest: (line: {
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
  }) => string | null;
  readonly refusesKey: (key: string) => string | null;
}

/** A literal address is judged whole; of a name only the port, since what it resolves to is judged at every connect (guard 2). */
export function planFacts(settings: EndpointSettings, ceiling: CeilingSettings): PlanFacts {
  const policy = policyOf(settings, ceiling);
  return {
    name: settings.name,
    protocol: settings.protocol,
    addresses: settings.addresses,
    fencing: "fencing" in settings ? settings.fencing : "Token",
    allowedNamespaces: settings.allowedNamespaces,
    refusesAddress: (text, port) => {
      const host = parseHost(text);
      if (host === null) return "form";
      if (host.kind === "ip") return refusalOf(policy, { ip: host.ip, port }, []) === null ? null : "destination";
      return policy.own.ports.has(port) && policy.ceiling?.ports.has(port) === true ? null : "destination";
    },
    refusesRequest: (line) => (settings.protocol === "http" ? requestRefusal(line, settings) : "endpoint"),
    refusesKey: (key) => (settings.protocol === "redis" && isAllowedKey(key, settings) ? null : "key"),
  };
}
