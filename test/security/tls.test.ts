import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TlsOptions, type TLSSocket } from "node:tls";
import { describe, expect, test } from "vitest";
import type { HttpEndpoint } from "../../src/infra/config/endpoint-settings.ts";
import { millisOf } from "../../src/lib/time.ts";
import { answer } from "../support/egress/answers.ts";
import { type Authority, type Identity, openAuthority } from "../support/egress/certificate.ts";
import { aCall, httpEndpoint, never, openRig, type Rig } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

interface TlsServer extends AsyncDisposable {
  readonly port: number;
  /** Requests that arrived decrypted, and whether their session was resumed. */
  readonly requests: readonly string[];
  readonly resumed: readonly boolean[];
  readonly alpn: readonly (string | false | null)[];
  readonly indicated: readonly (string | false | undefined)[];
}

async function openTls(identity: Identity, options: TlsOptions = {}): Promise<TlsServer> {
  const requests: string[] = [];
  const resumed: boolean[] = [];
  const alpn: (string | false | null)[] = [];
  const indicated: (string | false | undefined)[] = [];
  const sockets = new Set<TLSSocket>();
  const server: Server = createServer({ ...identity, ALPNProtocols: ["h2", "http/1.1"], ...options }, (socket) => {
    sockets.add(socket);
    resumed.push(socket.isSessionReused());
    alpn.push(socket.alpnProtocol);
    indicated.push((socket as { servername?: string | false }).servername);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      requests.push(chunk.toString("latin1"));
      socket.end(answer(200, "{}", { connection: "close" }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    resumed,
    alpn,
    indicated,
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

const CA = "TURNOUT_SECRET_CA";

function rigOf(server: TlsServer, authority: Authority, tls: Exclude<HttpEndpoint["tls"], "None"> = {}): Rig {
  return openRig({
    endpoints: [httpEndpoint({ ports: [server.port], tls: { ca: { env: CA }, ...tls } })],
    env: { [CA]: authority.cert },
    resolve: () => Promise.resolve(["127.0.0.1"]),
  });
}

describe("[SEC-27] the identity is the configured name or the canonical IP", () => {
  test.each([
    ["name", { names: ["gateway.test"] }, "gateway.test", {}],
    ["name in capitals", { names: ["gateway.test"] }, "GATEWAY.test", {}],
    ["wildcard name", { names: ["*.prod.test"] }, "gateway.prod.test", {}],
    ["IP", { ips: ["127.0.0.1"] }, "127.0.0.1", {}],
    ["mapped IP", { ips: ["127.0.0.1"] }, "[::ffff:127.0.0.1]", {}],
    ["stated name over an IP", { names: ["gateway.test"] }, "127.0.0.1", { serverName: "gateway.test" }],
    ["stated name over another name", { names: ["gateway.test"] }, "pod-7.test", { serverName: "gateway.test" }],
  ])("accepted: %s", async (_title, names, host, tls) => {
    const authority = openAuthority();
    await using server = await openTls(authority.issue(names));
    await using rig = rigOf(server, authority, tls);
    const result = await rig.http.send(aCall({ address: `${host}:${server.port}` }), never);
    expect(result).toMatchObject({ kind: "answer", status: 200 });
    expect(server.requests).toHaveLength(1);
    expect(server.alpn).toEqual(["http/1.1"]);
  });

  const yesterday = new Date(Date.now() - 86_400_000);
  test.each([
    ["another name", { names: ["other.test"] }, "gateway.test", {}],
    ["name of the resolved address", { ips: ["127.0.0.1"] }, "gateway.test", {}],
    ["IP written as a name", { names: ["127.0.0.1"] }, "127.0.0.1", {}],
    ["IP written as a name, mapped host", { names: ["127.0.0.1"] }, "[::ffff:127.0.0.1]", {}],
    ["another IP", { ips: ["127.0.0.2"] }, "127.0.0.1", {}],
    [
      "the host's name where another is stated",
      { names: ["gateway.test"] },
      "gateway.test",
      { serverName: "other.test" },
    ],
    ["expired", { names: ["gateway.test"], until: yesterday }, "gateway.test", {}],
  ])("refused before a request: %s", async (_title, names, host, tls) => {
    const authority = openAuthority();
    await using server = await openTls(authority.issue(names));
    await using rig = rigOf(server, authority, tls);
    const result = await rig.http.send(aCall({ address: `${host}:${server.port}` }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "TlsFailed" } });
    expect(server.requests).toEqual([]);
  });

  test("refused before a request: an authority that is not the endpoint's", async () => {
    const authority = openAuthority();
    await using server = await openTls(authority.issue({ names: ["gateway.test"] }));
    await using rig = rigOf(server, openAuthority());
    const result = await rig.http.send(aCall({ address: `gateway.test:${server.port}` }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "TlsFailed" } });
    expect(server.requests).toEqual([]);
  });

  test("refused before a request: TLS 1.1", async () => {
    const authority = openAuthority();
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
    await using server = await openTls(authority.issue({ names: ["gateway.test"] }), old);
    await using rig = rigOf(server, authority);
    const result = await rig.http.send(aCall({ address: `gateway.test:${server.port}` }), never);
    expect(result).toMatchObject({ kind: "notSent" });
    expect(server.requests).toEqual([]);
  });

  test.each(["127.1", "0x7f.1", "１２７.0.0.1"])(
    "refused before a socket: %s, which a verifier may read as 127.0.0.1",
    async (host) => {
      const authority = openAuthority();
      await using server = await openTls(authority.issue({ names: ["127.0.0.1"], ips: ["127.0.0.1"] }));
      await using rig = rigOf(server, authority);
      const result = await rig.http.send(aCall({ address: `${host}:${server.port}` }), never);
      expect(result).toMatchObject({ kind: "notSent", fault: { code: "EgressDenied" } });
      expect(rig.connected).toEqual([]);
    },
  );
});

test("[SEC-27] no session is resumed, not even for the same endpoint", async () => {
  const authority = openAuthority();
  await using server = await openTls(authority.issue({ names: ["gateway.test"] }));
  await using rig = rigOf(server, authority);
  for (let i = 0; i < 3; i += 1) await rig.http.send(aCall({ address: `gateway.test:${server.port}` }), never);
  expect(server.resumed).toEqual([false, false, false]);
});

test("[SEC-27] NODE_TLS_REJECT_UNAUTHORIZED does not switch verification off", async () => {
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  try {
    const authority = openAuthority();
    await using server = await openTls(authority.issue({ names: ["other.test"] }));
    await using rig = rigOf(server, authority);
    const result = await rig.http.send(aCall({ address: `gateway.test:${server.port}` }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "TlsFailed" } });
  } finally {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  }
});

test("our own certificate goes to the endpoint that has one", async () => {
  const authority = openAuthority();
  const client = authority.issue({ names: ["operator.test"] });
  const strict = { requestCert: true, rejectUnauthorized: true, ca: authority.cert };
  await using server = await openTls(authority.issue({ names: ["gateway.test"] }), strict);
  await using rig = openRig({
    endpoints: [
      httpEndpoint({
        ports: [server.port],
        tls: { ca: { env: CA }, cert: { env: "TURNOUT_SECRET_CERT" }, key: { env: "TURNOUT_SECRET_KEY" } },
      }),
    ],
    env: { [CA]: authority.cert, TURNOUT_SECRET_CERT: client.cert, TURNOUT_SECRET_KEY: client.key },
    resolve: () => Promise.resolve(["127.0.0.1"]),
  });
  const result = await rig.http.send(aCall({ address: `gateway.test:${server.port}` }), never);
  expect(result).toMatchObject({ kind: "answer", status: 200 });
});

test.each([
  ["never answers the handshake", () => undefined, "ConnectTimeout"],
  [
    "cuts the handshake",
    (socket: Socket) => void socket.once("data", () => socket.resetAndDestroy()),
    "ConnectRefused",
  ],
  ["answers in the clear", (socket: Socket) => void socket.once("data", () => socket.write(answer(200))), "TlsFailed"],
])("[SEC-27] a server that %s gets no request, and no socket stays", async (_title, serve, code) => {
  await using server = await openTrap({ serve });
  await using rig = openRig({
    endpoints: [httpEndpoint({ ports: [server.port], tls: {} })],
    resolve: () => Promise.resolve(["127.0.0.1"]),
  });
  const result = await rig.http.send(aCall({ address: `gateway.test:${server.port}`, timeout: millisOf(300) }), never);
  expect(result).toMatchObject({ kind: "notSent", fault: { code } });
  expect(server.text).not.toContain("HTTP/1.1");
  expect(
    await until(
      () => server.open,
      (open) => open === 0,
    ),
  ).toBe(0);
});
