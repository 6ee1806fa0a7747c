import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { fault, type Fault } from "../../lib/failures.ts";
import { plainBoundary, type Boundary, type Clock, type Point } from "../../lib/seams.ts";
import { Slots } from "../../lib/slots.ts";
import { formatDuration, millisOf, type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Guard } from "../egress/connect.ts";
import type { Material, OpenEndpoint } from "../egress/endpoints.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { LARGEST_REPLY } from "./resp-gate.ts";
import { type Lost, RedisClient, type RedisValue } from "./redis-client.ts";

/**
 * `error`: the server said no; `code` is the first word of its answer and nothing else of it. `notSent`: it definitely received
 * nothing. `lost`: it was sent the command and nobody knows more.
 */
export type RedisReply =
  | { readonly kind: "reply"; readonly value: RedisValue }
  | { readonly kind: "error"; readonly code: string }
  | { readonly kind: "notSent"; readonly fault: Fault }
  | { readonly kind: "lost"; readonly fault: Fault };

export interface RunOptions {
  readonly signal: AbortSignal;
  /** From the call to the reply, waits for the connection included. */
  readonly timeout: Millis;
  /** Null for what changes nothing. */
  readonly point: Point | null;
}

export type RedisCommand = readonly [name: string, ...args: (string | number)[]];

export interface RedisScript {
  /** The script on the server, loaded there at its first use; what it answers to `redis.error_reply` is `error`. */
  run(keys: readonly string[], args: readonly (string | number)[], options: RunOptions): Promise<RedisReply>;
}

/** One endpoint, one connection, one command in flight: cancelling one command never makes another's outcome unknown. */
export interface RedisConnection {
  run(command: RedisCommand, options: RunOptions): Promise<RedisReply>;
  script(lua: string): RedisScript;
  /** Whether the server answers at all; for health, never for decisions. */
  check(signal: AbortSignal): Promise<{ readonly status: "healthy" | "unhealthy"; readonly message: string }>;
  /** Why the endpoint does not allow this rendered key or stream; null where it does. */
  keyRefusal(key: string): Fault | null;
  close(): Promise<void>;
}

export interface RedisDeps {
  readonly name: string;
  /** The endpoint as the settings have it now; null where they have it no more. */
  readonly endpoint: () => OpenEndpoint<"redis"> | null;
  readonly guard: Guard;
  readonly clock: Clock;
  readonly boundary?: Boundary;
  readonly metrics?: Metrics;
  readonly log?: Log;
}

/** SEC-41. */
const LARGEST_COMMAND = 256 * 1024;
const MOST_WAITING = 1024;
const CHECK_TIMEOUT = seconds(3);
/** Not jittered: one process has one connection per endpoint, and commands wait for it one by one. */
const RECONNECT: Backoff = { initial: millisOf(50), factor: 2, max: seconds(1) };

export function openRedis(deps: RedisDeps): RedisConnection {
  const line = new Line(deps);
  const boundary = deps.boundary ?? plainBoundary;
  const run = async (use: Use, size: number, options: RunOptions): Promise<RedisReply> => {
    const work = (): Promise<RedisReply> => line.use(use, options);
    const reply =
      tooLarge(size, deps.name) ?? (await (options.point === null ? work() : boundary.around(options.point, work)));
    if ("fault" in reply) deps.metrics?.failed("cache", reply.fault);
    return reply;
  };
  return {
    run: (command, options) => run((client) => client.send(command), sizeOf(command), options),
    script: (lua) => ({
      run: (keys, args, options) => {
        const rest = [keys.length, ...keys, ...args];
        return run((client) => client.evaluate(lua, rest), sizeOf([lua, ...rest]), options);
      },
    }),
    check: async (signal) => {
      const reply = await line.use((client) => client.send(["PING"]), { signal, timeout: CHECK_TIMEOUT, point: null });
      if (reply.kind === "reply") return { status: "healthy", message: "answers" };
      return { status: "unhealthy", message: reply.kind === "error" ? `answers ${reply.code}` : reply.fault.message };
    },
    keyRefusal: (key) => deps.endpoint()?.keyRefusal(key) ?? null,
    close: async () => line.close(),
  };
}

type Answered = Extract<RedisReply, { kind: "reply" | "error" }> | Lost;
type Use = (client: RedisClient) => Promise<Answered>;

/** Commands in order over at most one connection. */
class Line {
  readonly #turn = new Slots(1, MOST_WAITING);
  readonly #deps: RedisDeps;
  #client: RedisClient | null = null;
  #digest = "";
  #failures = 0;
  #notBefore = millisOf(0);
  #closed = false;

  constructor(deps: RedisDeps) {
    this.#deps = deps;
  }

