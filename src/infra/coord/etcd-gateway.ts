import { type buildConnector, Pool } from "undici";
import { backoffAfter } from "../../lib/backoff.ts";
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { InfraError } from "../../lib/infra-error.ts";
import { decodeJson, type JsonObject } from "../../lib/json.ts";
import { openLineCutter } from "../../lib/line-cutter.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Connection } from "../egress/connect.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";
import type { CallLimits } from "./coord.ts";
import { codeOfStatus, type CoordCode, coordError, isCoordError, tlsError } from "./etcd-failures.ts";
import { numberOf, objectOf } from "./etcd-wire.ts";

/** Opens one guarded socket to `host:port`, secured where the settings say so. */
export type Dial = (address: string, signal: AbortSignal) => Promise<Connection>;

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** The limits hold until others are set. */
export interface GatewayDeps extends CallLimits {
  /** `host:port`, at least one; asked in turn. */
  readonly endpoints: readonly string[];
  /** Read anew at each log-in; null where the cluster asks for none. */
  readonly credentials: (() => Promise<Credentials>) | null;
  readonly dial: Dial;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics?: Metrics;
  /** Makes each call a span of the present trace; left out, none is. */
  readonly tracer?: Tracer;
}

export interface CallOptions {
  /** Whether it may be sent again when nobody knows what became of it. */
  readonly repeatable: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Every address once and no waits: who asks, asks again anyway. */
  readonly hasty?: boolean;
}

const JSON_LIMITS = { depth: 16, keys: 2_000_000 };
/** A page of the largest values that etcd takes (1.5 MiB each, a third more as base64). */
const LARGEST_ANSWER = 64 * 1024 * 1024;

/** A refused log-in or a token that etcd no longer knows. */
class TokenStale extends Error {}

