import { createServer, type AddressInfo } from "node:net";
import { createServer as createTls } from "node:tls";
import { Client } from "undici";
import { describe, expect, test } from "vitest";
import { apiServerConnector, type ApiServerTls } from "../../src/infra/egress/api-server.ts";
import { type Guard, openGuard } from "../../src/infra/egress/connect.ts";
import { always, answer } from "../support/egress/answers.ts";
import { openAuthority } from "../support/egress/certificate.ts";
import { countSockets, openTrap } from "../support/egress/trap.ts";
import { wallClock } from "../support/wall-clock.ts";

const NONE: ApiServerTls = { ca: null, cert: null, key: null, servername: null };

const guard = (answers: readonly string[] = ["127.0.0.1"]): Guard =>
  openGuard({
    resolve: () => Promise.resolve(answers),
    clock: wallClock,
    sockets: { perAddress: 8, perNamespace: 8 },
    reserved: () => [],
  });

async function get(origin: string, tls: ApiServerTls, through = guard()): Promise<string> {
  const client = new Client(origin, { connect: apiServerConnector(through, origin)(tls) });
  try {
    const { statusCode } = await client.request({ path: "/version", method: "GET" });
    return String(statusCode);
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  } finally {
    await client.destroy();
  }
}

describe("[SEC-18] [SEC-4] the API server is reached through the guard", () => {
  test("by address and by name, on one socket each", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    using sockets = countSockets();
    expect(await get(`http://127.0.0.1:${server.port}`, NONE)).toBe("200");
    expect(await get(`http://kubernetes.default.svc:${server.port}`, NONE)).toBe("200");
    expect({ sockets: sockets.count, connections: server.connections }).toEqual({ sockets: 2, connections: 2 });
  });

  test.each([
    ["metadata", ["169.254.169.254"]],
    ["nothing", []],
    ["a text that is no address", ["127.1"]],
  ])("a name that answers %s is refused before a socket", async (_title, answers) => {
    using sockets = countSockets();
    expect(await get("http://kubernetes.default.svc:6443", NONE, guard(answers))).toMatch(
      /^(?:ECONNREFUSED|ENOTFOUND)$/,
    );
    expect(sockets.count).toBe(0);
  });

  test("a redirect is an answer: the token goes nowhere else", async () => {
    await using trap = await openTrap();
    await using server = await openTrap({ serve: always(answer(307, "", { location: `http://${trap.address}/` })) });
    expect(await get(`http://127.0.0.1:${server.port}`, NONE)).toBe("307");
    expect(trap.connections).toBe(0);
  });

  test("nobody there is a refused connection, as errno says it", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(await get(`http://127.0.0.1:${port}`, NONE)).toBe("ECONNREFUSED");
  });

  test("an origin that is no plain host is a wrong setting", () => {
    expect(() => apiServerConnector(guard(), "https://a_b.test:6443")).toThrow(/not a name or an address/);
  });
});

test("[SEC-27] the API server's certificate must carry its name, by its own authority", async () => {
  const authority = openAuthority();
  const tls = authority.issue({ names: ["kubernetes.default.svc"], ips: ["127.0.0.1"] });
  const server = createTls({ ...tls, ALPNProtocols: ["http/1.1"] }, (socket) => always(answer(200))(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const trusted = { ...NONE, ca: authority.cert };
    expect(await get(`https://127.0.0.1:${port}`, trusted)).toBe("200");
    expect(await get(`https://kubernetes.default.svc:${port}`, trusted)).toBe("200");
    expect(await get(`https://other.test:${port}`, trusted)).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
    expect(await get(`https://other.test:${port}`, { ...trusted, servername: "kubernetes.default.svc" })).toBe("200");
    expect(await get(`https://127.0.0.1:${port}`, { ...NONE, ca: openAuthority().cert })).toBe(
      "ERR_TLS_CERT_ALTNAME_INVALID",
    );
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});
