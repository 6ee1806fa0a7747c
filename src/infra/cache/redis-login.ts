import { withDeadline } from "../../lib/deadline.ts";
import type { Clock } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import type { Connection } from "../egress/connect.ts";
import { cacheError, connectError, isCacheError, replyError } from "./cache-failures.ts";
import { RedisClient } from "./redis-client.ts";
import type { ReplyLimits } from "./resp-gate.ts";

/** Opens one guarded socket to the Redis of the settings, secured where they say so. */
export type Dial = (signal: AbortSignal) => Promise<Connection>;

export interface LoginDeps {
  readonly dial: Dial;
  /** Read anew for each connection; null where no user is asked for. @throws InfraError where it cannot be read. */
  readonly credentials: (() => Promise<RedisCredentials>) | null;
  readonly db: number;
  readonly dialTimeout: Millis;
  readonly clock: Clock;
  readonly limits: ReplyLimits;
}
export interface RedisCredentials {
  /** Null: the default user. */
  readonly username: string | null;
  readonly password: string;
}

/** A connection that is logged in and has its database, within `dialTimeout`. @throws InfraError, or the signal's reason */
export async function login(deps: LoginDeps, signal: AbortSignal): Promise<RedisClient> {
  const { clock, dialTimeout } = deps;
  try {
    return await withDeadline({ clock, timeout: dialTimeout, signal }, (ended) => open(deps, ended));
  } catch (error) {
    signal.throwIfAborted();
    throw isDeadline(error) ? cacheError("ConnectFailed", "connect", error) : error;
  }
}

const isDeadline = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";

async function open({ dial, credentials, db, limits }: LoginDeps, ended: AbortSignal): Promise<RedisClient> {
  const login = credentials === null ? null : await credentials();
  const connection = await dial(ended);
  if (!connection.ok) {
    ended.throwIfAborted();
    throw connectError(connection.fault, "connect");
  }
  const client = await RedisClient.over(connection.socket, limits);
  const cancel = (): void => client.destroy();
  ended.addEventListener("abort", cancel, { once: true });
  try {
    if (login !== null) {
      const { username, password } = login;
      await must(client, username === null ? ["AUTH", password] : ["AUTH", username, password]);
    }
    if (db !== 0) await must(client, ["SELECT", db]);
    ended.throwIfAborted();
    return client;
  } catch (error) {
    client.destroy();
    ended.throwIfAborted();
    throw error;
  } finally {
    ended.removeEventListener("abort", cancel);
  }
}

async function must(client: RedisClient, command: readonly [string, ...(string | number)[]]): Promise<void> {
  const answer = await client.send(command);
  if (answer.kind === "reply") return;
  const [name] = command;
  if (answer.kind === "lost") throw cacheError(answer.violation === null ? "ConnectFailed" : "ReplyRefused", name);
  const error = replyError(answer.code, name);
  throw name === "SELECT" && isCacheError(error, "Refused")
    ? cacheError("DatabaseRefused", `SELECT ${command[1]}`)
    : error;
}
