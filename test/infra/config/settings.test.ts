import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ENDPOINTS, type EndpointSettings } from "../../../src/infra/config/endpoint-settings.ts";
import { checkSettings, loadSettings } from "../../../src/infra/config/load-settings.ts";
import { formatProblem } from "../../../src/infra/config/problems.ts";
import { operatorSettings, type Settings } from "../../../src/infra/config/settings.ts";
import type { Json, JsonObject } from "../../../src/lib/json.ts";

const CEILING = { cidrs: ["127.0.0.0/8", "10.0.0.0/8"], ports: [80, 443, 6379], secretRoots: ["/etc/turnout/secrets"] };
const HTTP: JsonObject = {
  name: "gateway",
  protocol: "http",
  tls: "None",
  fencing: "Token",
  addresses: ["127.0.0.1:80"],
  allowedNamespaces: ["prod"],
  cidrs: ["127.0.0.1/32"],
  ports: [80],
};

const withEndpoint = (about: JsonObject): JsonObject => ({
  operator: { ceiling: CEILING },
  endpoints: [{ ...HTTP, ...about }],
});
const withOperator = (about: JsonObject): JsonObject => ({ operator: { ceiling: CEILING, ...about }, endpoints: [] });

function accepted(raw: Json): Settings {
  const result = checkSettings(raw);
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join("\n"));
  return result.settings;
}
const problems = (raw: Json): string[] => {
  const result = checkSettings(raw);
  return result.ok ? [] : result.problems.map(formatProblem);
};
const endpointOf = (about: JsonObject): EndpointSettings | undefined => accepted(withEndpoint(about)).endpoints[0];

/** A folder that is gone afterwards. */
async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "turnout-settings-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("defaults", () => {
  test("an operator that states its ceiling only gets what stages.md says", () => {
    expect(accepted(withOperator({})).operator).toEqual({
      log: { level: "info" },
      listen: { host: "127.0.0.1", port: 18_080 },
      leaderElection: { enabled: true, name: "turnout", namespace: "turnout-system" },
      limits: { claimed: 200, acts: 64, sockets: 4 },
      defaults: {
        timeout: 300_000,
        attemptTimeout: 15_000,
        instanceTimeout: 3000,
        retry: { maxAttempts: 3, backoff: { initial: 1000, factor: 2, max: 30_000 } },
      },
      ceiling: { ...CEILING, patchKinds: [] },
    });
  });

  test("one field of a group leaves the others at theirs", () => {
    const { operator } = accepted(
      withOperator({ limits: { acts: 8 }, defaults: { retry: { backoff: { max: "1m" } } } }),
    );
    expect(operator.limits).toEqual({ claimed: 200, acts: 8, sockets: 4 });
    expect(operator.defaults.retry).toEqual({ maxAttempts: 3, backoff: { initial: 1000, factor: 2, max: 60_000 } });
  });
});

describe("files", () => {
  test("the shipped example is accepted, from a folder", async () => {
    const result = await loadSettings("config/dev/turnout");
    expect(
      result.ok ? result.settings.endpoints.map(({ name, protocol }) => `${protocol} ${name}`) : result.problems,
    ).toEqual(["http im-gateway", "redis routing"]);
  });

  test("one file { operator, endpoints } says the same", () =>
    inFolder(async (folder) => {
      const [operator, endpoints] = await Promise.all(
        ["operator", "endpoints"].map(
          async (name) => JSON.parse(await readFile(`config/dev/turnout/${name}.json`, "utf8")) as Json,
        ),
      );
      const file = join(folder, "settings.json");
      await writeFile(file, JSON.stringify({ operator, endpoints }));
      expect(await loadSettings(file)).toEqual(await loadSettings("config/dev/turnout"));
    }));

  test.each<readonly [title: string, text: string, problem: RegExp]>([
    ["broken syntax", '{\n  "operator": {,\n', /is refused: not JSON at 2:16/],
    ["a key twice", '{"operator":{},"operator":{}}', /a key stands twice/],
    ["[SEC-44] a poisoned key", '{"operator":{"__proto__":{"x":1}}}', /forbidden key/],
    ["[SEC-44] depth", "[".repeat(40), /deeper than 12/],
    ["not an object", "[]", /is not allowed here \(allowed: an object with operator and endpoints\)/],
    ["nothing in it", "{}", /operator: is missing/],
  ])("%s is reported, with its place and without its text", (_title, text, problem) =>
    inFolder(async (folder) => {
      const file = join(folder, "settings.json");
      await writeFile(file, text);
      const result = await loadSettings(file);
      expect(result.ok ? "" : result.problems.map(formatProblem).join("\n")).toMatch(problem);
    }),
  );

  test("what is absent, and both files of a folder, are reported by name", () =>
    inFolder(async (folder) => {
      const none = await loadSettings(join(folder, "none.json"));
      expect(none).toMatchObject({
        ok: false,
        problems: [{ path: join(folder, "none.json"), message: "cannot be read" }],
      });
      const both = await loadSettings(folder);
      expect(both.ok ? [] : both.problems.map(({ path }) => path)).toEqual([
        join(folder, "operator.json"),
        join(folder, "endpoints.json"),
      ]);
    }));
});

