import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import { cacheError, replyError } from "./cache-failures.ts";
import type { LocalLayer } from "./local-layer.ts";
import type { Answered, RawValue, RedisClient } from "./redis-client.ts";

export interface InvalidationDeps {
  readonly connect: (signal: AbortSignal) => Promise<RedisClient>;
  /** Keys that begin with it are told. */
  readonly prefix: string;
  readonly layer: LocalLayer;
  /** Told each key: neither what is kept of it nor what is being read counts any more. */
  readonly onInvalid: (key: string) => void;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log | null;
}

/** Of Redis' client-side caching over RESP2 (Redis, "Client-side caching in Redis", two connections mode). */
const CHANNEL = "__redis__:invalidate";
/** A line that is silent is asked for a sign of life: what is kept is stale for no longer than both together. */
const PING_EVERY = seconds(2);
const PING_WITHIN = seconds(2);
const RECONNECT: Backoff = { initial: millisOf(50), factor: 2, max: seconds(2) };

/**
 * Keeps the local layer told: Redis itself says which keys were written, by whomever, deleted, evicted or expired. While that
 * connection is gone, or silent, the layer keeps nothing. Ends with the signal.
 */
export async function followInvalidations(deps: InvalidationDeps, signal: AbortSignal): Promise<void> {
  const { clock, rng, layer, log } = deps;
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      const client = await deps.connect(signal);
      try {
        await subscribe(client, deps);
        log?.info({}, "local layer: told what becomes invalid");
        failures = 0;
        layer.resume();
        await alive(client, clock, signal);
      } finally {
        layer.suspend();
        client.destroy();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (failures === 0) log?.warn({ error }, "local layer: off until Redis says again what becomes invalid");
      await clock.sleep(backoffAfter(failures + 1, RECONNECT, rng.float()), signal).catch(() => undefined);
    }
  }
}

async function subscribe(client: RedisClient, deps: InvalidationDeps): Promise<void> {
  const { prefix } = deps;
  client.onMessage((channel, payload) => {
    if (channel === CHANNEL) forget(payload, deps);
  });
  const id = await must(client, ["CLIENT", "ID"]);
  const named = prefix === "" ? [] : ["PREFIX", prefix];
  await must(client, ["CLIENT", "TRACKING", "ON", "REDIRECT", String(id), "BCAST", ...named]);
  mustReply(await client.subscribe(CHANNEL), "SUBSCRIBE");
}

/** Null: the database was emptied. */
function forget(payload: RawValue, { prefix, layer, onInvalid }: InvalidationDeps): void {
  if (!Array.isArray(payload)) {
    layer.clear();
    return;
  }
  for (const key of payload as readonly RawValue[]) {
    const text = String(key);
    if (text.startsWith(prefix)) onInvalid(text.slice(prefix.length));
  }
}

/** Rejects as soon as the connection gives no sign of life. */
async function alive(client: RedisClient, clock: Clock, signal: AbortSignal): Promise<never> {
  const ended = AbortSignal.any([signal, gone(client)]);
  for (;;) {
    await clock.sleep(PING_EVERY, ended).catch(() => undefined);
    signal.throwIfAborted();
    await withDeadline({ clock, timeout: PING_WITHIN, signal }, async (late) => {
      const cancel = (): void => client.destroy();
      late.addEventListener("abort", cancel, { once: true });
      try {
        await must(client, ["PING"]);
      } finally {
        late.removeEventListener("abort", cancel);
      }
    });
  }
}

function gone(client: RedisClient): AbortSignal {
  const ended = new AbortController();
  void client.closed().then(() => ended.abort());
  return ended.signal;
}

async function must(client: RedisClient, command: readonly [string, ...string[]]): Promise<RawValue> {
  return mustReply(await client.sendRaw(command), command[0]);
}

function mustReply<V>(answer: Answered<V>, at: string): V {
  if (answer.kind === "reply") return answer.value;
  throw answer.kind === "error" ? replyError(answer.code, at) : cacheError("ConnectionLost", at);
}