/** etcd's JSON gateway over keep-alive connections: one address at a time, the next one when it fails. */
export class Gateway {
  readonly #deps: GatewayDeps;
  readonly #pools = new Map<string, Pool>();
  readonly #closed = new AbortController();
  #limits: CallLimits;
  /** Addresses whose last connection came about. */
  readonly #reached = new Set<string>();
  #turn = 0;
  #token: Promise<string> | null = null;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#limits = deps;
  }

  limit(limits: CallLimits): void {
    this.#limits = limits;
  }

  /** One request, one answer. @throws InfraError, or the signal's reason. */
  async call(path: string, body: JsonObject, options: CallOptions): Promise<JsonObject> {
    const { tracer } = this.#deps;
    if (tracer === undefined) return this.#call(path, body, options);
    const attributes = { "db.system.name": "etcd", "db.operation.name": path };
    return tracer.call(`coord ${path}`, { kind: "client", attributes }, () => this.#call(path, body, options));
  }

  async #call(
    path: string,
    body: JsonObject,
    { repeatable, signal = this.#closed.signal, hasty = false }: CallOptions,
  ): Promise<JsonObject> {
    const { clock } = this.#deps;
    const { retry, timeout: most } = this.#limits;
    const timeout = millisOf(Math.min(most, hasty ? HASTE : Number.POSITIVE_INFINITY));
    const tries = hasty ? 1 : 1 + retry.maxRetries;
    const either = AbortSignal.any([signal, this.#closed.signal]);
    try {
      return await withDeadline({ clock, timeout, signal: either }, (ended) =>
        this.#tries((address) => this.#once({ address, path, body, repeatable }, ended), { repeatable, ended, tries }),
      );
    } catch (error) {
      if (this.#closed.signal.aborted) throw coordError("Closed", path);
      signal.throwIfAborted();
      throw this.#counted(error, path);
    }
  }

  /**
   * One request, a stream of answers until the other side or the signal ends it. The first answer is there when this resolves.
   * @throws InfraError, or the signal's reason
   */
  async stream(path: string, body: JsonObject, signal: AbortSignal): Promise<AsyncGenerator<JsonObject, void>> {
    const either = AbortSignal.any([signal, this.#closed.signal]);
    try {
      const open = (address: string): ReturnType<Gateway["stream"]> =>
        this.#openStream({ address, path, body }, either);
      return await this.#allAddresses(open, true, either);
    } catch (error) {
      if (this.#closed.signal.aborted) throw coordError("Closed", path);
      signal.throwIfAborted();
      throw this.#counted(error, path);
    }
  }

  /** The next call goes to the next address. */
  turnAway(): void {
    this.#turn += 1;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  #counted(error: unknown, path: string): InfraError {
    const known = error instanceof InfraError ? error : coordError("AnswerLost", path, error);
    this.#deps.metrics?.infraFailed(known);
    return known;
  }

  async #tries<T>(once: (address: string) => Promise<T>, { repeatable, ended, tries }: Trying): Promise<T> {
    const { clock, rng } = this.#deps;
    const { retry } = this.#limits;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#allAddresses(once, repeatable, ended);
      } catch (error) {
        if (failures >= tries || ended.aborted || !isWorthAnother(error, repeatable)) throw error;
        await clock.sleep(backoffAfter(failures, retry, rng.float()), ended).catch(() => undefined);
        if (ended.aborted) throw error;
      }
    }
  }

  /** Each address once, from the one that answered last; one more where only the token had to be renewed. */
  async #allAddresses<T>(once: (address: string) => Promise<T>, repeatable: boolean, ended: AbortSignal): Promise<T> {
    const { endpoints } = this.#deps;
    let last: unknown = null;
    let renewed = false;
    for (let attempt = 0; attempt < endpoints.length + Number(renewed); attempt += 1) {
      try {
        return await once(endpoints[this.#turn % endpoints.length] ?? "");
      } catch (error) {
        last = error;
        if (error instanceof TokenStale) {
          this.#token = null;
          if (renewed) throw coordError("AuthRefused", "log-in");
          renewed = true;
          continue;
        }
        if (!isWorthAnother(error, repeatable)) throw error;
        this.turnAway();
        if (ended.aborted) throw error;
      }
    }
    throw last;
  }

  async #once(
    { address, path, body, repeatable }: Asked & { readonly repeatable: boolean },
    ended: AbortSignal,
  ): Promise<JsonObject> {
    const headers = await this.#headers(address, ended);
    let sent = false;
    try {
      const response = await this.#post({ address, path, body }, headers, ended);
      sent = true;
      return answerOf(response.status, await textOf(response.body), path);
    } catch (error) {
      if (error instanceof InfraError || error instanceof TokenStale) throw error;
      if (!repeatable) throw coordError("AnswerLost", address, error);
      const unanswered = sent ? "TimedOut" : this.#unanswered(address);
      throw coordError(ended.aborted ? unanswered : "Broken", address, error);
    }
  }

  async #openStream({ address, path, body }: Asked, signal: AbortSignal): Promise<AsyncGenerator<JsonObject, void>> {
    const { clock } = this.#deps;
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const headers = await this.#headers(address, either);
    try {
      const first = await withDeadline({ clock, timeout: FIRST_ANSWER, signal: either }, async (late) => {
        const asked = this.#post({ address, path, body }, headers, either);
        asked.catch(() => undefined);
        const { status, body: said } = await untilAborted(asked, late);
        if (status !== 200) answerOf(status, await untilAborted(textOf(said), late), path);
        const answers = answersOf(said, path);
        const head = await untilAborted(answers.next(), late);
        if (head.done === true) throw coordError("BadAnswer", address);
        return { head: head.value, answers };
      });
      return following(first.head, first.answers, ended);
    } catch (error) {
      ended.abort();
      if (error instanceof InfraError || error instanceof TokenStale) throw error;
      throw coordError(this.#unanswered(address), address, error);
    }
  }

  async #headers(address: string, signal: AbortSignal): Promise<Headers> {
    if (this.#deps.credentials === null) return JSON_BODY;
    this.#token ??= this.#logIn(address, signal);
    try {
      return { ...JSON_BODY, authorization: await this.#token };
    } catch (error) {
      this.#token = null;
      throw error;
    }
  }

  async #logIn(address: string, signal: AbortSignal): Promise<string> {
    const { username: name, password } = (await this.#deps.credentials?.()) ?? { username: "", password: "" };
    const path = "/v3/auth/authenticate";
    try {
      const response = await this.#post({ address, path, body: { name, password } }, JSON_BODY, signal);
      const { token } = answerOf(response.status, await textOf(response.body), path);
      if (typeof token !== "string" || !/^[\x21-\x7e]{1,4096}$/.test(token)) throw coordError("BadAnswer", address);
      return token;
    } catch (error) {
      if (error instanceof TokenStale) throw coordError("AuthRefused", address);
      throw error instanceof InfraError ? error : coordError(this.#unanswered(address), address, error);
    }
  }

  async #post({ address, path, body }: Asked, headers: Headers, signal: AbortSignal): Promise<Answered> {
    const about = { method: "POST", path, headers, body: JSON.stringify(body), signal } as const;
    const response = await this.#pool(address).request(about);
    return { status: response.statusCode, body: response.body as AsyncIterable<Uint8Array> };
  }

  /** Why nothing came from there, as far as we know. */
  #unanswered(address: string): CoordCode {
    return this.#reached.has(address) ? "Silent" : "ConnectFailed";
  }

  async #open(address: string, opened: Opened): Promise<void> {
    try {
      this.#reached.delete(address);
      const dialled = await this.#deps.dial(address, this.#closed.signal);
      if (dialled.ok) this.#reached.add(address);
      if (dialled.ok) opened(null, dialled.socket);
      else if (dialled.fault.code === "TlsFailed") opened(tlsError(address, dialled.reason ?? "refused"), null);
      else opened(coordError("ConnectFailed", address), null);
    } catch (error) {
      opened(coordError("ConnectFailed", address, error), null);
    }
  }

  #pool(address: string): Pool {
    const known = this.#pools.get(address);
    if (known !== undefined) return known;
    const pool = new Pool(`http://${address}`, {
      allowH2: false,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: IDLE,
      connections: MOST_CONNECTIONS,
      connect: (_options, opened) => {
        void this.#open(address, opened);
      },
    });
    this.#pools.set(address, pool);
    return pool;
  }
}

type Opened = Parameters<buildConnector.connector>[1];

type Headers = Readonly<Record<string, string>>;
const JSON_BODY: Headers = { "content-type": "application/json" };

interface Answered {
  readonly status: number;
  readonly body: AsyncIterable<Uint8Array>;
}

interface Trying {
  readonly tries: number;
  readonly repeatable: boolean;
  readonly ended: AbortSignal;
}

interface Asked {
  readonly address: string;
  readonly path: string;
  readonly body: JsonObject;
}

/** A link that is only slow must not hold up the next address for long. */
const FIRST_ANSWER: Millis = seconds(2);
/** Health is asked for every few seconds, by probes that wait for less than a call may take. */
const HASTE = seconds(2);
const IDLE = millisOf(10_000);
/** Watches hold one each; calls wait for a free one. */
const MOST_CONNECTIONS = 256;

function isWorthAnother(error: unknown, repeatable: boolean): boolean {
  if (isCoordError(error, "ConnectFailed", "Unavailable", "Silent")) return true;
  return repeatable && isCoordError(error, "AnswerLost", "BadAnswer", "Broken");
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > LARGEST_ANSWER) throw coordError("BadAnswer", "larger than 64 MiB");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function jsonOf(text: string, path: string): JsonObject {
  const decoded = decodeJson(text, JSON_LIMITS);
  if (!decoded.ok) throw coordError("BadAnswer", path);
  return objectOf(decoded.value);
}

function answerOf(status: number, text: string, path: string): JsonObject {
  if (status === 200) return jsonOf(text, path);
  const decoded = decodeJson(text, JSON_LIMITS);
  if (!decoded.ok) throw coordError("BadAnswer", `${path} answered ${status}`);
  throw failureOf(objectOf(decoded.value), path);
}

/** `{code, message}` of a call, or `{grpc_code, message}` inside a stream. */
function failureOf(said: JsonObject, path: string): Error {
  const { message } = said;
  const status = numberOf(said["code"] ?? said["grpc_code"], path);
  const code = codeOfStatus(status, typeof message === "string" ? message : "");
  return code === "TokenStale" ? new TokenStale() : coordError(code, path);
}

async function* answersOf(body: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<JsonObject, void> {
  const lines = openLineCutter(LARGEST_ANSWER);
  for await (const chunk of body) {
    for (const line of lines.push(chunk)) {
      const said = jsonOf(Buffer.from(line).toString("utf8"), path);
      if (said["error"] !== undefined) throw failureOf(objectOf(said["error"]), path);
      yield objectOf(said["result"]);
    }
  }
}

async function* following(
  head: JsonObject,
  answers: AsyncGenerator<JsonObject, void>,
  ended: AbortController,
): AsyncGenerator<JsonObject, void> {
  try {
    yield head;
    yield* answers;
  } finally {
    ended.abort();
  }
}