describe("problems", () => {
  test("all of them are reported together, each with path, value and what would do", () => {
    const raw: Json = {
      operatr: {},
      operator: {
        log: { levl: "info", level: "loud" },
        listen: { host: "127.1", port: 65_536 },
        limits: { sockets: 1.5 },
        defaults: { timeout: "5x", instanceTimeout: "1m" },
        ceiling: { cidrs: ["127.0.0.0/8"], ports: [80] },
      },
      endpoints: [
        { ...HTTP, name: "Bad Name", cidrs: ["10.0.0.1/8"], allowedNamespaces: [], fencing: "Maybe" },
        { ...HTTP, protocol: "htp" },
        { ...HTTP, addresses: ["0x7f.1:80", "127.0.0.1:81"], retries: 3 },
        { ...HTTP, cidrs: ["10.0.0.0/8"], addresses: [], ports: [443] },
      ],
    };
    expect(problems(raw)).toEqual([
      "operatr: is not a setting (allowed: operator, endpoints)",
      'operator.log.level: "loud" is not allowed here (allowed: debug, info, warn, error)',
      "operator.log.levl: is not a setting; did you mean level?",
      'operator.listen.host: "127.1" is not a canonical host (allowed: a plain IP or a DNS name whose last label is no number)',
      "operator.listen.port: 65536 is not a whole number from 0 to 65535",
      "operator.limits.sockets: 1.5 is not a whole number from 1 to 64",
      'operator.defaults.timeout: "5x" is not a duration in range (allowed: a duration such as 5s or 10m, from 1s to 24h)',
      'endpoints[0].name: "Bad Name" is not a DNS label (allowed: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit)',
      "endpoints[0].allowedNamespaces: [] is too small (allowed: at least 1 entries)",
      'endpoints[0].cidrs[0]: "10.0.0.1/8" is not a CIDR (allowed: a block such as 10.96.0.0/12 with no bit set behind the prefix)',
      'endpoints[0].fencing: "Maybe" is not allowed here (allowed: Token, None)',
      'endpoints[1].protocol: "htp" is not allowed here (allowed: http, extension, prometheus, grpc, redis, etcd, kafka)',
      'endpoints[2].addresses[0]: "0x7f.1:80" is not a canonical address (allowed: host:port; host a plain IP ([…] round IPv6) or a DNS name whose last label is no number)',
      "endpoints[2].retries: is not a setting",
      'operator.defaults.instanceTimeout: "1m" is longer than attemptTimeout (allowed: at most attemptTimeout)',
      'endpoints[2].name: "gateway" stands twice (allowed: each name once)',
      'endpoints[3].name: "gateway" stands twice (allowed: each name once)',
      'endpoints[2].addresses[1]: "127.0.0.1:81" lies outside the endpoint\'s ports (allowed: an address within cidrs and ports)',
      'endpoints[3].cidrs[0]: "10.0.0.0/8" lies beyond the operator\'s ceiling (allowed: 127.0.0.0/8)',
      "endpoints[3].ports[0]: 443 lies beyond the operator's ceiling (allowed: 80)",
    ]);
  });

  test.each<readonly [title: string, about: JsonObject, problem: string]>([
    [
      "[SEC-25] credentials without allow",
      { credentials: { bearer: { env: "TURNOUT_SECRET_A" } } },
      "endpoints[0].allow: is missing although the endpoint has credentials",
    ],
    [
      "[SEC-39] a literal",
      { credentials: { bearer: "s3cret" } },
      "endpoints[0].credentials.bearer: (hidden) is not a secret reference",
    ],
    [
      "[SEC-39] a variable of another name",
      { credentials: { bearer: { env: "HOME" } } },
      "endpoints[0].credentials.bearer: (hidden) is not a secret reference",
    ],
    [
      "[SEC-39] a file outside the roots",
      { credentials: { bearer: { file: "/etc/shadow" } } },
      "endpoints[0].credentials.bearer.file: lies under no secret root (allowed: a file under /etc/turnout/secrets)",
    ],
    [
      "[SEC-39] a file beside a root",
      { credentials: { bearer: { file: "/etc/turnout/secrets-2/a" } } },
      "endpoints[0].credentials.bearer.file: lies under no secret root",
    ],
    [
      "[SEC-39] a path with dots",
      { tls: { ca: { file: "/etc/turnout/secrets/../../shadow" } } },
      "endpoints[0].tls.ca: (hidden) is not a secret reference",
    ],
    [
      "both kinds of reference",
      { tls: { ca: { env: "TURNOUT_SECRET_A", file: "/etc/turnout/secrets/a" } } },
      "endpoints[0].tls.ca: (hidden) is not a secret reference",
    ],
    ["[SEC-28] no word about TLS", { tls: null }, "endpoints[0].tls: "],
    [
      "[SEC-27] a switch for verification",
      { tls: { insecureSkipVerify: true } },
      "endpoints[0].tls.insecureSkipVerify: is not a setting",
    ],
    [
      "a certificate without its key",
      { tls: { cert: { env: "TURNOUT_SECRET_A" } } },
      "endpoints[0].tls: (hidden) needs cert and key together",
    ],
    [
      "a password for HTTP",
      { credentials: { password: { env: "TURNOUT_SECRET_A" } } },
      "endpoints[0].credentials.password: is not a setting",
    ],
    ["redis with a fencing", { protocol: "redis" }, "endpoints[0].fencing: is not a setting"],
    ["no fencing", { fencing: null }, "endpoints[0].fencing: null is not allowed here (allowed: Token, None)"],
    [
      "[SEC-25] our records among the keys",
      { protocol: "redis", allow: { keys: ["turnout:"] } },
      'endpoints[0].allow.keys[0]: "turnout:" begins with the reserved turnout:',
    ],
    [
      "keys of HTTP",
      { allow: { methods: ["GET"], paths: ["/"], keys: ["a"] } },
      "endpoints[0].allow.keys: is not a setting",
    ],
    [
      "a path prefix with dots",
      { allow: { methods: ["GET"], paths: ["/a/../b"] } },
      'endpoints[0].allow.paths[0]: "/a/../b" has a dot segment',
    ],
    [
      "a path prefix that is none",
      { allow: { methods: ["GET"], paths: ["a"] } },
      'endpoints[0].allow.paths[0]: "a" is not a plain path prefix',
    ],
    [
      "a method that tunnels",
      { allow: { methods: ["CONNECT"], paths: ["/"] } },
      'endpoints[0].allow.methods[0]: "CONNECT" is not allowed here',
    ],
    [
      "a literal address outside the block",
      { addresses: ["127.0.0.2:80"] },
      'endpoints[0].addresses[0]: "127.0.0.2:80" lies outside the endpoint\'s cidrs',
    ],
    [
      "[SEC-45] a block wider than the ceiling",
      { cidrs: ["0.0.0.0/0"], addresses: [] },
      'endpoints[0].cidrs[0]: "0.0.0.0/0" lies beyond the operator\'s ceiling',
    ],
    [
      "a URL",
      { addresses: ["http://127.0.0.1:80"] },
      'endpoints[0].addresses[0]: "http://127.0.0.1:80" is not a canonical address',
    ],
    ["no block", { cidrs: [] }, "endpoints[0].cidrs: [] is too small (allowed: at least 1 entries)"],
    ["a misspelt key", { adresses: [] }, "endpoints[0].adresses: is not a setting; did you mean addresses?"],
  ])("%s", (_title, about, problem) => {
    expect(problems(withEndpoint(about)).filter((text) => text.startsWith(problem))).toHaveLength(1);
  });

  test.each<readonly [title: string, about: JsonObject, problem: string]>([
    ["no ceiling", { ceiling: null }, "operator.ceiling: null is not allowed here"],
    ["an unknown group", { proxy: {} }, "operator.proxy: is not a setting"],
    [
      "a number for a duration",
      { defaults: { timeout: 300 } },
      "operator.defaults.timeout: 300 is not a duration in range (allowed: a duration such as 5s or 10m, from ",
    ],
    [
      "a duration of nothing",
      { defaults: { timeout: "0s" } },
      'operator.defaults.timeout: "0s" is not a duration in range',
    ],
    [
      "a duration without unit",
      { defaults: { timeout: "300" } },
      'operator.defaults.timeout: "300" is not a duration in range',
    ],
    [
      "an attempt longer than its stage",
      { defaults: { timeout: "10s" } },
      'operator.defaults.attemptTimeout: "its default" is longer than timeout',
    ],
    ["too many sockets", { limits: { sockets: 65 } }, "operator.limits.sockets: 65 is not a whole number from 1 to 64"],
    [
      "a relative secret root",
      { ceiling: { ...CEILING, secretRoots: ["secrets"] } },
      'operator.ceiling.secretRoots[0]: "secrets" is not an absolute path',
    ],
    [
      "a listener by numbers",
      { listen: { host: "0177.0.0.1" } },
      'operator.listen.host: "0177.0.0.1" is not a canonical host',
    ],
  ])("operator: %s", (_title, about, problem) => {
    expect(problems(withOperator(about)).filter((text) => text.startsWith(problem))).toHaveLength(1);
  });

  test("[SEC-36] a secret typed into credentials or tls is not repeated", () => {
    const secret = "hunter2-hunter2";
    const all = [
      { credentials: { bearer: secret } },
      { credentials: secret },
      { tls: { key: secret, cert: secret } },
      { tls: secret },
    ];
    expect(all.flatMap((about) => problems(withEndpoint(about))).join("\n")).not.toContain(secret);
    expect(all.map((about) => problems(withEndpoint(about)).length > 0)).toEqual([true, true, true, true]);
  });

  test("whatever stands in a field, the answer is a list and never a throw", () => {
    const odd: readonly Json[] = [
      null,
      true,
      0,
      -1,
      1e308,
      "",
      "x".repeat(5000),
      [],
      {},
      [[]],
      [null],
      { a: 1 },
      "\ud800",
      ["a", 1],
    ];
    const fields = [...Object.keys(HTTP), "credentials", "allow"];
    const results = fields.flatMap((field) => odd.map((value) => checkSettings(withEndpoint({ [field]: value })).ok));
    expect(results).toHaveLength(fields.length * odd.length);
    expect(results.filter((ok) => ok).length).toBeLessThan(5);
    for (const value of odd) expect(checkSettings({ operator: value, endpoints: value }).ok).toBe(false);
  });
});

