import { formatIp, type Ip, mustCidr, parseIp } from "../../../src/lib/ip.ts";

/** One way to talk a client into a destination that the policy does not list. */
export interface Vector {
  readonly family: "ipv4 spelling" | "text trick" | "ipv6 form" | "range edge" | "name";
  readonly title: string;
  /** Host as a specification, slice or setting would state it; the port is added. */
  readonly host: string;
  /** What DNS answers for it, where it gets that far. */
  readonly answers?: readonly string[];
}

const TARGETS = ["127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"] as const;

const octets = (address: string): [number, number, number, number] => {
  const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
  return [a, b, c, d];
};
const hex = (value: number): string => `0x${value.toString(16)}`;
const octal = (value: number): string => `0${value.toString(8)}`;

/** The same address in every spelling that some resolver takes (inet_aton, WHATWG URL). */
export function ipv4Spellings(): Vector[] {
  return TARGETS.flatMap((target) => {
    const [a, b, c, d] = octets(target);
    const whole = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
    const spellings: Readonly<Record<string, string>> = {
      "1 part, decimal": String(whole),
      "1 part, hex": hex(whole),
      "1 part, octal": octal(whole),
      "1 part, overflow": String(whole + 2 ** 32),
      "2 parts": `${a}.${b * 2 ** 16 + c * 2 ** 8 + d}`,
      "2 parts, hex": `${hex(a)}.${hex(b * 2 ** 16 + c * 2 ** 8 + d)}`,
      "3 parts": `${a}.${b}.${c * 2 ** 8 + d}`,
      "4 parts, hex": [a, b, c, d].map(hex).join("."),
      "4 parts, octal": [a, b, c, d].map(octal).join("."),
      "4 parts, mixed": `${hex(a)}.${octal(b)}.${c}.${d}`,
      "leading zeros": [a, b, c, d].map((part) => String(part).padStart(4, "0")).join("."),
      "octet overflow": `${a + 256}.${b}.${c}.${d}`,
      "trailing dot": `${target}.`,
      "five parts": `${target}.0`,
    };
    return Object.entries(spellings).map(([spelling, host]) => ({
      family: "ipv4 spelling" as const,
      title: `${target} as ${spelling}`,
      host,
    }));
  });
}

const wide = (text: string, zero: number): string =>
  text.replaceAll(/\d/g, (digit) => String.fromCodePoint(zero + Number(digit)));

/** Texts that one reader takes for an address or a known name, and another does not. */
export function textTricks(): Vector[] {
  const tricks: Readonly<Record<string, string>> = {
    "fullwidth digits": wide("127.0.0.1", 0xff10),
    "mathematical digits": wide("127.0.0.1", 0x1d7ce),
    "circled digits": "①②⑦.⓪.⓪.①",
    "arabic digits": wide("127.0.0.1", 0x660),
    "ideographic full stop": "127。0。0。1",
    "fullwidth full stop": "127．0．0．1",
    "halfwidth full stop": "127｡0｡0｡1",
    "soft hyphen": "127.0.\u00ad0.1",
    "zero width space": "127.0.0.1\u200b",
    "right-to-left override": "\u202e1.0.0.721",
    "percent encoded dot": "127%2e0%2e0%2e1",
    "percent encoded digit": "%3127.0.0.1",
    "user info": "allowed.test@127.0.0.1",
    "user info with password": "a:b@127.0.0.1",
    backslash: "127.0.0.1\\allowed.test",
    slash: "127.0.0.1/allowed.test",
    fragment: "127.0.0.1#allowed.test",
    query: "127.0.0.1?allowed.test",
    "leading blank": " 127.0.0.1",
    "trailing blank": "127.0.0.1 ",
    tab: "127.0.0.1\t",
    "line feed": "127.0.0.1\n",
    "carriage return": "127.0.0.1\r\nHost: x",
    NUL: "127.0.0.1\0.allowed.test",
    scheme: "http://127.0.0.1",
    "double port": "127.0.0.1:80",
    "plus sign": "+127.0.0.1",
    "negative part": "-1.0.0.1",
    underscore: "local_host",
    "leading hyphen": "-localhost",
    "empty label": "a..test",
    "empty host": "",
    "only a dot": ".",
    "kelvin sign": "\u212aelvin.test",
    "dotless i": "\u0131nternal.test",
    "fullwidth letters": "ｌｏｃａｌｈｏｓｔ",
    "hex last label": "allowed.0x7f",
    "numeric last label": "allowed.1",
  };
  return Object.entries(tricks).map(([title, host]) => ({ family: "text trick" as const, title, host }));
}

/** IPv6 ways to loopback, private ranges and metadata. */
export function ipv6Forms(): Vector[] {
  const forms: Readonly<Record<string, string>> = {
    "mapped, dotted": "::ffff:127.0.0.1",
    "mapped, hex": "::ffff:7f00:1",
    "mapped, uncompressed": "0:0:0:0:0:ffff:7f00:0001",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped private": "::ffff:10.0.0.1",
    "mapped unspecified": "::ffff:0.0.0.0",
    compatible: "::127.0.0.1",
    "compatible, hex": "::7f00:1",
    "compatible metadata": "::a9fe:a9fe",
    translated: "::ffff:0:127.0.0.1",
    "translated metadata": "::ffff:0:a9fe:a9fe",
    "NAT64 loopback": "64:ff9b::127.0.0.1",
    "NAT64 private": "64:ff9b::10.0.0.1",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::7f00:1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 private": "2002:a00:1::1",
    Teredo: "2001:0:7f00:1::",
    "Teredo, obfuscated client": "2001::80ff:fffe",
    ISATAP: "2606:4700::5efe:127.0.0.1",
    "ISATAP, universal": "2606:4700::200:5efe:7f00:1",
    "unique local": "fd12:3456::1",
    "unique local, fc": "fc00::1",
    "metadata (AWS)": "fd00:ec2::254",
    "metadata (GCP)": "fd20:ce::254",
    "link-local": "fe80::1",
    "link-local with zone": "fe80::1%lo",
    "link-local with numeric zone": "fe80::1%1",
    "loopback with zone": "::1%lo",
    loopback: "::1",
    "loopback, uncompressed": "0:0:0:0:0:0:0:1",
    unspecified: "::",
    "site-local": "fec0::1",
    multicast: "ff02::1",
    "dotted octal tail": "::ffff:0177.0.0.1",
    "two compressions": "::1::",
    "nine groups": "0:0:0:0:0:0:0:0:1",
  };
  return Object.entries(forms).map(([title, host]) => ({ family: "ipv6 form" as const, title, host: `[${host}]` }));
}

