import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";

import { buildConnector } from "undici";
import { describe, expect, onTestFinished, test, vi } from "vitest";

import type { Credentials, KubeConnection, TlsIdentity } from "../../src/kube/connection.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { openTransport, type TransportOptions } from "../../src/kube/transport.ts";
import { type KubeRequest, type KubeTransport, plainBoundary, type Point } from "../../src/lib/seams.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { openAuthority } from "../support/egress/certificate.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { wallClock } from "../support/wall-clock.ts";

const POINT: Point = { class: "api/status", subject: "ns/a" };
const NO_TLS: TlsIdentity = { ca: null, cert: null, key: null, servername: null };
const get: KubeRequest = { method: "GET", path: "/x", timeout: seconds(5) };
const put: KubeRequest = { method: "PUT", path: "/x", timeout: seconds(5), body: { a: 1 }, point: POINT };

async function listen(server: {
  listen(port: number, host: string, done: () => void): unknown;
  address(): unknown;
  close(): unknown;
}): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

interface About extends Partial<TransportOptions> {
  readonly origin?: string;
  readonly basePath?: string;
  readonly read?: (fresh: boolean) => Promise<Credentials>;
}

function transportTo(port: number, { origin, basePath = "", read, ...options }: About = {}): KubeTransport {
  const connection: KubeConnection = {
    origin: origin ?? `http://127.0.0.1:${port}`,
    basePath,
    user: "test",
    read: read ?? (() => Promise.resolve({ headers: { authorization: "Bearer secret" }, tls: NO_TLS })),
  };
  const transport = openTransport(connection, { clock: wallClock, boundary: plainBoundary, ...options });
  onTestFinished(() => transport.close());
  return transport;
}

interface Http {
  readonly port: number;
  readonly server: Server;
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly headers: IncomingMessage["headers"];
    readonly body: string;
  }[];
  readonly sockets: Set<unknown>;
}

/** An HTTP server that answers 200 and `{}` unless told otherwise. */
async function http(
  answer: (response: ServerResponse, n: number) => void = (response) => void response.end("{}"),
): Promise<Http> {
  const [requests, sockets]: [Http["requests"], Set<unknown>] = [[], new Set()];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    sockets.add(request.socket);
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() });
      answer(response, requests.length);
    });
  });
  return { port: await listen(server), server, requests, sockets };
}

interface Tcp {
  readonly port: number;
  /** What arrived, over all connections. */
  readonly received: () => string;
  readonly connections: Socket[];
}

/** A server that is none: it does with a connection what the script says, once a whole request head is there. */
async function tcp(script: (socket: Socket, n: number) => void): Promise<Tcp> {
  const connections: Socket[] = [];
  let all = "";
  const server = createTcpServer((socket) => {
    const n = connections.push(socket);
    socket.on("error", () => undefined);
    let told = false;
    socket.on("data", (bytes: Buffer) => {
      all += bytes.toString();
      if (!told) script(socket, n);
      told = true;
    });
  });
  onTestFinished(() => {
    for (const socket of connections) socket.destroy();
  });
  return { port: await listen(server), received: () => all, connections };
}

const failure = (work: Promise<unknown>): Promise<NoAnswer> =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: unknown) => (error instanceof NoAnswer ? error : Promise.reject(error as Error)),
  );
const kindOf = async (work: Promise<unknown>): Promise<string> => {
  const { kind, reason } = await failure(work);
  return `${kind} ${reason}`;
};