describe("what comes out", () => {
  test("addresses, blocks and names are canonical", () => {
    const found = endpointOf({
      addresses: ["Gateway.Prod.SVC.:80", "[::ffff:127.0.0.1]:80"],
      cidrs: ["127.0.0.1/32"],
      tls: { serverName: "GATEWAY." },
    });
    expect(found).toMatchObject({
      addresses: ["gateway.prod.svc:80", "127.0.0.1:80"],
      cidrs: ["127.0.0.1/32"],
      tls: { serverName: "gateway" },
    });
  });

  test.each(Object.keys(ENDPOINTS))("an endpoint of protocol %s is accepted", (protocol) => {
    const { fencing, ...rest } = HTTP;
    const checked = ["http", "grpc", "kafka", "extension"].includes(protocol);
    const raw = {
      operator: { ceiling: CEILING },
      endpoints: [{ ...rest, protocol, ...(checked ? { fencing: fencing ?? null } : {}) }],
    };
    expect(accepted(raw).endpoints[0]?.protocol).toBe(protocol);
    const turned = { ...raw, endpoints: [{ ...rest, protocol, ...(checked ? {} : { fencing: "Token" }) }] };
    expect(problems(turned)).toHaveLength(1);
  });

  test("every field has prose and every default a place in the schema", () => {
    const bare: string[] = [];
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return;
      for (const [key, value] of Object.entries(node)) {
        if (key === "properties" && typeof value === "object" && value !== null) {
          for (const [name, field] of Object.entries(
            value as Record<string, { description?: string; const?: unknown }>,
          )) {
            if (field.description === undefined && field.const === undefined) bare.push(`${path}.${name}`);
            visit(field, `${path}.${name}`);
          }
        } else visit(value, path);
      }
    };
    for (const [name, schema] of Object.entries({ operator: operatorSettings, ...ENDPOINTS })) {
      visit(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }), name);
    }
    expect(bare).toEqual([]);
  });
});