/** Ranges that `0.0.0.0/0` and `::/0` do not open (security.md, guard 3). */
export const CLOSED_RANGES = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.2.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "168.63.129.16/32",
  "::1/128",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "2001::/32",
  "2001:2::/48",
  "2001:db8::/32",
  "2002::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
] as const;

export interface Edges {
  readonly first: Ip;
  readonly last: Ip;
  /** Null at the end of the address space. */
  readonly before: Ip | null;
  readonly after: Ip | null;
}

export function edgesOf(text: string): Edges {
  const block = mustCidr(text);
  const width = block.family === 4 ? 32 : 128;
  const size = 1n << BigInt(width - block.prefix);
  const at = (bits: bigint): Ip | null =>
    bits < 0n || bits >= 1n << BigInt(width) ? null : { family: block.family, bits };
  const inside = (bits: bigint): Ip => ({ family: block.family, bits });
  return {
    first: inside(block.base),
    last: inside(block.base + size - 1n),
    before: at(block.base - 1n),
    after: at(block.base + size),
  };
}

export function rangeEdges(): Vector[] {
  return CLOSED_RANGES.flatMap((range) => {
    const { first, last } = edgesOf(range);
    return [
      { family: "range edge" as const, title: `first of ${range}`, host: hostOf(first) },
      { family: "range edge" as const, title: `last of ${range}`, host: hostOf(last) },
    ];
  });
}

/** Names whose answers the policy must refuse; the resolver is the tenant's. */
export function names(): Vector[] {
  const rows: Readonly<Record<string, readonly [host: string, answers: readonly string[]]>> = {
    localhost: ["localhost", ["127.0.0.1"]],
    "localhost, both families": ["localhost", ["::1", "127.0.0.1"]],
    "localhost with a dot": ["localhost.", ["127.0.0.1"]],
    "localhost in capitals": ["LOCALHOST", ["127.0.0.1"]],
    "subdomain of localhost": ["evil.localhost", ["127.0.0.1"]],
    "localhost.localdomain": ["localhost.localdomain", ["127.0.0.1"]],
    "public name, private answer": ["rebind.test", ["10.0.0.1"]],
    "address in the name": ["127.0.0.1.rebind.test", ["127.0.0.1"]],
    "CNAME to metadata": ["metadata.rebind.test", ["169.254.169.254"]],
    "metadata by name": ["metadata.google.internal", ["169.254.169.254"]],
    "good answer, then bad": ["mixed.rebind.test", ["203.0.113.9", "127.0.0.1"]],
    "bad answer, then good": ["mixed.rebind.test", ["127.0.0.1", "203.0.113.9"]],
    "bad answer among many": ["many.rebind.test", [...Array.from({ length: 30 }, () => "203.0.113.9"), "127.0.0.1"]],
    "more answers than fit": ["endless.rebind.test", Array.from({ length: 33 }, () => "203.0.113.9")],
    "mapped answer": ["mapped.rebind.test", ["::ffff:127.0.0.1"]],
    "answer with a zone": ["zone.rebind.test", ["fe80::1%lo"]],
    "answer in octal": ["octal.rebind.test", ["0177.0.0.1"]],
    "answer that is a name": ["loop.rebind.test", ["localhost"]],
    "unspecified answer": ["zero.rebind.test", ["0.0.0.0"]],
    "unspecified answer, IPv6": ["zero6.rebind.test", ["::"]],
    "NAT64 answer": ["nat64.rebind.test", ["64:ff9b::7f00:1"]],
    "answer outside the endpoint's block": ["other.rebind.test", ["192.0.2.9"]],
    "punycode of fullwidth digits": ["xn--127-0-0-1-1y8h.test", ["127.0.0.1"]],
  };
  return Object.entries(rows).map(([title, [host, answers]]) => ({ family: "name" as const, title, host, answers }));
}

export const ALL: readonly Vector[] = [
  ...ipv4Spellings(),
  ...textTricks(),
  ...ipv6Forms(),
  ...rangeEdges(),
  ...names(),
];

function hostOf(ip: Ip): string {
  return ip.family === 6 ? `[${formatIp(ip)}]` : formatIp(ip);
}

/** The address that a refusal may not name: every spelling of where the vector leads. */
export function namesNoAddress(text: string, { host, answers = [] }: Vector): boolean {
  const bare = host.replaceAll(/^\[|\]$/g, "");
  const known = [bare, ...answers, ...TARGETS].filter((spelling) => spelling.length > 3);
  const canonical = known.flatMap((spelling) => {
    const ip = parseIp(spelling);
    return ip === null ? [] : [formatIp(ip)];
  });
  return ![...known, ...canonical].some((spelling) => text.includes(spelling));
}
