import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** A server that says what came to it, and answers as it is told. */
export interface Trap extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  readonly connections: number;
  /** Those not yet closed. */
  readonly open: number;
  readonly bytes: number;
  /** Everything received, in order of arrival, as latin1. */
  readonly text: string;
}

export interface TrapOptions {
  readonly host?: string;
  readonly port?: number;
  /** What to do with a connection; without it the trap only listens. */
  readonly serve?: (socket: Socket, nth: number) => void;
}

export async function openTrap({ host = "127.0.0.1", port = 0, serve }: TrapOptions = {}): Promise<Trap> {
  const sockets = new Set<Socket>();
  const received: Buffer[] = [];
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Buffer) => received.push(chunk));
    serve?.(socket, connections);
  });
  await listen(server, host, port);
  const bound = (server.address() as AddressInfo).port;
  return {
    port: bound,
    address: host.includes(":") ? `[${host}]:${bound}` : `${host}:${bound}`,
    get connections() {
      return connections;
    },
    get open() {
      return sockets.size;
    },
    get bytes() {
      return received.reduce((sum, chunk) => sum + chunk.byteLength, 0);
    },
    get text() {
      return Buffer.concat(received).toString("latin1");
    },
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Counts every client socket that the process creates, whoever creates it. */
export function countSockets(): Disposable & { readonly count: number } {
  let count = 0;
  const note = (): void => {
    count += 1;
  };
  subscribe("net.client.socket", note);
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: () => {
      unsubscribe("net.client.socket", note);
    },
  };
}

const listen = (server: Server, host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => resolve());
  });