  use(use: Use, { signal, timeout }: RunOptions): Promise<RedisReply> {
    return withDeadline({ clock: this.#deps.clock, timeout, signal }, async (ended) => {
      const give = await this.#turn.take(ended).catch(() => null);
      if (give === null) return { kind: "notSent", fault: this.#late() };
      try {
        const client = await this.#connected(ended);
        return client instanceof RedisClient ? await this.#useOnce(client, { use, ended, timeout }) : client;
      } finally {
        give();
      }
    });
  }

  close(): void {
    this.#closed = true;
    this.#client?.destroy();
  }

  async #useOnce(
    client: RedisClient,
    { use, ended, timeout }: { use: Use; ended: AbortSignal; timeout: Millis },
  ): Promise<RedisReply> {
    const before = client.bytesSent;
    // No reply may reach a later command than its own: the connection dies with the command that is cancelled (guard 6).
    const cancel = (): void => client.destroy();
    ended.addEventListener("abort", cancel, { once: true });
    if (ended.aborted) cancel();
    try {
      const answer = await use(client);
      if (answer.kind !== "lost") return answer;
      if (client.bytesSent === before) return { kind: "notSent", fault: this.#late() };
      return { kind: "lost", fault: this.#lost(ended, timeout, answer) };
    } finally {
      ended.removeEventListener("abort", cancel);
    }
  }

  /** A live connection under the policy and the credentials of now, else what speaks against one. */
  async #connected(ended: AbortSignal): Promise<RedisClient | RedisReply> {
    const { clock, name } = this.#deps;
    const endpoint = this.#deps.endpoint();
    if (endpoint === null) return { kind: "notSent", fault: fault("EndpointUnavailable", { endpoint: name }) };
    const material = await endpoint.material();
    if (!material.ok) return { kind: "notSent", fault: material.fault };
    const digest = `${endpoint.policy.digest} ${endpoint.settings.addresses.join(" ")} ${material.value.digest}`;
    if (this.#client !== null && this.#client.alive && this.#digest === digest) return this.#client;
    this.#client?.destroy();
    this.#client = null;
    const wait = millisOf(this.#notBefore - clock.monotonic());
    if (wait > 0) await clock.sleep(wait, ended).catch(() => undefined);
    if (ended.aborted || this.#closed) return { kind: "notSent", fault: this.#late() };
    const opened = await this.#open(endpoint, material.value, ended);
    if (opened instanceof RedisClient) {
      this.#failures = 0;
      this.#client = opened;
      this.#digest = digest;
      return opened;
    }
    this.#failures += 1;
    this.#notBefore = millisOf(clock.monotonic() + backoffAfter(this.#failures, RECONNECT, 1));
    this.#deps.log?.warn({ endpoint: name, failures: this.#failures }, "redis cannot be reached");
    return opened;
  }

  /** The first of the configured addresses that takes a connection; the server's own redirects are never followed. */
  async #open(
    endpoint: OpenEndpoint<"redis">,
    material: Material,
    ended: AbortSignal,
  ): Promise<RedisClient | RedisReply> {
    const { guard } = this.#deps;
    let last: Fault = fault("NoInstances", { sources: `the addresses of endpoint ${endpoint.settings.name}` });
    for (const address of endpoint.settings.addresses) {
      const to = { ...endpoint.destination(material, { address, alpn: [] }), namespace: "" };
      const connection = await guard.connect(to, ended);
      if (!connection.ok) {
        last = connection.fault;
        continue;
      }
      const client = await RedisClient.over(connection.socket);
      return (await this.#login(client, material, ended)) ?? client;
    }
    return { kind: "notSent", fault: last };
  }

  /** Null where it is logged in, or need not be. Nothing of the command was sent yet, whatever happens here. */
  async #login(client: RedisClient, { username, password }: Material, ended: AbortSignal): Promise<RedisReply | null> {
    if (password === null) return null;
    const cancel = (): void => client.destroy();
    ended.addEventListener("abort", cancel, { once: true });
    if (ended.aborted) cancel();
    try {
      const answer = await client.send(username === null ? ["AUTH", password] : ["AUTH", username, password]);
      if (answer.kind === "reply") return null;
      client.destroy();
      return answer.kind === "error" ? answer : { kind: "notSent", fault: this.#late() };
    } finally {
      ended.removeEventListener("abort", cancel);
    }
  }

  #late(): Fault {
    return fault("ConnectTimeout", this.#about());
  }
  #lost(ended: AbortSignal, timeout: Millis, { violation }: Lost): Fault {
    if (violation !== null) this.#deps.log?.warn({ ...this.#about(), violation }, "redis sent what it may not");
    if (violation === "size") return fault("AnswerTooLarge", { ...this.#about(), limit: String(LARGEST_REPLY) });
    return ended.aborted
      ? fault("HttpTimeout", { ...this.#about(), timeout: formatDuration(timeout) })
      : fault("AnswerLost", this.#about());
  }
  #about(): { readonly endpoint: string; readonly address: string } {
    const { name, endpoint } = this.#deps;
    return { endpoint: name, address: endpoint()?.settings.addresses[0] ?? "its address" };
  }
}

function tooLarge(bytes: number, endpoint: string): RedisReply | null {
  if (bytes <= LARGEST_COMMAND) return null;
  const facts = { endpoint, bytes: String(bytes), limit: String(LARGEST_COMMAND) };
  return { kind: "notSent", fault: fault("RequestTooLarge", facts) };
}

const sizeOf = (parts: readonly (string | number)[]): number =>
  parts.reduce<number>((sum, part) => sum + Buffer.byteLength(String(part)), 0);