describe("a request", () => {
  test("carries credentials, asks for plain JSON, and says who writes", async () => {
    const server = await http();
    const transport = transportTo(server.port, { basePath: "/k8s/c1", userAgent: "turnout/1" });
    await transport.request({ ...get, query: { labelSelector: "a in (b, c)", limit: "5" } });
    await transport.request({ ...put, contentType: "application/merge-patch+json" });
    expect(server.requests).toMatchObject([
      {
        method: "GET",
        url: "/k8s/c1/x?labelSelector=a+in+%28b%2C+c%29&limit=5",
        headers: {
          authorization: "Bearer secret",
          accept: "application/json",
          "accept-encoding": "identity",
          "user-agent": "turnout/1",
        },
        body: "",
      },
      { method: "PUT", headers: { "content-type": "application/merge-patch+json" }, body: '{"a":1}' },
    ]);
    expect(server.requests[0]?.headers).not.toHaveProperty("content-type");
  });

  test("that writes must name its point, and passes the boundary; a read does not", async () => {
    const server = await http();
    const passed: (Point | string)[] = [];
    const boundary = {
      async around<T>(point: Point, send: () => Promise<T>): Promise<T> {
        passed.push(point, `before ${server.requests.length}`);
        const result = await send();
        passed.push(`after ${server.requests.length}`);
        return result;
      },
    };
    const transport = transportTo(server.port, { boundary });
    await transport.request(get);
    await transport.request(put);
    expect(passed).toEqual([POINT, "before 1", "after 2"]);
    const { point: _left, ...pointless } = put;
    await expect(transport.request(pointless)).rejects.toThrow("without a point");
    expect(server.requests).toHaveLength(2);
  });

  test("gives status, headers that matter and the decoded body; an empty body is null", async () => {
    const server = await http((response, n) => {
      if (n === 1) response.writeHead(201, { "retry-after": "7", "x-other": "1" }).end('{"a":"ä"}');
      else response.writeHead(n === 2 ? 200 : 502).end(n === 2 ? "" : "<html>");
    });
    const transport = transportTo(server.port);
    const first = await transport.request(get);
    expect([first.status, first.headers["retry-after"], first.headers["x-other"], first.body]).toEqual([
      201,
      "7",
      undefined,
      { a: "ä" },
    ]);
    expect(await transport.request(get)).toMatchObject({ status: 200, body: null });
    expect(await transport.request(get)).toMatchObject({ status: 502, body: null });
  });

  test("tells the Date of answers below 500, and when the request was sent", async () => {
    const server = await http(
      (response, n) => void response.writeHead(n === 2 ? 500 : 404, { date: `n${n}` }).end("{}"),
    );
    const clock = new ManualClock();
    await clock.advance(seconds(3));
    const dates: [string, number][] = [];
    const transport = transportTo(server.port, { clock, onServerDate: (date, sentAt) => dates.push([date, sentAt]) });
    for (let i = 0; i < 3; i += 1) await transport.request(get);
    expect(dates).toEqual([
      ["n1", 3000],
      ["n3", 3000],
    ]);
  });

  test("[kube-apiserver/busy] uses kept connections, no more than its lane has, and lanes do not wait for each other", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const limits = { connections: { bulk: 3, user: 1, lease: 1, event: 1 } };
    const transport = transportTo(server.port, { limits });
    const bulk = Array.from({ length: 10 }, () => transport.request(get));
    await until(
      () => waiting.length,
      (n) => n === 3,
    );
    const user = transport.request({ ...get, lane: "user" });
    const lease = transport.request({ ...put, lane: "lease" });
    await until(
      () => waiting.length,
      (n) => n === 5,
    );
    for (const response of waiting.splice(3)) response.end("{}");
    await Promise.all([user, lease]);
    const pump = setInterval(() => {
      for (const response of waiting.splice(0)) response.end("{}");
    }, 1);
    await Promise.all(bulk);
    clearInterval(pump);
    expect([server.requests.length, server.sockets.size]).toEqual([12, 5]);
  });

  test("beyond what may be in flight is refused, and room comes back", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const transport = transportTo(server.port, { limits: { inFlight: 2 } });
    const two = [transport.request(get), transport.request(get)];
    expect(await kindOf(transport.request(get))).toBe("Refused TooManyInFlight");
    await until(
      () => waiting.length,
      (n) => n === 2,
    );
    for (const response of waiting) response.end("{}");
    await Promise.all(two);
    const third = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 3,
    );
    waiting[2]?.end("{}");
    expect((await third).status).toBe(200);
  });
});

describe("nothing was sent: Refused", () => {
  test("nobody listens", async () => {
    const server = await http();
    await new Promise((resolve) => server.server.close(resolve));
    expect(await kindOf(transportTo(server.port).request(put))).toBe("Refused ECONNREFUSED");
  });

  test("the connection does not come about in time", async () => {
    const connect = () => () => undefined;
    const transport = transportTo(1, { connect });
    expect(await kindOf(transport.request({ ...put, timeout: millisOf(50) }))).toBe("Refused Timeout");
  });

  test("the time was over, or the caller gave up, before its turn on a connection", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    const first = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 1,
    );
    const stop = new AbortController();
    const second = kindOf(transport.request({ ...put, timeout: millisOf(50) }));
    const third = kindOf(transport.request({ ...put, signal: stop.signal }));
    stop.abort();
    expect([await second, await third]).toEqual(["Refused Timeout", "Refused Aborted"]);
    waiting[0]?.end("{}");
    await first;
    const fourth = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 2,
    );
    waiting[1]?.end("{}");
    await fourth;
    expect(server.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("the caller had given up before asking", async () => {
    const server = await http();
    expect(await kindOf(transportTo(server.port).request({ ...put, signal: AbortSignal.abort() }))).toBe(
      "Refused Aborted",
    );
    expect(server.requests).toEqual([]);
  });

  test("[SEC-41] the body is too large to be sent", async () => {
    const server = await http();
    expect(await kindOf(transportTo(server.port).request({ ...put, body: "ä".repeat(1.6 * 1024 * 1024) }))).toBe(
      "TooLarge RequestTooLarge",
    );
    expect(server.requests).toEqual([]);
  });

  test("the transport is closed", async () => {
    const server = await http();
    const transport = transportTo(server.port);
    await transport.request(get);
    await transport.close();
    expect(await kindOf(transport.request(put))).toBe("Refused Closed");
    await transport.close();
  });
});

