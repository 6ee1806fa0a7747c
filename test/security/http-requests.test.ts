import { describe, expect, test } from "vitest";
import { parseIp } from "../../src/lib/ip.ts";
import { LARGEST_REQUEST } from "../../src/infra/egress/http.ts";
import type { HttpCall } from "../../src/infra/egress/http.ts";
import type { EgressRule } from "../../src/infra/egress/policy.ts";
import { always, answer } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig, type Rig } from "../support/egress/rig.ts";
import { countSockets, openTrap } from "../support/egress/trap.ts";

const ALLOW = { methods: ["GET", "PUT"], paths: ["/turnout/v1/", "/state"] } as const;

type Row = readonly [title: string, about: Partial<HttpCall>, rule: EgressRule];

const path = (text: string): Partial<HttpCall> => ({ path: text });
const header = (name: string, value = "x"): Partial<HttpCall> => ({ headers: { [name]: value } });

const PATHS: readonly Row[] = [
  ["dot segment", path("/state/../admin"), "path"],
  ["dot segment at the end", path("/state/.."), "path"],
  ["single dot segment", path("/state/./x"), "path"],
  ["encoded dots", path("/state/%2e%2e/admin"), "path"],
  ["dots encoded in part", path("/state/.%2E/admin"), "path"],
  ["dots encoded twice", path("/state/%252e%252e/admin"), "path"],
  ["dots encoded thrice", path("/state/%25252e%25252e/admin"), "path"],
  ["dots behind an encoded slash", path("/state/..%2fadmin"), "path"],
  ["dots between encoded slashes", path("/state/x%2f..%2f..%2fadmin"), "path"],
  ["dots behind an encoded backslash", path("/state/..%5cadmin"), "path"],
  ["dots with a path parameter", path("/state/..;a=b/admin"), "path"],
  ["fullwidth dots", path("/state/%ef%bc%8e%ef%bc%8e/admin"), "path"],
  ["overlong dots", path("/state/%c0%ae%c0%ae/admin"), "path"],
  ["backslash", path("/state\\..\\admin"), "path"],
  ["empty segment", path("/state//admin"), "path"],
  ["two leading slashes", path("//127.0.0.1/admin"), "path"],
  ["absolute form", path("http://127.0.0.1/admin"), "path"],
  ["authority form", path("127.0.0.1:80"), "path"],
  ["asterisk form", path("*"), "path"],
  ["no path", path(""), "path"],
  ["fragment", path("/state#x"), "path"],
  ["blank", path("/state x"), "path"],
  ["line break", path("/state\r\nX-Injected: 1"), "path"],
  ["encoded line break", path("/state/%0d%0aX-Injected:1"), "path"],
  ["encoded NUL", path("/state/%00"), "path"],
  ["raw non-ASCII", path("/state/é"), "path"],
  ["broken encoding", path("/state/%zz"), "path"],
  ["broken encoding in the query", path("/state?x=%z"), "path"],
  ["longer than fits", path(`/state/${"x".repeat(8192)}`), "path"],
  ["prefix of another name", path("/statement"), "path"],
  ["outside the listed paths", path("/admin"), "path"],
  ["above the listed path", path("/turnout"), "path"],
  ["listed path in another case", path("/STATE"), "path"],
  ["listed path, encoded", path("/%73tate"), "path"],
];

const HEADERS: readonly Row[] = [
  ...[
    "Host",
    "Cookie",
    "Authorization",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Content-Length",
    "Content-Encoding",
    "Accept-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Impersonate-User",
    "Impersonate-Group",
    "Turnout-Fence",
    "Turnout-Tenant",
    "turnout-base",
    "Idempotency-Key",
    "X-HTTP-Method-Override",
    "X-Original-URL",
  ].map((name): Row => [`header ${name}`, header(name), "header"]),
  ["line break in a header", header("x-a", "1\r\nHost: evil"), "header"],
  ["line feed in a header", header("x-a", "1\nHost: evil"), "header"],
  ["NUL in a header", header("x-a", "1\0"), "header"],
  ["non-ASCII in a header", header("x-a", "é"), "header"],
  ["blank in a header name", header("x a"), "header"],
  ["colon in a header name", header("x:a"), "header"],
  ["line break in a header name", header("x-a\r\nHost"), "header"],
  ["header twice", { headers: { "x-a": "1", "X-A": "2" } }, "header"],
  [
    "too many headers",
    { headers: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`x-${i}`, "1"])) },
    "header",
  ],
  ["too large headers", header("x-a", "v".repeat(8200)), "header"],
];

