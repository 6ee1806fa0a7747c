import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { classify } from "../../../src/infra/egress/classify.ts";
import { configuredServerPolicy, policyOf, refusalOf } from "../../../src/infra/egress/policy.ts";
import { formatIp, type Ip, mustCidr, parseIp } from "../../../src/lib/ip.ts";
import { httpEndpoint } from "../../support/egress/rig.ts";
import { CLOSED_RANGES, edgesOf } from "../../support/egress/vectors.ts";

const ip = (text: string): Ip => parseIp(text) ?? { family: 4, bits: -1n };
const EVERYTHING = ["0.0.0.0/0", "::/0"];

/** What stands between an endpoint that lists these blocks and the address. */
function refusal(cidrs: readonly string[], address: string, ceiling: readonly string[] = cidrs): string | null {
  const policy = policyOf(httpEndpoint({ cidrs, ports: [80] }), { cidrs: ceiling, ports: [80] });
  return refusalOf(policy, { ip: ip(address), port: 80 }, []);
}

describe("[SEC-19] guard 3: 0.0.0.0/0 and ::/0 open no closed range", () => {
  test.each(CLOSED_RANGES)("%s, from its first to its last address and not beyond", (range) => {
    const { first, last, before, after } = edgesOf(range);
    const inside = [first, last].map((edge) => refusal(EVERYTHING, formatIp(edge)));
    expect(inside).toEqual(["range", "range"]);
    for (const edge of [before, after]) {
      if (edge === null) continue;
      const elsewhere = classify(edge).kind !== "public";
      expect([formatIp(edge), refusal(EVERYTHING, formatIp(edge))]).toEqual([
        formatIp(edge),
        elsewhere ? "range" : null,
      ]);
    }
  });

  test("every address of a closed range, and no public one", () => {
    const blocks = CLOSED_RANGES.map((range) => mustCidr(range));
    const inside = fc
      .constantFrom(...blocks)
      .chain(({ family, base, prefix }) =>
        fc
          .bigInt({ min: 0n, max: (1n << BigInt((family === 4 ? 32 : 128) - prefix)) - 1n })
          .map((offset): Ip => ({ family, bits: base + offset })),
      );
    fc.assert(
      fc.property(inside, (address) => {
        expect(refusal(EVERYTHING, formatIp(address))).toBe("range");
      }),
      { numRuns: 2000 },
    );
  });

  test.each(["8.8.8.8", "1.1.1.1", "223.255.255.255", "2606:4700::1111", "2a00::1", "9.255.255.255", "11.0.0.0"])(
    "%s is public",
    (address) => {
      expect(refusal(EVERYTHING, address)).toBeNull();
      expect(refusal(["203.0.113.0/24"], address)).toBe("cidr");
    },
  );
});

describe("[SEC-19] what a block opens", () => {
  test.each<readonly [cidrs: readonly string[], address: string, rule: string | null]>([
    [["10.0.0.0/8"], "10.1.2.3", null],
    [["10.1.2.3/32"], "10.1.2.3", null],
    [["10.0.0.0/7"], "10.1.2.3", "range"],
    [["10.1.2.4/32"], "10.1.2.3", "range"],
    [["127.0.0.0/8"], "127.255.255.255", null],
    [["::1/128"], "::1", null],
    [["::/127"], "::1", "range"],
    [["fd00::/8"], "fd12::1", null],
    [["fc00::/7"], "fd12::1", null],
    [["fc00::/6"], "fd12::1", "range"],
    [["100.64.0.0/10"], "100.100.1.1", null],
  ])("%j for %s: %s", (cidrs, address, rule) => {
    expect(refusal(cidrs, address)).toBe(rule);
  });

  test.each([
    ["169.254.0.0/16", "169.254.169.254"],
    ["169.254.169.254/32", "169.254.169.254"],
    ["100.64.0.0/10", "100.100.100.200"],
    ["168.63.129.16/32", "168.63.129.16"],
    ["fd00:ec2::/32", "fd00:ec2::254"],
    ["fd20:ce::/32", "fd20:ce::254"],
    ["192.0.0.0/24", "192.0.0.192"],
    ["0.0.0.0/8", "0.0.0.1"],
    ["::/128", "::"],
    ["224.0.0.0/4", "239.1.1.1"],
    ["240.0.0.0/4", "255.255.255.255"],
    ["fe80::/10", "fe80::1"],
    ["fec0::/10", "fec0::1"],
    ["ff00::/8", "ff02::1"],
    ["::/96", "::7f00:1"],
    ["::ffff:0:0:0/96", "::ffff:0:7f00:1"],
    ["2002::/16", "2002:7f00:1::"],
    ["2001::/32", "2001::1"],
    ["64:ff9b:1::/48", "64:ff9b:1::1"],
    ["2001:db8::/32", "2001:db8::5efe:7f00:1"],
    ["2606:4700::/32", "2606:4700::200:5efe:a00:1"],
  ])("listing %s does not open %s: denied whatever is listed", (block, address) => {
    expect(refusal([block], address)).toBe("range");
  });

  test.each<readonly [cidrs: readonly string[], inner: string, rule: string | null]>([
    [["64:ff9b::/96"], "10.0.0.1", "range"],
    [["64:ff9b::/96", "10.0.0.0/8"], "10.0.0.1", null],
    [["64:ff9b::/96", "0.0.0.0/0"], "127.0.0.1", "range"],
    [["64:ff9b::/96", "0.0.0.0/0"], "169.254.169.254", "range"],
    [["64:ff9b::/96", "8.8.8.0/24"], "8.8.8.8", null],
    [["64:ff9b::/96"], "8.8.8.8", "cidr"],
    [["10.0.0.0/8"], "10.0.0.1", "range"],
    [["::/0", "10.0.0.0/8"], "10.0.0.1", "range"],
  ])("NAT64 with %j to %s: %s", (cidrs, inner, rule) => {
    expect(refusal(cidrs, `64:ff9b::${inner}`)).toBe(rule);
  });

  test.each<readonly [ceiling: readonly string[], rule: string | null]>([
    [["10.0.0.0/8"], null],
    [["10.1.0.0/16"], null],
    [["10.2.0.0/16"], "ceiling"],
    [["0.0.0.0/0"], "ceiling"],
    [[], "ceiling"],
  ])("[SEC-45] a ceiling of %j: %s", (ceiling, rule) => {
    expect(refusal(["10.0.0.0/8"], "10.1.2.3", ceiling)).toBe(rule);
  });
});