describe("[S26] sent, and no usable answer: Ambiguous, and never sent again", () => {
  const whole = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n";
  test.each<readonly [string, (socket: Socket) => void, string]>([
    ["reset after the request", (socket) => socket.resetAndDestroy(), "Ambiguous ECONNRESET"],
    ["closed after the request", (socket) => socket.end(), "Ambiguous UND_ERR_SOCKET"],
    ["cut in the head", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-le"), "Ambiguous"],
    ["cut in the body", (socket) => socket.end(`${whole}{"a":`), "Ambiguous"],
    ["silence", () => undefined, "Ambiguous Timeout"],
    ["a body that never ends", (socket) => void socket.write(`${whole}{"a":`), "Ambiguous Timeout"],
    [
      "a body that is no JSON",
      (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n}{}"),
      "Ambiguous NotJson",
    ],
    ["no HTTP at all", (socket) => void socket.write("SSH-2.0-OpenSSH\r\n\r\n"), "Ambiguous"],
  ])("%s", async (_what, script, expected) => {
    const server = await tcp(script);
    const timeout = expected.endsWith("Timeout") ? millisOf(200) : seconds(30);
    const error = await failure(transportTo(server.port).request({ ...put, timeout }));
    expect(`${error.kind} ${error.reason}`).toContain(expected);
    expect(server.received().split("PUT /x").length - 1).toBe(1);
    expect(error.message).not.toContain("secret");
  });

  test("the caller gives up while the answer is awaited: the connection is destroyed, no late answer reaches the next", async () => {
    const server = await tcp((socket, n) => {
      if (n > 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":2}');
    });
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    const stop = new AbortController();
    const first = kindOf(transport.request({ ...put, signal: stop.signal }));
    await until(server.received, (text) => text.includes('{"a":1}'));
    stop.abort();
    expect(await first).toBe("Ambiguous Aborted");
    server.connections[0]?.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":1}');
    expect((await transport.request(get)).body).toEqual({ n: 2 });
  });

  test("a kept connection that dies under the next request does not make that request go out twice", async () => {
    const server = await tcp((socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    await transport.request(get);
    server.connections[0]?.on("data", () => server.connections[0]?.resetAndDestroy());
    expect((await failure(transport.request(put))).kind).toBe("Ambiguous");
    await transport.request(get);
    expect(server.received().split("PUT /x").length - 1).toBe(1);
  });
});

describe("[SEC-41] [kube-apiserver/hostile] hostile answers to a read are bad answers, bounded", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  test.each<readonly [string, (socket: Socket) => void, string]>([
    [
      "a body beyond the limit",
      (socket) => void socket.write(`${head}content-length: 9999999\r\n\r\n${"x".repeat(5000)}`),
      "BadAnswer AnswerTooLarge",
    ],
    [
      "an endless head",
      (socket) => void socket.write(`${head}${`x-filler: ${"y".repeat(500)}\r\n`.repeat(100)}`),
      "BadAnswer",
    ],
    [
      "a body that is no JSON",
      (socket) => void socket.write(`${head}content-length: 3\r\n\r\n}{}`),
      "BadAnswer NotJson",
    ],
    [
      "a body that is no text",
      (socket) =>
        void socket.write(
          Buffer.concat([Buffer.from(`${head}content-length: 4\r\n\r\n"`), Buffer.of(0xff, 0xfe), Buffer.from('"')]),
        ),
      "BadAnswer NotJson",
    ],
    ["garbage for a head", (socket) => void socket.write("}{}{}{\r\n\r\n"), "BadAnswer"],
  ])("%s", async (_what, script, expected) => {
    const server = await tcp(script);
    const transport = transportTo(server.port, { limits: { objectBytes: 1000 } });
    expect(await kindOf(transport.request({ ...get, timeout: seconds(30) }))).toContain(expected);
  });

  test("an encoding that was not asked for is not decoded", async () => {
    const server = await http(
      (response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(1_000_000))),
    );
    expect(await kindOf(transportTo(server.port).request(get))).toBe("BadAnswer NotJson");
  });

  test("a list may be larger than an object, and is decoded the same", async () => {
    const list = {
      metadata: { resourceVersion: "1" },
      items: Array.from({ length: 300 }, (_, i) => ({ i, text: "x".repeat(10) })),
    };
    const server = await http((response) => void response.end(JSON.stringify(list)));
    const transport = transportTo(server.port, { limits: { objectBytes: 1000, listBytes: 100_000 } });
    expect((await transport.request({ ...get, answer: "list" })).body).toEqual(list);
    expect(await kindOf(transport.request(get))).toBe("BadAnswer AnswerTooLarge");
    const small = transportTo(server.port, { limits: { listBytes: 1000 } });
    expect(await kindOf(small.request({ ...get, answer: "list" }))).toBe("BadAnswer AnswerTooLarge");
  });
});

test("[SEC-4] [SEC-23] a redirect is an answer like any other: not followed, and the token goes nowhere else", async () => {
  const elsewhere = await http();
  const server = await http(
    (response) =>
      void response
        .writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/x`, "alt-svc": `h2=":${elsewhere.port}"` })
        .end(),
  );
  const transport = transportTo(server.port);
  expect((await transport.request(put)).status).toBe(307);
  expect((await transport.request(get)).status).toBe(307);
  expect(elsewhere.requests).toEqual([]);
});

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

describe("a stream", () => {
  const read = async (chunks: AsyncIterable<Uint8Array>, most = Number.POSITIVE_INFINITY): Promise<string> => {
    let text = "";
    for await (const chunk of chunks) {
      text += Buffer.from(chunk).toString();
      if (text.length >= most) break;
    }
    return text;
  };

  test("gives status, headers and the bytes as they come, on a connection of its own that ends with it", async () => {
    const server = await http((response) => {
      response.writeHead(200, { date: "today" }).write("one\n");
      setImmediate(() => response.end("two\n"));
    });
    const dates: string[] = [];
    const transport = transportTo(server.port, { onServerDate: (date) => dates.push(date) });
    const { status, headers, chunks } = await transport.stream({ ...get, query: { watch: "true" } });
    expect([status, headers.date, dates, server.requests[0]?.url]).toEqual([200, "today", ["today"], "/x?watch=true"]);
    expect(await read(chunks)).toBe("one\ntwo\n");
    await until(
      () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
      (n) => n === 0,
    );
  });

  test("whose reader leaves is closed", async () => {
    const server = await http((response) => void response.writeHead(200).write("x".repeat(100)));
    const transport = transportTo(server.port);
    const { chunks } = await transport.stream(get);
    await read(chunks, 1);
    expect(
      await until(
        () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
        (n) => n === 0,
      ),
    ).toBe(0);
  });

  test("ends with its signal, before and while it is read", async () => {
    const server = await http((response) => void response.writeHead(200).write("x"));
    const transport = transportTo(server.port);
    const stop = new AbortController();
    const [unread, reading] = [
      await transport.stream({ ...get, signal: stop.signal }),
      await transport.stream({ ...get, signal: stop.signal }),
    ];
    const ended = read(reading.chunks);
    stop.abort();
    const broken = await Promise.all([kindOf(ended), kindOf(read(unread.chunks))]);
    expect(broken.filter((kind) => /^Ambiguous .*abort/i.test(kind))).toHaveLength(2);
    expect(await kindOf(transport.stream({ ...get, signal: stop.signal }))).toBe("Ambiguous Aborted");
    await until(
      () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
      (n) => n === 0,
    );
  });

  test("that is not answered in time is given up; one that was may be silent for as long as it likes", async () => {
    const clock = new ManualClock();
    const silent = await tcp(() => undefined);
    const given = kindOf(transportTo(silent.port, { clock }).stream({ ...get, timeout: seconds(15) }));
    await until(silent.received, (text) => text.includes("GET /x"));
    await clock.advance(seconds(15));
    expect(await given).toBe("Ambiguous Timeout");
    const answers: ServerResponse[] = [];
    const slow = await http((response) => {
      response.writeHead(200).write("a");
      answers.push(response);
    });
    const { chunks } = await transportTo(slow.port, { clock }).stream({ ...get, timeout: seconds(15) });
    await clock.advance(seconds(3600));
    answers[0]?.end("b");
    expect(await read(chunks)).toBe("ab");
  });

  test("breaks off where the connection does", async () => {
    const server = await tcp((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
      setTimeout(() => socket.resetAndDestroy(), 30);
    });
    const { chunks } = await transportTo(server.port).stream(get);
    expect(await kindOf(read(chunks))).toMatch(/^Ambiguous (ECONNRESET|UND_ERR_SOCKET)$/);
  });

  test("and every request end when the transport is closed", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http(
      (response, n) => void (n === 1 ? response.writeHead(200).write("x") : waiting.push(response)),
    );
    const transport = transportTo(server.port);
    const { chunks } = await transport.stream(get);
    const [stream, request] = [read(chunks).catch(() => "broken"), kindOf(transport.request(put))];
    await until(
      () => waiting.length,
      (n) => n === 1,
    );
    await transport.close();
    expect([await stream, (await request).split(" ")[0]]).toEqual(["broken", "Ambiguous"]);
  });
});
