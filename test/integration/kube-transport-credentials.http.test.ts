import { createServer as createSecureServer } from "node:https";
import type { Socket } from "node:net";

import { buildConnector } from "undici";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import type { TlsIdentity } from "../../src/kube/connection.ts";
import type { NoAnswer } from "../../src/kube/errors.ts";
import { seconds } from "../../src/lib/time.ts";
import { openAuthority } from "../support/egress/certificate.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { failure, get, http, kindOf, listen, NO_TLS, put, transportTo } from "./kube-transport-rig.ts";

describe("credentials", () => {
  test("[kube-apiserver/denied] after a 401 the token is read anew; the refused request is not sent again by itself", async () => {
    let token = "old";
    const server = await http(
      (response, n) =>
        void response.writeHead(server.requests[n - 1]?.headers.authorization === "Bearer new" ? 200 : 401).end("{}"),
    );
    const transport = transportTo(server.port, {
      read: () => Promise.resolve({ headers: { authorization: `Bearer ${token}` }, tls: NO_TLS }),
    });
    expect((await transport.request(get)).status).toBe(401);
    token = "new";
    await until(
      () => transport.request(put),
      ({ status }) => status === 200,
    );
    expect(new Set(server.requests.map(({ headers }) => headers.authorization))).toEqual(
      new Set(["Bearer old", "Bearer new"]),
    );
  });

  test("that cannot be read at all refuse every request and every stream", async () => {
    const transport = transportTo(1, { read: () => Promise.reject(new Error("/var/run/secret")) });
    expect(await kindOf(transport.request(put))).toBe("Refused CredentialsUnreadable");
    expect(await kindOf(transport.stream(get))).toBe("Refused CredentialsUnreadable");
  });

  test("[SEC-29] a new authority means new connections, and those of the old one end", async () => {
    const [old, young] = [openAuthority("old"), openAuthority("young")];
    const clock = new ManualClock();
    const open = new Set<Socket>();
    const serve = async (authority: typeof old): Promise<number> => {
      const server = createSecureServer(
        authority.issue({ ips: ["127.0.0.1"] }),
        (_request, response) => void response.end("{}"),
      );
      server.on("connection", (socket: Socket) => {
        open.add(socket);
        socket.on("close", () => open.delete(socket));
      });
      return listen(server);
    };
    const port = await serve(old);
    let ca = old.cert;
    const transport = transportTo(port, {
      clock,
      origin: `https://127.0.0.1:${port}`,
      read: () => Promise.resolve({ headers: {}, tls: { ...NO_TLS, ca } }),
    });
    await transport.request(get);
    expect(open.size).toBe(1);
    ca = young.cert;
    await clock.advance(seconds(60));
    expect((await failure(transport.request(get))).kind).toBe("Refused"); // the server still shows the old authority's certificate
    await until(
      () => open.size,
      (n) => n === 0,
    );
    ca = old.cert;
    await clock.advance(seconds(60));
    expect((await transport.request(get)).status).toBe(200);
  });
});

describe("[SEC-27] TLS", () => {
  async function secure(issued: {
    names?: string[];
    ips?: string[];
    until?: Date;
  }): Promise<{ port: number; ca: string }> {
    const authority = openAuthority();
    const server = createSecureServer(authority.issue(issued), (_request, response) => void response.end("{}"));
    return { port: await listen(server), ca: authority.cert };
  }
  const ask = async (port: number, tls: Partial<TlsIdentity>): Promise<unknown> =>
    transportTo(port, {
      origin: `https://127.0.0.1:${port}`,
      read: () => Promise.resolve({ headers: {}, tls: { ...NO_TLS, ...tls } }),
    })
      .request(get)
      .then(
        ({ status }) => status,
        (error: unknown) => `${(error as NoAnswer).kind} ${(error as NoAnswer).reason}`,
      );

  test("is verified by chain and name", async () => {
    const good = await secure({ ips: ["127.0.0.1"] });
    const other = await secure({ ips: ["127.0.0.2"] });
    const expired = await secure({ ips: ["127.0.0.1"], until: new Date(Date.now() - 1000) });
    expect(await ask(good.port, { ca: good.ca })).toBe(200);
    expect(await ask(good.port, { ca: other.ca })).toMatch(/^Refused (SELF_SIGNED|UNABLE_TO_VERIFY|CERT_SIGNATURE)/);
    expect(await ask(good.port, {})).toMatch(/^Refused (SELF_SIGNED|UNABLE)/);
    expect(await ask(other.port, { ca: other.ca })).toBe("Refused ERR_TLS_CERT_ALTNAME_INVALID");
    expect(await ask(expired.port, { ca: expired.ca })).toBe("Refused CERT_HAS_EXPIRED");
  });

  test("cannot be turned off by Node's environment variable", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    onTestFinished(() => void vi.unstubAllEnvs());
    const { port } = await secure({ ips: ["127.0.0.1"] });
    expect(await ask(port, {})).toMatch(/^Refused (SELF_SIGNED|UNABLE)/);
  });

  test("may name the server that the certificate must be for", async () => {
    const named = await secure({ names: ["kubernetes"] });
    expect(await ask(named.port, { ca: named.ca, servername: "kubernetes" })).toBe(200);
    expect(await ask(named.port, { ca: named.ca, servername: "another" })).toBe("Refused ERR_TLS_CERT_ALTNAME_INVALID");
  });

  test("shows the client certificate", async () => {
    const [authority, people] = [openAuthority(), openAuthority("people")];
    const seen: boolean[] = [];
    const server = createSecureServer(
      { ...authority.issue({ ips: ["127.0.0.1"] }), ca: people.cert, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        seen.push((request.socket as { authorized?: boolean }).authorized === true);
        response.end("{}");
      },
    );
    const port = await listen(server);
    const { cert, key } = people.issue({ names: ["jane"] });
    await ask(port, { ca: authority.cert, cert, key });
    await ask(port, { ca: authority.cert });
    expect(seen).toEqual([true, false]);
  });
});

test("[SEC-18] every socket comes from the connect function that was given, streams included", async () => {
  const server = await http();
  let sockets = 0;
  const connect = () => {
    const plain = buildConnector({});
    return ((options, callback) => {
      sockets += 1;
      plain(options, callback);
    }) satisfies buildConnector.connector;
  };
  const transport = transportTo(server.port, { connect });
  await transport.request(get);
  await transport.request({ ...get, lane: "user" });
  await transport.stream(get);
  expect([sockets, server.sockets.size]).toEqual([3, 3]);
});