describe("[SEC-19] listeners that no endpoint reaches", () => {
  const policy = policyOf(httpEndpoint({ cidrs: ["127.0.0.0/8", "10.0.0.0/8", "::1/128"], ports: [6443] }), {
    cidrs: ["127.0.0.0/8", "10.0.0.0/8", "::1/128"],
    ports: [6443],
  });
  const judge = (to: string, listener: string, port = 6443): string | null =>
    refusalOf(policy, { ip: ip(to), port: 6443 }, [{ ip: ip(listener), port }]);

  test.each([
    ["127.0.0.1", "127.0.0.1", "reserved"],
    ["127.0.0.2", "127.0.0.1", null],
    ["127.0.0.9", "0.0.0.0", "reserved"],
    ["127.0.0.9", "::", "reserved"],
    ["::1", "0.0.0.0", "reserved"],
    ["10.0.0.1", "0.0.0.0", null],
    ["10.0.0.1", "10.0.0.1", "reserved"],
    ["::1", "127.0.0.1", null],
  ])("to %s while %s listens: %s", (to, listener, rule) => {
    expect(judge(to, listener)).toBe(rule);
    expect(judge(to, listener, 6444)).toBeNull();
  });

  test("[SEC-4] the API server's own policy goes to its port only, and to no denied range", () => {
    const own = configuredServerPolicy("kubernetes", 6443);
    const says = (address: string, port: number): string | null =>
      refusalOf(own, { ip: ip(address), port }, [{ ip: ip("127.0.0.1"), port: 6443 }]);
    expect([says("127.0.0.1", 6443), says("10.0.0.1", 6443), says("8.8.8.8", 6443)]).toEqual([null, null, null]);
    expect([says("127.0.0.1", 443), says("169.254.169.254", 6443)]).toEqual(["port", "range"]);
  });
});

test("[SEC-19] guard 6: the digest of a policy changes with each part of it, and with nothing else", () => {
  const base = httpEndpoint();
  const ceiling = { cidrs: ["127.0.0.0/8"], ports: [80] };
  const digests = [
    policyOf(base, ceiling),
    policyOf({ ...base, name: "other" }, ceiling),
    policyOf({ ...base, cidrs: ["127.0.0.2/32"] }, ceiling),
    policyOf({ ...base, ports: [81] }, ceiling),
    policyOf({ ...base, tls: {} }, ceiling),
    policyOf({ ...base, tls: { serverName: "a" } }, ceiling),
    policyOf({ ...base, allowedNamespaces: ["dev"] }, ceiling),
    policyOf({ ...base, allow: { methods: ["GET"], paths: ["/"] } }, ceiling),
    policyOf(base, { ...ceiling, ports: [80, 81] }),
    policyOf(base, { ...ceiling, cidrs: ["127.0.0.0/9"] }),
  ].map(({ digest }) => digest);
  expect(new Set(digests).size).toBe(digests.length);
  expect(policyOf({ ...base, addresses: ["127.0.0.1:80"] }, ceiling).digest).toBe(digests[0]);
});
