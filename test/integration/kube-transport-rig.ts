import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";

import { onTestFinished } from "vitest";

import type { Credentials, KubeConnection, TlsIdentity } from "../../src/kube/connection.ts";
import { NoAnswer } from "../../src/kube/errors.ts";
import { openTransport, type TransportOptions } from "../../src/kube/transport.ts";
import { type KubeRequest, type KubeTransport, plainBoundary, type Point } from "../../src/lib/seams.ts";
import { seconds } from "../../src/lib/time.ts";
import { wallClock } from "../support/wall-clock.ts";

export const POINT: Point = { class: "api/status", subject: "ns/a" };
export const NO_TLS: TlsIdentity = { ca: null, cert: null, key: null, servername: null };
export const get: KubeRequest = { method: "GET", path: "/x", timeout: seconds(5) };
export const put: KubeRequest = { method: "PUT", path: "/x", timeout: seconds(5), body: { a: 1 }, point: POINT };

export async function listen(server: {
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

export function transportTo(port: number, { origin, basePath = "", read, ...options }: About = {}): KubeTransport {
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
export async function http(
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
export async function tcp(script: (socket: Socket, n: number) => void): Promise<Tcp> {
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

export const failure = (work: Promise<unknown>): Promise<NoAnswer> =>
  work.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: unknown) => (error instanceof NoAnswer ? error : Promise.reject(error as Error)),
  );
export const kindOf = async (work: Promise<unknown>): Promise<string> => {
  const { kind, reason } = await failure(work);
  return `${kind} ${reason}`;
};
