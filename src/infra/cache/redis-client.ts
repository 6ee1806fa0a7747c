import type { Socket } from "node:net";
import { AbstractConnector, Redis, ReplyError } from "ioredis";
import { type ReplyLimits, RespGate, type Violation } from "./resp-gate.ts";

export type RedisValue = string | number | null | readonly RedisValue[];
/** The same reply with its texts as bytes. */
export type RawValue = Buffer | number | null | readonly RawValue[];
export type Argument = string | number | Buffer;

/** The connection ended before the reply; `violation`: because the server sent what it may not. */
export interface Lost {
  readonly kind: "lost";
  readonly violation: Violation | null;
}
export type Answered<V = RedisValue> =
  { readonly kind: "reply"; readonly value: V } | { readonly kind: "error"; readonly code: string } | Lost;

/**
 * The vendor client over one socket that the guard opened. It never connects, reconnects, queues, re-sends or pipelines by
 * itself; it encodes commands and decodes replies, which pass {@link RespGate} first.
 */
export class RedisClient {
  readonly #gate: RespGate;
  readonly #client: Redis;
  /** Digests by which the server knows scripts, as it told them itself. */
  readonly #loaded = new Map<string, string>();

  private constructor(gate: RespGate, client: Redis) {
    this.#gate = gate;
    this.#client = client;
  }

  /** Without limits, those of a stage's endpoint (SEC-41). */
  static async over(socket: Socket, limits?: ReplyLimits): Promise<RedisClient> {
    const gate = new RespGate(socket, limits);
    const client = new Redis({
      Connector: connectorOf(gate),
      lazyConnect: true,
      protocol: 2,
      enableReadyCheck: false,
      disableClientInfo: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      reconnectOnError: null,
    });
    client.on("error", () => undefined);
    // A socket that is already gone shows at the first command.
    const opened = new RedisClient(gate, client);
    await Promise.race([client.connect().catch(() => undefined), opened.closed()]);
    return opened;
  }

  get alive(): boolean {
    return !this.#gate.destroyed && this.#client.status === "ready";
  }
  /** Resolves once the connection is gone. */
  closed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#gate.destroyed) resolve();
      else this.#gate.once("close", () => resolve());
    });
  }
  /** Lower case: the vendor client files subscriptions under the name as it was sent. */
  subscribe(channel: string): Promise<Answered> {
    return this.#sendOnce(() => this.#client.call("subscribe", channel) as Promise<RedisValue>);
  }
  /** What comes by itself after {@link subscribe}: the channel, and the payload as it is. */
  onMessage(take: (channel: string, payload: RawValue) => void): void {
    this.#client.on("messageBuffer", (channel: Buffer, payload: RawValue) => take(channel.toString(), payload));
  }
  get bytesSent(): number {
    return this.#gate.bytesSent;
  }
  destroy(): void {
    this.#gate.destroy();
    this.#client.disconnect();
  }

  /** One command, one reply. Upper case, so that no reply is reshaped on the way. */
  send([name, ...args]: readonly [string, ...Argument[]]): Promise<Answered> {
    return this.#sendOnce(() => this.#client.call(name.toUpperCase(), ...args) as Promise<RedisValue>);
  }

  /** As {@link send}, for values that are no text. */
  sendRaw([name, ...args]: readonly [string, ...Argument[]]): Promise<Answered<RawValue>> {
    return this.#sendOnce(() => this.#client.callBuffer(name.toUpperCase(), ...args) as Promise<RawValue>);
  }

  /** The script by its digest. NOSCRIPT says that nothing ran, so it is loaded (again) and then sent once more. */
  evaluate(lua: string, rest: readonly Argument[]): Promise<Answered> {
    return this.#evaluate(lua, (digest) => this.send(["EVALSHA", digest, ...rest]));
  }

  /** As {@link evaluate}, for values that are no text. */
  evaluateRaw(lua: string, rest: readonly Argument[]): Promise<Answered<RawValue>> {
    return this.#evaluate(lua, (digest) => this.sendRaw(["EVALSHA", digest, ...rest]));
  }

  async #sendOnce<V>(call: () => Promise<V>): Promise<Answered<V>> {
    if (!this.alive) return { kind: "lost", violation: this.#gate.violation };
    this.#gate.expect();
    try {
      return { kind: "reply", value: await call() };
    } catch (error) {
      if (error instanceof (ReplyError as new () => Error)) return { kind: "error", code: codeOf(error) };
      this.destroy();
      return { kind: "lost", violation: this.#gate.violation };
    }
  }

  async #evaluate<V>(lua: string, run: (digest: string) => Promise<Answered<V>>): Promise<Answered<V>> {
    const known = this.#loaded.get(lua);
    if (known !== undefined) {
      const answer = await run(known);
      if (answer.kind !== "error" || answer.code !== "NOSCRIPT") return answer;
    }
    const loaded = await this.send(["SCRIPT", "LOAD", lua]);
    if (loaded.kind !== "reply") return loaded;
    if (typeof loaded.value !== "string" || !/^[0-9a-f]{40}$/.test(loaded.value))
      return { kind: "error", code: "NOSCRIPT" };
    this.#loaded.set(lua, loaded.value);
    return run(loaded.value);
  }
}

/** RESP: the first word of an error is its code. The rest may quote keys and values and is dropped. */
const codeOf = (error: Error): string => /^[A-Z][A-Z0-9_]{0,31}(?= |$)/.exec(error.message)?.[0] ?? "ERR";

function connectorOf(gate: RespGate): new () => AbstractConnector {
  return class extends AbstractConnector {
    constructor() {
      super(0);
    }
    override connect(): ReturnType<AbstractConnector["connect"]> {
      return Promise.resolve(gate as unknown as Socket);
    }
    override disconnect(): void {
      gate.destroy();
    }
  };
}
