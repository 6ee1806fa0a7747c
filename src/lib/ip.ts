declare const cidr: unique symbol;

/** An address as its bits. IPv4-mapped IPv6 (`::ffff:a.b.c.d`) is IPv4 here: both reach the same machine. */
export interface Ip {
  readonly family: 4 | 6;
  readonly bits: bigint;
}

/** A block of addresses: `base` has no bit set behind `prefix`. */
export interface Cidr {
  readonly [cidr]: true;
  readonly family: 4 | 6;
  readonly base: bigint;
  readonly prefix: number;
}

const WIDTH: Readonly<Record<4 | 6, number>> = { 4: 32, 6: 128 };
const MAPPED = 0xffffn;
const OCTET = /^(?:0|[1-9]\d{0,2})$/;
const GROUP = /^[0-9a-f]{1,4}$/i;

/** Canonical spellings only, as `net.isIP` takes them: no octal, hex or short IPv4, no zone id. Null for everything else. */
export function parseIp(text: string): Ip | null {
  if (text.length > 45) return null;
  const four = parseIpv4(text);
  if (four !== null) return { family: 4, bits: four };
  const six = parseIpv6(text);
  if (six === null) return null;
  return six >> 32n === MAPPED ? { family: 4, bits: six & 0xffffffffn } : { family: 6, bits: six };
}

/** RFC 5952 text; {@link parseIp} reads it back to the same value. */
export function formatIp({ family, bits }: Ip): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (bits >> shift) & 0xffn).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bits >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return groups.join(":");
  return `${groups.slice(0, start).join(":")}::${groups.slice(start + length).join(":")}`;
}

/** `10.0.0.0/8`, `2001:db8::/32`; null where bits behind the prefix are set, since nobody knows which block was meant. */
export function parseCidr(text: string): Cidr | null {
  const [address = "", length = "", ...rest] = text.split("/");
  const ip = parseIp(address);
  if (ip === null || rest.length > 0 || !OCTET.test(length)) return null;
  const prefix = Number(length);
  // A mapped base would count its prefix in IPv6 bits: it must be written as IPv4.
  if (prefix > WIDTH[ip.family] || (ip.family === 4 && address.includes(":"))) return null;
  const block = { family: ip.family, base: ip.bits, prefix };
  return head(ip.bits, block) << behind(block) === ip.bits ? (block as Cidr) : null;
}

/** For blocks written in the code. @throws Error where the text is not one. */
export function mustCidr(text: string): Cidr {
  const block = parseCidr(text);
  if (block === null) throw new Error(`${text} is no CIDR`);
  return block;
}

export function contains(block: Cidr, ip: Ip): boolean {
  return block.family === ip.family && head(ip.bits, block) === head(block.base, block);
}

/** Whether every address of `inner` is in `outer`. */
export function isWithin(inner: Cidr, outer: Cidr): boolean {
  return inner.prefix >= outer.prefix && contains(outer, { family: inner.family, bits: inner.base });
}

export const formatCidr = (block: Cidr): string =>
  `${formatIp({ family: block.family, bits: block.base })}/${block.prefix}`;

type Prefixed = Pick<Cidr, "family" | "prefix">;
const behind = ({ family, prefix }: Prefixed): bigint => BigInt(WIDTH[family] - prefix);
const head = (bits: bigint, block: Prefixed): bigint => bits >> behind(block);

function parseIpv4(text: string): bigint | null {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => OCTET.test(part) && Number(part) <= 255)) return null;
  return parts.reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
}

function parseIpv6(text: string): bigint | null {
  const halves = text.split("::");
  if (halves.length > 2 || !text.includes(":")) return null;
  const [front, back] = [groupsOf(halves[0] ?? "", halves.length === 1), groupsOf(halves[1] ?? "", true)];
  if (front === null || back === null) return null;
  const missing = 8 - front.length - back.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const zeros = Array.from({ length: missing }, () => 0n);
  return [...front, ...zeros, ...back].reduce((bits, group) => (bits << 16n) | group, 0n);
}

/** 16-bit groups; only the last half may end in dotted IPv4. */
function groupsOf(text: string, last: boolean): bigint[] | null {
  if (text === "") return [];
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    const dotted = last && i === parts.length - 1 ? parseIpv4(part) : null;
    if (dotted !== null) groups.push(dotted >> 16n, dotted & 0xffffn);
    else if (GROUP.test(part)) groups.push(BigInt(`0x${part}`));
    else return null;
  }
  return groups;
}

function longestZeroRun(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let end = start;
    while (groups[end] === "0") end += 1;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}
