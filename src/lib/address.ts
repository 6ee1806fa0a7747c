import { formatIp, type Ip, parseIp } from "./ip.ts";

/** A host in the one spelling that resolver, verifier and policy agree on (security.md, guard 1). */
export type Host =
  { readonly kind: "ip"; readonly text: string; readonly ip: Ip } | { readonly kind: "name"; readonly text: string };

export interface Address {
  readonly host: Host;
  readonly port: number;
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** What some resolver takes for a number: `1`, `0x7f`. As last label it makes the whole name an address (WHATWG URL, "ends in a number"). */
const NUMERIC = /^(?:\d+|0x[0-9a-f]*)$/;
const PORT = /^[1-9]\d{0,4}$/;

/**
 * Canonical IP or LDH name. `127.1`, `0177.0.0.1`, `2130706433`, fullwidth digits, `%`, `@`, NUL give null: refused, never
 * normalised. Only the case of a name and one trailing dot are levelled.
 */
export function parseHost(text: string): Host | null {
  const ip = parseIp(text);
  if (ip !== null) return { kind: "ip", text: formatIp(ip), ip };
  const name = asciiLower(text.endsWith(".") ? text.slice(0, -1) : text);
  const labels = name.split(".");
  const last = labels.at(-1) ?? "";
  const fits = name.length > 0 && name.length <= 253 && labels.every((label) => LABEL.test(label));
  return fits && !NUMERIC.test(last) ? { kind: "name", text: name } : null;
}

/** `host:port`, IPv6 in brackets; null for everything else. */
export function parseAddress(text: string): Address | null {
  const colon = text.lastIndexOf(":");
  const [front, port] = [text.slice(0, Math.max(colon, 0)), text.slice(colon + 1)];
  const bracketed = front.startsWith("[") && front.endsWith("]");
  const host = parseHost(bracketed ? front.slice(1, -1) : front);
  if (host === null || bracketed !== (front.includes(":") && host.kind === "ip")) return null;
  return parsePort(port) === null ? null : { host, port: Number(port) };
}

export function parsePort(text: string): number | null {
  return PORT.test(text) && Number(text) <= 65_535 ? Number(text) : null;
}

/** The text that {@link parseAddress} reads back to the same value. */
export function formatAddress({ host, port }: Address): string {
  return host.kind === "ip" && host.ip.family === 6 ? `[${host.text}]:${port}` : `${host.text}:${port}`;
}

/** `toLowerCase` would turn the Kelvin sign into `k`. */
const asciiLower = (text: string): string => text.replaceAll(/[A-Z]/g, (c) => c.toLowerCase());
