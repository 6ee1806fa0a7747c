import { backoffAfter } from "../../lib/backoff.ts";
import { admitted, type Breaker, type BreakerRules, closedBreaker, failed } from "../../lib/breaker.ts";
import { withDeadline } from "../../lib/deadline.ts";
import { InfraError, infraErrorOf } from "../../lib/infra-error.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { CacheSettings } from "../config/cache-settings.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Tracer } from "../metrics/tracer.ts";
import { cacheError, isCacheError, isSilence, replyError } from "./cache-failures.ts";
import type { Answered, RawValue, RedisClient } from "./redis-client.ts";
import type { RedisPool } from "./redis-pool.ts";

export interface Call {
  /** The command's name, for people and metrics. */
  readonly name: string;
  readonly key: string;
  /** Whether it may be sent again when nobody knows what became of it. */
  readonly repeatable: boolean;
  readonly signal: AbortSignal;
  readonly send: (client: RedisClient) => Promise<Answered<RawValue>>;
}

export interface RunnerDeps {
  readonly pool: RedisPool;
  readonly settings: () => CacheSettings;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics | null;
  readonly log: Log | null;
  readonly tracer: Tracer | null;
}

/** Ten silences in a row are no accident; a second is long against a restart of Redis and short for people. */
export const BREAKER: BreakerRules = { failures: 10, rest: seconds(1) };

/** Sends commands: connection from the pool, bound, tries with full jitter, breaker, slow log, count, span. */
export class CommandRunner {
  readonly #deps: RunnerDeps;
  #breaker: Breaker = closedBreaker;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /** Whether calls pass; for health. */
  get resting(): boolean {
    return this.#breaker.state !== "closed";
  }

  /** The reply. @throws InfraError, or the signal's reason */
  async run(call: Call): Promise<RawValue> {
    const { tracer } = this.#deps;
    if (tracer === null) return this.#tries(call);
    const attributes = { "db.system.name": "redis", "db.operation.name": call.name };
    return tracer.call(`cache ${call.name}`, { kind: "client", attributes }, () => this.#tries(call));
  }

  async #tries(call: Call): Promise<RawValue> {
    const { clock, rng, settings } = this.#deps;
    const since = clock.monotonic();
    for (let failures = 1; ; failures += 1) {
      try {
        const value = await this.#once(call);
        this.#measure(call, { since, outcome: "ok" });
        return value;
      } catch (error) {
        const { maxRetries, retryBackoff } = settings();
        const retry = mayRetry(call, error) && failures <= maxRetries;
        if (!retry) throw this.#counted(call, { since, error });
        const backoff = { initial: retryBackoff.min, factor: 2, max: retryBackoff.max };
        await clock.sleep(backoffAfter(failures, backoff, rng.float()), call.signal);
      }
    }
  }

  async #once({ name, key, signal, send }: Call): Promise<RawValue> {
    const { pool, clock, settings } = this.#deps;
    const at = `${name} ${key}`;
    const asked = admitted(this.#breaker, clock.monotonic(), BREAKER);
    this.#breaker = asked.breaker;
    if (!asked.pass) throw cacheError("BreakerOpen", at);
    try {
      const { readTimeout, writeTimeout } = settings();
      const timeout = millisOf(readTimeout + writeTimeout);
      const value = await pool.use(at, signal, (client) => exchange({ client, send, at, timeout, clock, signal }));
      this.#breaker = closedBreaker;
      return value;
    } catch (error) {
      if (isSilence(error)) this.#breaker = failed(this.#breaker, clock.monotonic(), BREAKER);
      else if (error instanceof InfraError && error.type !== "TIMEOUT") this.#breaker = closedBreaker;
      throw error;
    }
  }

  #counted(call: Call, { since, error }: { readonly since: Millis; readonly error: unknown }): unknown {
    if (call.signal.aborted) return error;
    const known = infraErrorOf("cache", error);
    this.#measure(call, { since, outcome: known.type });
    this.#deps.metrics?.infraFailed(known);
    return known;
  }

  #measure({ name, key }: Call, { since, outcome }: { readonly since: Millis; readonly outcome: string }): void {
    const { clock, metrics, log, settings } = this.#deps;
    const took = millisOf(clock.monotonic() - since);
    metrics?.observe("infra_command_duration_seconds", { component: "cache", outcome }, took / 1000);
    if (took < settings().slowThreshold) return;
    metrics?.count("infra_slow_total", { component: "cache" });
    log?.warn({ command: name, key: key.slice(0, 128), millis: Math.round(took), outcome }, "slow command");
  }
}

interface Exchange {
  readonly client: RedisClient;
  readonly send: Call["send"];
  readonly at: string;
  readonly timeout: Millis;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** One command on its connection, which ends with a command that was given up: no reply may reach a later one. */
async function exchange({ client, send, at, timeout, clock, signal }: Exchange): Promise<RawValue> {
  return withDeadline({ clock, timeout, signal }, async (ended) => {
    const cancel = (): void => client.destroy();
    ended.addEventListener("abort", cancel, { once: true });
    if (ended.aborted) cancel();
    try {
      const answer = await send(client);
      if (answer.kind === "reply") return answer.value;
      if (answer.kind === "error") throw replyError(answer.code, at);
      signal.throwIfAborted();
      if (answer.violation !== null) throw cacheError("ReplyRefused", at);
      throw cacheError(ended.aborted ? "CommandTimeout" : "ConnectionLost", at);
    } finally {
      ended.removeEventListener("abort", cancel);
    }
  });
}

/** What was surely not done may always be tried again; what may have been done, only if doing it twice is the same. */
function mayRetry({ repeatable, signal }: Call, error: unknown): boolean {
  if (signal.aborted) return false;
  return (
    isCacheError(error, "ConnectFailed", "Busy") ||
    (repeatable && isCacheError(error, "ConnectionLost", "CommandTimeout"))
  );
}
