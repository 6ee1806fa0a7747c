import { buildConnector, Client, Pool } from "undici";

import type { Boundary, Clock, KubeLane, KubeRequest, KubeResponse, KubeStream, KubeTransport } from "../lib/seams.ts";
import { type Millis, seconds } from "../lib/time.ts";
import { type Agenda, openAgenda } from "./agenda.ts";
import { type Credentials, type KubeConnection, type TlsIdentity, tlsDigest } from "./connection.ts";
import { type CredentialCache, openCredentialCache } from "./credential-cache.ts";
import { NoAnswer } from "./errors.ts";
import { Exchange, flattenHeaders, noAnswerOf } from "./exchange.ts";
import { decodeJsonBytes, decodeList, openTurns } from "./list-decoder.ts";

/** Opens connected sockets, TLS included: the egress guard's, or undici's own. */
export type Connect = (tls: TlsIdentity) => buildConnector.connector;

export interface TransportLimits {
  /** Connections of each lane. */
  readonly connections: Readonly<Record<KubeLane, number>>;
  /** Requests of one lane that are sent or wait for a connection; more are refused. */
  readonly inFlight: number;
  readonly requestBytes: number;
  readonly objectBytes: number;
  readonly listBytes: number;
  readonly headerBytes: number;
  readonly connectTimeout: Millis;
  /** kube-apiserver closes idle connections after 90 s: ours must be given up first, or a write could meet the close. */
  readonly idleTimeout: Millis;
}

const MIB = 1024 * 1024;

/** security.md, SEC-41; architecture.md, Kubernetes client. */
export const TRANSPORT_LIMITS: TransportLimits = {
  connections: { bulk: 24, user: 8, lease: 2, event: 2 },
  inFlight: 4096,
  requestBytes: 3 * MIB,
  objectBytes: 3 * MIB,
  listBytes: 64 * MIB,
  headerBytes: 16 * 1024,
  connectTimeout: seconds(5),
  idleTimeout: seconds(60),
};

export interface TransportOptions {
  readonly clock: Clock;
  readonly boundary: Boundary;
  readonly connect?: Connect;
  /** Date header of an answer below 500, and when (monotonic) its request was sent. */
  readonly onServerDate?: (date: string, sentAt: Millis) => void;
  readonly limits?: Partial<TransportLimits>;
  /** Its part before `/` is the manager of the fields that we write. */
  readonly userAgent?: string;
}

/**
 * The way to one API server: HTTP/1.1 over kept connections, a pool per lane, a connection per stream. Sends every request once:
 * nothing is repeated or redirected. @throws NoAnswer from `request` and `stream`, never anything else but bugs.
 */
export function openTransport(connection: KubeConnection, options: TransportOptions): KubeTransport {
  return new Transport(connection, options);
}

interface Lanes {
  /** As last seen, and what tells it from another one. */
  tls: TlsIdentity;
  readonly digest: string;
  readonly connect: buildConnector.connector;
  readonly pools: Readonly<Record<KubeLane, Pool>>;
}

class Transport implements KubeTransport {
  readonly #connection: KubeConnection;
  readonly #options: TransportOptions;
  readonly #limits: TransportLimits;
  readonly #agenda: Agenda;
  readonly #credentials: CredentialCache;
  readonly #inFlight: Record<KubeLane, number> = { bulk: 0, user: 0, lease: 0, event: 0 };
  readonly #streams = new Set<Client>();
  #lanes: Lanes | null = null;
  #closed = false;

  constructor(connection: KubeConnection, options: TransportOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#limits = { ...TRANSPORT_LIMITS, ...options.limits };
    this.#agenda = openAgenda(options.clock);
    this.#credentials = openCredentialCache(connection, options.clock);
  }