const METHODS: readonly Row[] = [
  "POST",
  "DELETE",
  "PATCH",
  "CONNECT",
  "TRACE",
  "OPTIONS",
  "get",
  "GET /x",
  "GET\r\nX: 1",
  "",
].map((method): Row => [`method ${JSON.stringify(method)}`, { method }, "method"]);

const ROWS: readonly Row[] = [...PATHS, ...HEADERS, ...METHODS];

test("no row is lost", () => expect(ROWS.length).toBeGreaterThanOrEqual(70));

test.each(ROWS)("[SEC-24] [SEC-25] refused before a socket is made: %s", async (_title, about, rule) => {
  await using trap = await openTrap();
  await using rig = openRig({ endpoints: [httpEndpoint({ ports: [trap.port], allow: ALLOW })] });
  using sockets = countSockets();
  const call = aCall({ address: trap.address, ...about });
  const result = await rig.http.send(call, never);
  expect(result).toMatchObject({ kind: "notSent", fault: { code: "EgressDenied" } });
  expect(rig.http.refusal(call)).toMatchObject({ code: "EgressDenied" });
  expect(await refusals(rig)).toEqual([rule, rule]);
  expect({ sockets: sockets.count, bytes: trap.bytes }).toEqual({ sockets: 0, bytes: 0 });
});

describe("what is sent", () => {
  test.each([
    ["a listed path below its prefix", "/turnout/v1/tenants/prod/acme"],
    ["a listed path itself", "/state"],
    ["a path below one without its slash", "/state/acme"],
    ["a query", "/state?tenant=acme&x=%2e%2e"],
    ["an encoded slash in a value", "/state/a%2Fb"],
    ["an encoded percent sign", "/state/100%25"],
    ["three dots", "/state/..."],
    ["a trailing slash", "/state/"],
  ])("[SEC-24] goes out as given: %s", async (_title, text) => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port], allow: ALLOW })] });
    expect(await rig.http.send(aCall({ address: server.address, path: text }), never)).toMatchObject({
      kind: "answer",
    });
    expect(server.text.split("\r\n")[0]).toBe(`GET ${text} HTTP/1.1`);
  });

  test("[SEC-24] the host field names the checked address, the stamp stands once, a specification's header goes along", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
    const stamp = { tenant: "prod/acme", fence: "0000000001-00000002", base: "0000000001-00000001", opId: "op" };
    await rig.http.send(aCall({ address: server.address, stamp, headers: { "X-Team": "blue" } }), never);
    const fields = server.text
      .toLowerCase()
      .split("\r\n")
      .slice(1)
      .filter((line) => line !== "");
    expect(fields.toSorted()).toEqual(
      [
        "accept: application/json",
        "accept-encoding: identity",
        "connection: keep-alive",
        `host: ${server.address}`,
        "idempotency-key: op",
        "turnout-base: 0000000001-00000001",
        "turnout-fence: 0000000001-00000002",
        "turnout-tenant: prod/acme",
        "user-agent: turnout",
        "x-team: blue",
      ].toSorted(),
    );
  });

  test("[SEC-41] a body of 256 KiB goes out, one byte more is refused before a socket is made", async () => {
    await using server = await openTrap({ serve: (socket) => socket.once("data", () => socket.end(answer(200))) });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [server.port] })] });
    const call = (bytes: number): HttpCall =>
      aCall({ address: server.address, method: "PUT", body: "x".repeat(bytes - 2) });
    expect(await rig.http.send(call(LARGEST_REQUEST + 1), never)).toMatchObject({
      kind: "notSent",
      fault: { code: "RequestTooLarge" },
    });
    expect(server.connections).toBe(0);
    expect(await rig.http.send(call(LARGEST_REQUEST), never)).not.toMatchObject({ kind: "notSent" });
    expect(server.connections).toBe(1);
  });
});

