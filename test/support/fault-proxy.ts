import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import { Agent as TlsAgent, createServer as createTlsServer, request as tlsRequest } from "node:https";
import { type AddressInfo, connect, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { openAuthority } from "./egress/certificate.ts";
import {
  apiKind,
  type Effect,
  type EffectVerdict,
  redisEffect,
  untagged,
  verdictOf,
  versionOf,
  contentOf,
} from "./fault-proxy-boundaries.ts";
import { headersOf, reply, sent, stream, whole } from "./fault-proxy-http.ts";
import { encodeCommand, messagesOf } from "./fault-proxy-resp.ts";

/** A mutating request as it passed: to the API server, to a receiver, to a store. */
export interface Wire {
  /** When it was passed on: the claim that it needs has a smaller one. 0: it is still held. */
  order: number;
  at: number;
  /** When its answer came back from the server; for the API server, what it stored counts from here. null: none did. */
  stored: number | null;
  /** When whoever sent it was given the answer; null: it never was. */
  answered: number | null;
  readonly namespace: string;
  readonly process: string | null;
  /** As a boundary is called: `api/status`, `effect/redis`. */
  readonly kind: string;
  /** Which one of its kind in this namespace. */
  readonly n: number;
  readonly to: string;
  /** HTTP status; 0: none. */
  code: number;
  rv: number | null;
  readonly effect: Effect | null;
  verdict: EffectVerdict;
}

/** A request that is kept on its way, once it comes. */
export interface Hold {
  readonly caught: boolean;
  /** Passes it on and resolves with the server's answer to it. */
  release(): Promise<void>;
  /** Resets the connection of whoever sent it; the request is still on its way. */
  cut(): void;
}

export interface Behind {
  readonly api: { readonly url: string; readonly ca: string };
  readonly redis: { readonly host: string; readonly port: number };
  readonly receivers: Readonly<Record<string, number>>;
}

/**
 * One process before API server, receivers and Redis, so that one counter orders everything. Who sends is told by what it presents: the
 * path of its kubeconfig, the end of its password and of its token, after `#`.
 */
export interface FaultProxy extends AsyncDisposable {
  /** What clients of the API server need to trust. */
  readonly ca: string;
  readonly apiPort: number;
  readonly redisPort: number;
  receiverPort(name: string): number;
  /** The next number of the one order. */
  next(): number;
  /** What passed for a namespace, in order of arrival. */
  passed(namespace: string): readonly Wire[];
  hold(what: { readonly namespace: string; readonly kind: string; readonly n: number }): Hold;
  forget(namespace: string): void;
}

export async function openFaultProxy(behind: Behind): Promise<FaultProxy> {
  const proxy = new RunningProxy(behind);
  await proxy.listen();
  return proxy;
}

interface Holding {
  readonly namespace: string;
  readonly kind: string;
  readonly n: number;
  caught: boolean;
  cut: () => void;
  readonly released: PromiseWithResolvers<void>;
  readonly over: PromiseWithResolvers<void>;
}

class RunningProxy implements FaultProxy {
  readonly ca: string;
  readonly #behind: Behind;
  readonly #api: Server;
  readonly #redis: Server;
  readonly #receivers = new Map<string, Server>();
  readonly #apiAgent: TlsAgent;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #sockets = new Set<Socket>();
  readonly #passed = new Map<string, Wire[]>();
  readonly #holds = new Set<Holding>();
  #order = 0;

  constructor(behind: Behind) {
    this.#behind = behind;
    const authority = openAuthority();
    this.ca = authority.cert;
    this.#apiAgent = new TlsAgent({ keepAlive: true, ca: behind.api.ca });
    const identity = authority.issue({ ips: ["127.0.0.1"] });
    this.#api = createTlsServer({ ...identity, keepAliveTimeout: 120_000 }, (request, response) => {
      void this.#serve(request, response, (body) => this.#toApi(request, response, body));
    });
    this.#redis = createTcpServer((client) => void this.#serveRedis(client));
    for (const name of Object.keys(behind.receivers)) {
      const serve = (request: IncomingMessage, response: ServerResponse): void => {
        void this.#serve(request, response, (body) => this.#toReceiver(name, request, response, body));
      };
      this.#receivers.set(name, createServer({ keepAliveTimeout: 120_000 }, serve));
    }
  }

  async listen(): Promise<void> {
    for (const server of this.#servers()) {
      server.on("connection", (socket: Socket) => {
        socket.setNoDelay(true);
        this.#keep(socket);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    }
  }
  get apiPort(): number {
    return portOf(this.#api);
  }
  get redisPort(): number {
    return portOf(this.#redis);
  }
  receiverPort(name: string): number {
    const server = this.#receivers.get(name);
    if (server === undefined) throw new Error(`no receiver ${name}`);
    return portOf(server);
  }
  next(): number {
    this.#order += 1;
    return this.#order;
  }
  passed(namespace: string): readonly Wire[] {
    return this.#passed.get(namespace) ?? [];
  }
  hold(what: { readonly namespace: string; readonly kind: string; readonly n: number }): Hold {
    const holding: Holding = {
      ...what,
      caught: false,
      cut: () => undefined,
      released: Promise.withResolvers<void>(),
      over: Promise.withResolvers<void>(),
    };
    this.#holds.add(holding);
    return {
      get caught() {
        return holding.caught;
      },
      cut: () => holding.cut(),
      release: async () => {
        this.#holds.delete(holding);
        holding.released.resolve();
        if (holding.caught) await holding.over.promise;
      },
    };
  }
  forget(namespace: string): void {
    this.#passed.delete(namespace);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = this.#servers().map((server) => new Promise((resolve) => server.close(resolve)));
    for (const holding of this.#holds) holding.released.resolve();
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
    this.#apiAgent.destroy();
    await Promise.all(closed);
  }

  #servers(): readonly Server[] {
    return [this.#api, this.#redis, ...this.#receivers.values()];
  }
  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  /** Notes a mutating request, and keeps it if it is one that shall be late. */
  async #arrive(
    about: Pick<Wire, "namespace" | "process" | "kind" | "to" | "effect">,
    cut: () => void,
  ): Promise<{ readonly wire: Wire; readonly over: () => void }> {
    const all = this.#passed.get(about.namespace) ?? [];
    this.#passed.set(about.namespace, all);
    const n = all.filter(({ kind }) => kind === about.kind).length + 1;
    const wire: Wire = {
      ...about,
      n,
      order: 0,
      at: 0,
      stored: null,
      answered: null,
      code: 0,
      rv: null,
      verdict: "never",
    };
    all.push(wire);
    const holding = [...this.#holds].find(
      (one) => one.namespace === wire.namespace && one.kind === wire.kind && one.n === n && !one.caught,
    );
    if (holding !== undefined) {
      holding.cut = cut;
      holding.caught = true;
      await holding.released.promise;
    }
    wire.order = this.next();
    wire.at = Date.now();
    return { wire, over: () => holding?.over.resolve() };
  }

  async #serve(
    request: IncomingMessage,
    response: ServerResponse,
    pass: (body: Buffer) => Promise<void>,
  ): Promise<void> {
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await pass(Buffer.concat(chunks));
    } catch {
      response.destroy();
    }
  }

  async #toApi(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    const [, process = null, path = "/"] = /^\/p\/([^/]+)(\/.*)$/.exec(request.url ?? "") ?? [];
    const method = request.method ?? "GET";
    const url = new URL(path, this.#behind.api.url);
    const send = (): Promise<IncomingMessage> =>
      sent(tlsRequest(url, { method, headers: headersOf(request), agent: this.#apiAgent }), body);
    const found = apiKind(method, path);
    if (found === null) {
      stream(await send(), response);
      return;
    }
    const { wire, over } = await this.#arrive({ ...found, process, to: path, effect: null }, () =>
      request.socket.destroy(),
    );
    try {
      const answer = await whole(await send());
      wire.stored = this.next();
      wire.code = answer.status;
      wire.rv = answer.status < 300 ? versionOf(answer.body) : null;
      wire.answered = reply(response, answer) ? this.next() : null;
    } finally {
      over();
    }
  }

  async #toReceiver(name: string, request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    const method = request.method ?? "GET";
    const { token, process } = untagged(request.headers.authorization ?? "");
    const headers = { ...headersOf(request), authorization: token };
    const port = this.#behind.receivers[name] ?? 0;
    const path = request.url ?? "/";
    const send = (): Promise<IncomingMessage> =>
      sent(httpRequest({ host: "127.0.0.1", port, path, method, headers, agent: this.#agent }), body);
    const header = (key: string): string => String(request.headers[key] ?? "");
    const tenant = header("turnout-tenant");
    if (method === "GET" || tenant === "") {
      stream(await send(), response);
      return;
    }
    const namespace = tenant.split("/")[0] ?? "";
    const effect = {
      tenant,
      opId: header("idempotency-key"),
      fence: header("turnout-fence"),
      base: header("turnout-base"),
      content: contentOf(namespace, method, path, body.toString("utf8")),
    };
    const { wire, over } = await this.#arrive({ namespace, process, kind: "effect/http", to: name, effect }, () =>
      request.socket.destroy(),
    );
    try {
      const answer = await whole(await send());
      wire.stored = this.next();
      wire.code = answer.status;
      // Whether it took force or was found in force is in the receiver's own log.
      wire.verdict = answer.status < 300 ? "applied" : "refused";
      wire.answered = reply(response, answer) ? this.next() : null;
    } finally {
      over();
    }
  }

  async #serveRedis(client: Socket): Promise<void> {
    const server = connect({ ...this.#behind.redis, noDelay: true });
    this.#keep(server);
    const replies = messagesOf(server);
    let process: string | null = null;
    for await (const { value } of messagesOf(client)) {
      const args = (Array.isArray(value) ? value : []).map(String);
      if (args[0] === "AUTH") {
        const { token, process: named } = untagged(args.at(-1) ?? "");
        process = named;
        args[args.length - 1] = token;
      }
      const asked = redisEffect(args);
      const arrived =
        asked === null ? null : await this.#arrive({ ...asked, process, kind: "effect/redis" }, () => client.destroy());
      server.write(encodeCommand(args));
      const answer = await replies.next();
      if (arrived !== null) {
        arrived.wire.stored = this.next();
        arrived.wire.verdict = answer.done === true ? "never" : verdictOf(answer.value.value);
      }
      if (answer.done !== true && !client.destroyed && client.write(answer.value.bytes) && arrived !== null)
        arrived.wire.answered = this.next();
      arrived?.over();
      if (answer.done === true) break;
    }
    client.destroy();
    server.destroy();
  }
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