  async request(request: KubeRequest): Promise<KubeResponse> {
    const { lane = "bulk", method, point } = request;
    if (method !== "GET" && point === undefined)
      throw new Error(`${method} ${request.path} without a point: a write must be countable`);
    const body = this.#encode(request.body);
    if (this.#inFlight[lane] >= this.#limits.inFlight) throw new NoAnswer("Refused", "TooManyInFlight");
    this.#inFlight[lane] += 1;
    try {
      const send = () => this.#exchange(request, lane, body);
      return point === undefined || method === "GET" ? await send() : await this.#options.boundary.around(point, send);
    } finally {
      this.#inFlight[lane] -= 1;
    }
  }

  async stream(request: KubeRequest): Promise<KubeStream> {
    const { credentials, lanes } = await this.#ready();
    const client = new Client(this.#connection.origin, { ...this.#clientOptions(lanes.connect), bodyTimeout: 0 });
    this.#streams.add(client);
    const finish = async (): Promise<void> => {
      this.#streams.delete(client);
      await client.destroy();
    };
    const sentAt = this.#options.clock.monotonic();
    const abandon = new AbortController();
    const deadline = this.#agenda.in(request.timeout, () => abandon.abort());
    try {
      const { statusCode, headers, body } = await client.request({
        method: "GET",
        path: this.#pathOf(request),
        headers: this.#headersOf(request, credentials),
        signal: request.signal === undefined ? abandon.signal : AbortSignal.any([request.signal, abandon.signal]),
      });
      deadline.cancel();
      request.signal?.addEventListener("abort", () => void finish(), { once: true });
      const flat = flattenHeaders(headers);
      this.#observe(statusCode, flat, { credentials, sentAt });
      return { status: statusCode, headers: flat, chunks: chunksOf(body, finish) };
    } catch (error) {
      deadline.cancel();
      await finish();
      throw noAnswerOf(error, { sent: true, isRead: true, timedOut: abandon.signal.aborted });
    }
  }

  /** What is in flight fails. Safe to call twice. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#agenda.close();
    const pools = this.#lanes === null ? [] : Object.values(this.#lanes.pools);
    await Promise.all([...pools, ...this.#streams].map((dispatcher) => dispatcher.destroy()));
  }

  #encode(body: unknown): string | null {
    if (body === undefined) return null;
    const text = JSON.stringify(body);
    const { requestBytes } = this.#limits;
    // A character takes three bytes at most: small bodies are not measured twice.
    if (text.length * 3 > requestBytes && Buffer.byteLength(text) > requestBytes)
      throw new NoAnswer("TooLarge", "RequestTooLarge");
    return text;
  }

  async #exchange(request: KubeRequest, lane: KubeLane, body: string | null): Promise<KubeResponse> {
    const { credentials, lanes } = await this.#ready();
    const isList = request.answer === "list";
    const exchange = new Exchange({
      isRead: request.method === "GET",
      limit: isList ? this.#limits.listBytes : this.#limits.objectBytes,
      signal: request.signal,
    });
    const sentAt = this.#options.clock.monotonic();
    const deadline = this.#agenda.in(request.timeout, () => exchange.abandon("Timeout"));
    lanes.pools[lane].dispatch(
      { method: request.method, path: this.#pathOf(request), headers: this.#headersOf(request, credentials), body },
      exchange,
    );
    try {
      const { status, headers, bytes } = await exchange.answer;
      this.#observe(status, headers, { credentials, sentAt });
      return {
        status,
        headers,
        body: await this.#decode(bytes, { status, headers, isList, isRead: request.method === "GET" }),
      };
    } finally {
      deadline.cancel();
    }
  }

  async #decode(bytes: Uint8Array, about: Received): Promise<unknown> {
    const isGood = about.status >= 200 && about.status < 300;
    if (bytes.length === 0) return null;
    try {
      if (about.headers["content-encoding"] !== undefined) throw new SyntaxError("an encoding that was not asked for");
      return about.isList && isGood ? await decodeList(bytes, openTurns(this.#options.clock)) : decodeJsonBytes(bytes);
    } catch (error) {
      // Gateways answer their own failures in HTML: the status alone says enough.
      if (!isGood) return null;
      throw new NoAnswer(about.isRead ? "BadAnswer" : "Ambiguous", "NotJson", error);
    }
  }

  #observe(status: number, headers: Received["headers"], sent: { credentials: Credentials; sentAt: Millis }): void {
    if (status === 401) this.#credentials.rejected(sent.credentials);
    if (status < 500 && headers.date !== undefined) this.#options.onServerDate?.(headers.date, sent.sentAt);
  }

  async #ready(): Promise<{ readonly credentials: Credentials; readonly lanes: Lanes }> {
    const credentials = await this.#credentials.current();
    if (this.#closed) throw new NoAnswer("Refused", "Closed");
    return { credentials, lanes: this.#lanesFor(credentials.tls) };
  }

  /** New CA or client certificate ⇒ new connections; what is under way on the old ones ends there (SEC-29). */
  #lanesFor(tls: TlsIdentity): Lanes {
    if (this.#lanes?.tls === tls) return this.#lanes;
    const digest = tlsDigest(tls);
    if (this.#lanes?.digest === digest) return Object.assign(this.#lanes, { tls });
    for (const pool of Object.values(this.#lanes?.pools ?? {})) void pool.close();
    const connect = (this.#options.connect ?? plainConnect(this.#limits.connectTimeout))(tls);
    const open = (lane: KubeLane): Pool =>
      new Pool(this.#connection.origin, {
        ...this.#clientOptions(connect),
        connections: this.#limits.connections[lane],
      });
    this.#lanes = {
      tls,
      digest,
      connect,
      pools: { bulk: open("bulk"), user: open("user"), lease: open("lease"), event: open("event") },
    };
    return this.#lanes;
  }

  #clientOptions(connect: buildConnector.connector): Client.Options {
    return {
      connect,
      allowH2: false,
      pipelining: 1,
      maxHeaderSize: this.#limits.headerBytes,
      keepAliveTimeout: this.#limits.idleTimeout,
      keepAliveMaxTimeout: this.#limits.idleTimeout,
      // Deadlines are ours: exact, by the injected clock, over the whole exchange.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
  }

  #pathOf({ path, query }: KubeRequest): string {
    const text = query === undefined ? "" : new URLSearchParams(query).toString();
    return `${this.#connection.basePath}${path}${text === "" ? "" : `?${text}`}`;
  }

  #headersOf({ body, contentType }: KubeRequest, { headers }: Credentials): Record<string, string> {
    const asked = {
      ...headers,
      accept: "application/json",
      "accept-encoding": "identity",
      "user-agent": this.#options.userAgent ?? "turnout",
    };
    return body === undefined ? asked : { ...asked, "content-type": contentType ?? "application/json" };
  }
}

interface Received {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly isList: boolean;
  readonly isRead: boolean;
}

/** @throws NoAnswer where the stream breaks off */
async function* chunksOf(body: AsyncIterable<Uint8Array>, finish: () => Promise<void>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw noAnswerOf(error, { sent: true, isRead: true, timedOut: false });
  } finally {
    await finish();
  }
}

const plainConnect =
  (timeout: Millis): Connect =>
  ({ ca, cert, key, servername }) =>
    buildConnector({
      allowH2: false,
      timeout,
      minVersion: "TLSv1.2",
      // Said aloud, because an environment variable of Node would turn it off.
      rejectUnauthorized: true,
      ...(ca === null ? {} : { ca }),
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
      ...(servername === null ? {} : { servername }),
    });