describe("policy", () => {
  const address = "127.0.0.1:18081";
  const open = httpEndpoint({ ports: [18_081] });
  const reserved = { ip: parseIp("127.0.0.1") ?? { family: 4, bits: 0n }, port: 18_081 } as const;
  const anywhere = { ip: { family: 4, bits: 0n }, port: 18_081 } as const;
  test.each<readonly [title: string, about: Parameters<typeof openRig>[0], call: Partial<HttpCall>, rule: EgressRule]>([
    ["a namespace that is not listed", { endpoints: [open] }, { namespace: "dev" }, "endpoint"],
    ["an endpoint that does not exist", { endpoints: [] }, {}, "endpoint"],
    ["an endpoint of another protocol", { endpoints: [{ ...open, protocol: "extension" }] }, {}, "endpoint"],
    ["a namespace that extends a listed one", { endpoints: [open] }, { namespace: "prod2" }, "endpoint"],
    ["no namespace", { endpoints: [open] }, { namespace: "" }, "endpoint"],
    ["a port that is not listed", { endpoints: [open] }, { address: "127.0.0.1:18082" }, "port"],
    ["no port", { endpoints: [open] }, { address: "127.0.0.1" }, "form"],
    ["port 0", { endpoints: [open] }, { address: "127.0.0.1:0" }, "form"],
    ["port beyond the range", { endpoints: [open] }, { address: "127.0.0.1:65536" }, "form"],
    ["port with a sign", { endpoints: [open] }, { address: "127.0.0.1:+18081" }, "form"],
    ["port with a leading zero", { endpoints: [open] }, { address: "127.0.0.1:018081" }, "form"],
    ["port that wraps to a listed one", { endpoints: [open] }, { address: `127.0.0.1:${18_081 + 65_536}` }, "form"],
    ["an address outside the block", { endpoints: [open] }, { address: "127.0.0.2:18081" }, "range"],
    ["a public address that is not listed", { endpoints: [open] }, { address: "8.8.8.8:18081" }, "cidr"],
    ["the ceiling's ports", { endpoints: [open], ceiling: { cidrs: ["127.0.0.0/8"], ports: [1] } }, {}, "ceiling"],
    ["the ceiling's blocks", { endpoints: [open], ceiling: { cidrs: ["10.0.0.0/8"], ports: [18_081] } }, {}, "ceiling"],
    [
      "a ceiling of everything",
      { endpoints: [open], ceiling: { cidrs: ["0.0.0.0/0"], ports: [18_081] } },
      {},
      "ceiling",
    ],
    ["the API server", { endpoints: [open], reserved: [reserved] }, {}, "reserved"],
    ["our own listener on all addresses", { endpoints: [open], reserved: [anywhere] }, {}, "reserved"],
    ...[10_250, 10_255, 10_256, 10_257, 10_259].map(
      (port) =>
        [
          `port ${port} of the control plane`,
          { endpoints: [{ ...open, ports: [port] }] },
          { address: `127.0.0.1:${port}` },
          "reserved",
        ] as const,
    ),
  ])("[SEC-19] [SEC-20] refused before a socket is made: %s", async (_title, about, call, rule) => {
    await using rig = openRig(about);
    using sockets = countSockets();
    const result = await rig.http.send(aCall({ address, ...call }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "EgressDenied" } });
    expect(await refusals(rig)).toEqual([rule]);
    expect(sockets.count).toBe(0);
  });

  test("[SEC-26] unknown and forbidden endpoints, whatever they resolve to, are refused in the same words", async () => {
    await using rig = openRig({ endpoints: [open] });
    const say = async (call: Partial<HttpCall>): Promise<string> => {
      const result = await rig.http.send(aCall({ address, ...call }), never);
      return "fault" in result ? result.fault.message.replace(/endpoint \S+/, "endpoint X") : "";
    };
    expect(await say({ endpoint: "nowhere" })).toBe("endpoint X does not allow this destination (endpoint)");
    expect(await say({ namespace: "dev" })).toBe(await say({ endpoint: "nowhere" }));
    const elsewhere = await Promise.all(
      ["10.0.0.1:18081", "8.8.8.8:18081", "169.254.169.254:18081", "127.0.0.1:22", "[::1]:18081"].map((to) =>
        say({ address: to }),
      ),
    );
    expect(new Set(elsewhere)).toEqual(new Set(["endpoint X does not allow this destination (destination)"]));
  });
});

/** The rules counted in the metric, one per refusal. */
async function refusals(rig: Rig): Promise<string[]> {
  const text = await rig.metrics.text();
  return [...text.matchAll(/^turnout_egress_refused_total\{rule="(\w+)"\} (\d+)$/gm)].flatMap(([, rule = "", count]) =>
    Array.from({ length: Number(count) }, () => rule),
  );
}
