import type { Socket } from "node:net";
import { AbstractConnector, Redis, ReplyError } from "ioredis";
import { RespGate, type Violation } from "./resp-gate.ts";

export type RedisValue = string | number | null | readonly RedisValue[];

/** The connection ended before the reply; `violation`: because the server sent what it may not. */
export interface Lost {
  readonly kind: "lost";
  readonly violation: Violation | null;
}
export type Answered =
  { readonly kind: "reply"; readonly value: RedisValue } | { readonly kind: "error"; readonly code: string } | Lost;

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

  static async over(socket: Socket): Promise<RedisClient> {
    const gate = new RespGate(socket);
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
    await client.connect().catch(() => undefined);
    return new RedisClient(gate, client);
  }

  get alive(): boolean {
    return !this.#gate.destroyed && this.#client.status === "ready";
  }
  get bytesSent(): number {
    return this.#gate.bytesSent;
  }
  destroy(): void {
    this.#gate.destroy();
    this.#client.disconnect();
  }

  /** One command, one reply. Upper case, so that no reply is reshaped on the way. */
  async send([name, ...args]: readonly [string, ...(string | number)[]]): Promise<Answered> {
    if (!this.alive) return { kind: "lost", violation: this.#gate.violation };
    this.#gate.expect();
    try {
      return { kind: "reply", value: (await this.#client.call(name.toUpperCase(), ...args)) as RedisValue };
    } catch (error) {
      if (error instanceof (ReplyError as new () => Error)) return { kind: "error", code: codeOf(error) };
      this.destroy();
      return { kind: "lost", violation: this.#gate.violation };
    }
  }

  /** The script by its digest. NOSCRIPT says that nothing ran, so it is loaded (again) and then sent once more. */
  async evaluate(lua: string, rest: readonly (string | number)[]): Promise<Answered> {
    const known = this.#loaded.get(lua);
    if (known !== undefined) {
      const answer = await this.send(["EVALSHA", known, ...rest]);
      if (answer.kind !== "error" || answer.code !== "NOSCRIPT") return answer;
    }
    const loaded = await this.send(["SCRIPT", "LOAD", lua]);
    if (loaded.kind !== "reply") return loaded;
    if (typeof loaded.value !== "string" || !/^[0-9a-f]{40}$/.test(loaded.value))
      return { kind: "error", code: "NOSCRIPT" };
    this.#loaded.set(lua, loaded.value);
    return this.send(["EVALSHA", loaded.value, ...rest]);
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
