// egress: the one way out. Every socket that the operator opens to anything passes the guard that lives here (security.md).
// Nothing here knows tasks or stages, and nobody else opens sockets.
import { type Cidr, contains, type Ip, mustCidr } from "../../lib/ip.ts";

/**
 * What an address is, judged by its bits alone. *special* is opened only by a block that lies wholly inside `range`; `inner`
 * is the IPv4 address that a translator would reach, which must pass too.
 */
export type AddressClass =
  | { readonly kind: "public" }
  | { readonly kind: "special"; readonly range: Cidr; readonly inner: Ip | null }
  | { readonly kind: "denied"; readonly range: string };

const table = (blocks: Readonly<Record<string, string>>): readonly (readonly [Cidr, string])[] =>
  Object.entries(blocks).map(([block, name]) => [mustCidr(block), name] as const);

/** Never reached, whatever a policy lists. */
const DENIED = table({
  "0.0.0.0/8": "this network",
  "169.254.0.0/16": "link-local",
  "224.0.0.0/4": "multicast",
  "240.0.0.0/4": "reserved",
  // Cloud metadata (AWS, GCP, Azure) and the same over IPv6; 169.254.169.254 lies in link-local.
  "100.100.100.200/32": "metadata",
  "168.63.129.16/32": "metadata",
  "192.0.0.192/32": "metadata",
  "fd00:ec2::254/128": "metadata",
  "fd20:ce::254/128": "metadata",
  "::/128": "unspecified",
  "fe80::/10": "link-local",
  "fec0::/10": "site-local",
  "ff00::/8": "multicast",
  "::ffff:0:0:0/96": "IPv4-translated",
  "64:ff9b:1::/48": "local NAT64",
  "2001::/32": "Teredo",
  "2002::/16": "6to4",
  "192.88.99.0/24": "6to4 relay",
});

/** Real in-cluster destinations lie here, so a policy may open them, but only by name. */
const SPECIAL = table({
  "127.0.0.0/8": "loopback",
  "10.0.0.0/8": "private",
  "172.16.0.0/12": "private",
  "192.168.0.0/16": "private",
  "100.64.0.0/10": "shared (CGNAT)",
  "198.18.0.0/15": "benchmark",
  "192.0.0.0/24": "protocol assignments",
  "192.0.2.0/24": "documentation",
  "198.51.100.0/24": "documentation",
  "203.0.113.0/24": "documentation",
  "::1/128": "loopback",
  "fc00::/7": "unique local",
  "100::/64": "discard",
  "2001:2::/48": "benchmark",
  "2001:db8::/32": "documentation",
  "3fff::/20": "documentation",
  "64:ff9b::/96": "NAT64",
});

const NAT64 = mustCidr("64:ff9b::/96");
const COMPATIBLE = mustCidr("::/96");
const LOOPBACK6 = mustCidr("::1/128");

export function classify(ip: Ip): AddressClass {
  const denied = DENIED.find(([block]) => contains(block, ip))?.[1] ?? embedded(ip);
  if (denied !== null) return { kind: "denied", range: denied };
  const special = SPECIAL.find(([block]) => contains(block, ip));
  if (special === undefined) return { kind: "public" };
  const inner: Ip | null = contains(NAT64, ip) ? { family: 4, bits: ip.bits & 0xffffffffn } : null;
  return { kind: "special", range: special[0], inner };
}

export const isLoopback = (ip: Ip): boolean => contains(LOOPBACK6, ip) || contains(mustCidr("127.0.0.0/8"), ip);

/** IPv6 addresses that carry an IPv4 one where no block tells. */
function embedded(ip: Ip): string | null {
  if (contains(COMPATIBLE, ip) && !contains(LOOPBACK6, ip)) return "IPv4-compatible";
  // ISATAP (RFC 5214): interface identifier [02]00:5efe:a.b.c.d, under any prefix.
  const identifier = (ip.bits >> 32n) & 0xffffffffn;
  return ip.family === 6 && (identifier === 0x5efen || identifier === 0x02005efen) ? "ISATAP" : null;
}
