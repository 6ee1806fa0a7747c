import { canonicalJson, hexDigest } from "../../lib/digest.ts";
import { type Cidr, contains, type Ip, isWithin, mustCidr } from "../../lib/ip.ts";
import { never } from "../../lib/never.ts";
import type { EndpointSettings } from "../config/endpoint-settings.ts";
import { classify, isLoopback } from "./classify.ts";

/** Why the guard said no; the label of turnout_egress_refused_total. */
export const EGRESS_RULES = [
  "form",
  "endpoint",
  "port",
  "cidr",
  "range",
  "ceiling",
  "reserved",
  "answers",
  "socket",
  "method",
  "path",
  "header",
  "key",
] as const;
export type EgressRule = (typeof EGRESS_RULES)[number];

/** Blocks and ports that one party opens; an address must be opened by every party of a policy. */
export interface Opening {
  readonly cidrs: readonly Cidr[];
  readonly ports: ReadonlySet<number>;
}

/** Where one endpoint may connect to. */
export interface EgressPolicy {
  readonly endpoint: string;
  readonly own: Opening;
  /** Null for a server of the operator itself: it is reached because it is the configured one, and nothing else is. */
  readonly ceiling: Opening | null;
  /** Changes with anything that the policy rests on; part of every pool's key. */
  readonly digest: string;
}

/** A listener that no endpoint reaches: the API server, or our own. */
export interface Listener {
  readonly ip: Ip;
  readonly port: number;
}

export interface CeilingSettings {
  readonly cidrs: readonly string[];
  readonly ports: readonly number[];
}

/** Kubelet, scheduler, controller manager and their health ports (Kubernetes "Ports and Protocols"). */
const isControlPort = (port: number): boolean => port >= 10_250 && port <= 10_259;

export function policyOf(endpoint: EndpointSettings, ceiling: CeilingSettings): EgressPolicy {
  const { name, cidrs, ports, tls, allowedNamespaces, allow } = endpoint;
  const digest = hexDigest(canonicalJson({ name, cidrs, ports, tls, allowedNamespaces, allow, ceiling }));
  return { endpoint: name, own: opening({ cidrs, ports }), ceiling: opening(ceiling), digest };
}

/** Of a server that the operator itself works with (API server, etcd): any address that its configured name has, but one port. */
export function configuredServerPolicy(name: string, port: number): EgressPolicy {
  const own = opening({ cidrs: ["0.0.0.0/0", "::/0"], ports: [port] });
  return { endpoint: name, own, ceiling: null, digest: hexDigest(name, String(port)) };
}

/** The first rule that speaks against this destination; null where none does (guard 3). */
export function refusalOf(
  policy: EgressPolicy,
  { ip, port }: Listener,
  reserved: readonly Listener[],
): EgressRule | null {
  if (policy.ceiling === null) return policy.own.ports.has(port) ? rangeRule(ip) : "port";
  if (isControlPort(port) || reserved.some((listener) => reaches({ ip, port }, listener))) return "reserved";
  const own = refusedBy(policy.own, ip, port);
  if (own !== null) return own;
  return refusedBy(policy.ceiling, ip, port) === null ? null : "ceiling";
}

function refusedBy(opening: Opening, ip: Ip, port: number): EgressRule | null {
  if (!opening.ports.has(port)) return "port";
  const found = classify(ip);
  switch (found.kind) {
    case "denied":
      return "range";
    case "public":
      return opening.cidrs.some((block) => contains(block, ip)) ? null : "cidr";
    case "special": {
      const opened = opening.cidrs.some((block) => contains(block, ip) && isWithin(block, found.range));
      if (!opened) return "range";
      return found.inner === null ? null : refusedBy(opening, found.inner, port);
    }
    default:
      return never(found);
  }
}

const rangeRule = (ip: Ip): EgressRule | null => (classify(ip).kind === "denied" ? "range" : null);

/** A listener on the unspecified address listens on loopback as well; its other addresses are named one by one. */
function reaches(to: Listener, listener: Listener): boolean {
  if (to.port !== listener.port) return false;
  if (listener.ip.bits === 0n) return isLoopback(to.ip);
  return to.ip.family === listener.ip.family && to.ip.bits === listener.ip.bits;
}

const opening = ({ cidrs, ports }: CeilingSettings): Opening => ({ cidrs: cidrs.map(mustCidr), ports: new Set(ports) });
