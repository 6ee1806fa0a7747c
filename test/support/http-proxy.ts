import { Agent, createServer, type IncomingMessage, request as plainRequest, type ServerResponse } from "node:http";
import { Agent as TlsAgent, createServer as createTlsServer, request as tlsRequest } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import { openAuthority } from "./egress/certificate.ts";

/** A request as it came, whole. */
export interface Asked {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | string[] | undefined>>;
  readonly body?: Buffer | string;
}

/** What a server answered. */
export interface Told extends Answer {
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

/** What a fault has in hand. It answers as it likes, as often as the protocol lets it, or not at all. */
export interface Exchange {
  readonly asked: Asked;
  readonly response: ServerResponse;
  /** Sends the request to the server behind, once more if it was sent before, and gives its whole answer. */
  readonly pass: (changed?: Partial<Asked>) => Promise<Told>;
  /** The same with an answer that is read as it comes. */
  readonly stream: (changed?: Partial<Asked>) => Promise<IncomingMessage>;
  readonly answer: (answer: Answer) => void;
  /** Resets the connection. */
  readonly cut: () => void;
}

export type Fault = (exchange: Exchange) => Promise<void> | void;
export type Match = (asked: Asked) => boolean;

/** A fault that is in force. */
export interface Rule {
  /** Requests that met it. */
  readonly met: number;
  clear(): void;
}

export interface Passed {
  readonly method: string;
  readonly path: string;
  /** What the asker was told; 0: nothing. */
  status: number;
}

/** An HTTP server that passes on whatever no rule meets. The newest rule that matches wins. */
export interface HttpProxy extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** Who is to trust it; empty without TLS. */
  readonly ca: string;
  readonly seen: readonly Passed[];
  /** At most `times` requests meet the fault; left out, all. */
  meet(match: Match, fault: Fault, times?: number): Rule;
  /** New connections are reset, open ones too; `false`: no longer. */
  refuse(refuses: boolean): void;
  /** Resets every open connection. */
  cut(): void;
  /** No rule is left. */
  clear(): void;
}

export interface Behind {
  /** `https://host:port` or `http://host:port` */
  readonly origin: string;
  /** Of the server behind, with https. */
  readonly ca?: string;
}

export async function openHttpProxy(behind: Behind): Promise<HttpProxy> {
  const proxy = new RunningProxy(behind);
  await proxy.listen();
  return proxy;
}

interface HeldRule {
  readonly match: Match;
  readonly fault: Fault;
  left: number;
  met: number;
}

class RunningProxy implements HttpProxy {
  readonly ca: string;
  readonly seen: Passed[] = [];
  readonly #behind: Behind;
  readonly #server: Server;
  readonly #agent: Agent;
  readonly #sockets = new Set<Socket>();
  #rules: HeldRule[] = [];
  #refuses = false;

  constructor(behind: Behind) {
    this.#behind = behind;
    const serve = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
    const isTls = behind.origin.startsWith("https:");
    const authority = openAuthority();
    this.ca = isTls ? authority.cert : "";
    this.#agent = isTls ? new TlsAgent({ keepAlive: true, ca: behind.ca }) : new Agent({ keepAlive: true });
    this.#server = isTls
      ? createTlsServer({ ...authority.issue({ ips: ["127.0.0.1"] }), keepAliveTimeout: 120_000 }, serve)
      : createServer({ keepAliveTimeout: 120_000 }, serve);
    this.#server.on("connection", (socket: Socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }
  meet(match: Match, fault: Fault, times = Number.POSITIVE_INFINITY): Rule {
    const rule: HeldRule = { match, fault, left: times, met: 0 };
    this.#rules.unshift(rule);
    return {
      get met() {
        return rule.met;
      },
      clear: () => {
        this.#rules = this.#rules.filter((one) => one !== rule);
      },
    };
  }
  refuse(refuses: boolean): void {
    this.#refuses = refuses;
    if (refuses) this.cut();
  }
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }
  clear(): void {
    this.#rules = [];
    this.#refuses = false;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    await closed;
  }

  #reset({ remotePort }: Socket): void {
    for (const socket of this.#sockets) if (socket.remotePort === remotePort) socket.resetAndDestroy();
  }

  #accept(socket: Socket): void {
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
    if (this.#refuses) socket.resetAndDestroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const passed: Passed = { method: request.method ?? "GET", path: request.url ?? "/", status: 0 };
    this.seen.push(passed);
    response.on("error", () => undefined);
    response.on("finish", () => (passed.status = response.statusCode));
    try {
      const asked = { ...passed, headers: request.headers, body: await bytesOf(request) };
      const rule = this.#rules.find(({ match, left }) => left > 0 && match(asked));
      if (rule === undefined) {
        await passOn(this.#exchange(asked, request, response));
        return;
      }
      [rule.met, rule.left] = [rule.met + 1, rule.left - 1];
      await rule.fault(this.#exchange(asked, request, response));
    } catch {
      response.destroy();
    }
  }

  #exchange(asked: Asked, request: IncomingMessage, response: ServerResponse): Exchange {
    const send = (changed: Partial<Asked> = {}): Promise<IncomingMessage> => this.#send({ ...asked, ...changed });
    return {
      asked,
      response,
      stream: send,
      pass: async (changed) => wholeOf(await send(changed)),
      answer: ({ status, headers = {}, body = "" }) => {
        if (response.destroyed) return;
        response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) });
        response.end(body);
      },
      // A TLS socket cannot be reset; the connection under it can.
      cut: () => this.#reset(request.socket),
    };
  }

  async #send({ method, path, headers, body }: Asked): Promise<IncomingMessage> {
    const { host: _host, connection: _connection, "transfer-encoding": _coding, ...rest } = headers;
    const url = new URL(path, this.#behind.origin);
    const make = url.protocol === "https:" ? tlsRequest : plainRequest;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = make(url, { method, headers: rest, agent: this.#agent });
    request.on("response", resolve).on("error", reject);
    request.end(body.length === 0 ? undefined : body);
    return promise;
  }
}

/** What happens where no rule holds. */
export async function passOn({ stream, response }: Exchange): Promise<void> {
  const answer = await stream();
  response.writeHead(answer.statusCode ?? 502, answer.headers);
  response.flushHeaders();
  answer.on("error", () => response.destroy());
  response.on("close", () => answer.destroy());
  answer.pipe(response);
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function wholeOf(message: IncomingMessage): Promise<Told> {
  const body = await bytesOf(message);
  const {
    "transfer-encoding": _coding,
    connection: _connection,
    "content-length": _length,
    ...headers
  } = message.headers;
  return { status: message.statusCode ?? 502, headers, body };
}
