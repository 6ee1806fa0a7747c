import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress, parseHost } from "../../../src/lib/address.ts";
import {
  contains,
  formatCidr,
  formatIp,
  type Ip,
  isWithin,
  mustCidr,
  parseCidr,
  parseIp,
} from "../../../src/lib/ip.ts";
import { ipv4Spellings, ipv6Forms, textTricks } from "../../support/egress/vectors.ts";

const ip4 = fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((bits): Ip => ({ family: 4, bits }));
const ip6 = fc
  .bigInt({ min: 0n, max: 2n ** 128n - 1n })
  .filter((bits) => bits >> 32n !== 0xffffn)
  .map((bits): Ip => ({ family: 6, bits }));
const anyIp = fc.oneof(ip4, ip6);
/** Texts near addresses: what node:net accepts among them is what we accept. */
const nearIp = fc.oneof(
  fc.ipV4(),
  fc.ipV4Extended(),
  fc.ipV6(),
  fc.string({ unit: fc.constantFrom("0", "1", "2", "5", "9", "f", ".", ":", "x", "%"), maxLength: 20 }),
);

describe("[SEC-19] addresses", () => {
  test("exactly what node:net takes is an address, zone ids apart", () => {
    fc.assert(
      fc.property(nearIp, (text) => {
        expect(parseIp(text) !== null).toBe(isIP(text) !== 0 && !text.includes("%"));
      }),
      { numRuns: 5000 },
    );
  });

  test("printing and reading gives the same address, and a text that node:net takes", () => {
    fc.assert(
      fc.property(anyIp, (ip) => {
        expect(parseIp(formatIp(ip))).toEqual(ip);
        expect(isIP(formatIp(ip))).toBe(ip.family);
      }),
      { numRuns: 3000 },
    );
  });

  test("an IPv6 text means what the URL parser takes it for", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const ip = parseIp(text);
        const asUrl = new URL(`http://[${text}]/`).hostname.slice(1, -1);
        expect(ip === null ? null : parseIp(asUrl)).toEqual(ip);
        expect(ip?.family === 6 ? formatIp(ip) : asUrl).toBe(asUrl);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["::ffff:127.0.0.1", "127.0.0.1"],
    ["::FFFF:7F00:1", "127.0.0.1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["2001:db8::0:1", "2001:db8::1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["::", "::"],
    ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ])("%s is %s", (text, canonical) => {
    const ip = parseIp(text);
    expect(ip === null ? null : formatIp(ip)).toBe(canonical);
  });
});

describe("[SEC-19] blocks", () => {
  test("a block holds what shares its first bits, and nothing else", () => {
    fc.assert(
      fc.property(anyIp, fc.integer({ min: 0, max: 128 }), anyIp, (ip, length, other) => {
        const width = ip.family === 4 ? 32 : 128;
        const prefix = Math.min(length, width);
        const shift = BigInt(width - prefix);
        const block = mustCidr(`${formatIp({ family: ip.family, bits: (ip.bits >> shift) << shift })}/${prefix}`);
        expect(contains(block, ip)).toBe(true);
        expect(contains(block, other)).toBe(other.family === ip.family && other.bits >> shift === ip.bits >> shift);
        expect(isWithin(block, block)).toBe(true);
        expect(parseCidr(formatCidr(block))).toEqual(block);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.1/8",
    "10.0.0/8",
    "0x0a.0.0.0/8",
    "::/129",
    "::ffff:10.0.0.0/104",
    "fe80::%lo/10",
    "10.0.0.0/8/8",
    "/8",
    "",
  ])("%j is no block", (text) => {
    expect(parseCidr(text)).toBeNull();
  });

  test.each([
    ["10.1.0.0/16", "10.0.0.0/8", true],
    ["10.0.0.0/8", "10.0.0.0/8", true],
    ["0.0.0.0/0", "10.0.0.0/8", false],
    ["10.0.0.0/7", "10.0.0.0/8", false],
    ["11.0.0.0/16", "10.0.0.0/8", false],
    ["::/0", "0.0.0.0/0", false],
  ])("%s within %s: %s", (inner, outer, within) => {
    expect(isWithin(mustCidr(inner), mustCidr(outer))).toBe(within);
  });

  test("a block in the code that is none is a bug", () => {
    expect(() => mustCidr("10.0.0.1/8")).toThrow("10.0.0.1/8 is no CIDR");
  });
});

describe("[SEC-19] guard 1: hosts", () => {
  const targets = new Set(["127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"]);
  test.each(ipv4Spellings().map(({ title, host }) => [title, host] as const))(
    "%s is refused, not normalised",
    (_title, host) => {
      expect(parseHost(host)).toBeNull();
      expect(targets.has(host)).toBe(false);
    },
  );
  test.each(textTricks().map(({ title, host }) => [title, host] as const))("%s is refused", (_title, host) => {
    expect(parseHost(host)).toBeNull();
    expect(parseAddress(`${host}:80`)).toBeNull();
  });

  test("a name that passes is what the URL parser keeps as it is", () => {
    const part = fc.string({
      unit: fc.constantFrom("a", "z", "0", "9", "x", "-", "A", "."),
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(part, (text) => {
        const host = parseHost(text);
        expect(host === null ? null : new URL(`http://${host.text}`).hostname).toBe(host === null ? null : host.text);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ["gateway", "gateway"],
    ["Gateway.Prod.SVC.", "gateway.prod.svc"],
    ["a-1.2b", "a-1.2b"],
    ["127.svc", "127.svc"],
    [`${"a".repeat(63)}.test`, `${"a".repeat(63)}.test`],
  ])("%s is the name %s", (text, name) => {
    expect(parseHost(text)).toEqual({ kind: "name", text: name });
  });

  test.each([
    `${"a".repeat(64)}.test`,
    `${"a.".repeat(126)}ab`,
    "a..b",
    ".a",
    "a-",
    "-a.b",
    "a.0x",
    "a.0xfg1.0x1",
    "a.123",
    "a_b",
  ])("%s is no name", (text) => {
    expect(parseHost(text)).toBeNull();
  });

  test("host and port: brackets round IPv6 only, ports without sign or zeros", () => {
    const good = ["127.0.0.1:1", "[::1]:65535", "gateway.prod.svc:8080"];
    expect(
      good.map((text) => parseAddress(text)).map((found) => (found === null ? null : formatAddress(found))),
    ).toEqual(good);
    const bad = [
      "::1:80",
      "[127.0.0.1]:80",
      "[gateway]:80",
      "a:0",
      "a:65536",
      "a:080",
      "a:+80",
      "a: 80",
      "a:",
      ":80",
      "a",
      "",
      "[::1]",
      "[::1]80",
      "a:80:80",
      "[::ffff:1.2.3.4:80",
    ];
    expect(bad.filter((text) => parseAddress(text) !== null)).toEqual([]);
    const mapped = parseAddress("[::ffff:1.2.3.4]:80");
    expect(mapped === null ? null : formatAddress(mapped)).toBe("1.2.3.4:80");
  });

  test("forms of IPv6 that are addresses are read, the others refused", () => {
    const unreadable = ipv6Forms().filter(({ host }) => parseHost(host.slice(1, -1)) === null);
    expect(unreadable.map(({ title }) => title).toSorted()).toEqual(
      [
        "dotted octal tail",
        "link-local with numeric zone",
        "link-local with zone",
        "loopback with zone",
        "nine groups",
        "two compressions",
      ].toSorted(),
    );
  });
});
