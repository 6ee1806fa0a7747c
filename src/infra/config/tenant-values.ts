import { backoffAfter } from "../../lib/backoff.ts";
import { infraErrorOf } from "../../lib/infra-error.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Centre, Change, KeyValue } from "../coord/coord.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { parseKey, type TenantKey, tenantsPrefix } from "./config-key.ts";
import { readJson } from "./json-text.ts";
import type { Environment, Service } from "./services.ts";

/** What a switch wrote about one tenant of a service: deploy unit, version, endpoints, parameters, and the fence of the write. */
export interface TenantValue {
  readonly namespace: string;
  readonly tenantId: string;
  readonly value: JsonObject;
  readonly revision: number;
}

export interface TenantValues extends AsyncDisposable {
  /** Null where no switch has written one. At no cost. */
  of(namespace: string, tenantId: string): TenantValue | null;
  readonly size: number;
  /** Told of each tenant whose value changed; null where it is gone. Gives back what ends it. */
  subscribe(told: (namespace: string, tenantId: string, value: TenantValue | null) => void): () => void;
  /** How long the centre was not heard; zero while it is. */
  stale(): Millis;
  check(): Health;
  close(): Promise<void>;
}

export interface TenantOptions {
  readonly env: Environment;
  readonly service: Service;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly metrics: Metrics;
}

const RETRY = { initial: millisOf(200), factor: 2, max: seconds(2) };
const LABEL = { component: "tenants" } as const;

/**
 * All tenants of a service, loaded and then followed without a gap. A value that cannot be read leaves the last good one in force,
 * counted and logged; while the centre is away the last values stay. Returns when the first load has succeeded or the signal ends it.
 */
export async function openTenantValues(
  centre: Centre,
  options: TenantOptions,
  signal: AbortSignal,
): Promise<TenantValues> {
  const values = new Tenants(centre, options);
  const first = Promise.withResolvers<void>();
  const ended = (): void => first.reject(signal.reason as Error);
  signal.addEventListener("abort", ended, { once: true });
  values.follow(() => first.resolve());
  try {
    await first.promise;
    return values;
  } catch (error) {
    await values.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", ended);
  }
}

class Tenants implements TenantValues {
  readonly #centre: Centre;
  readonly #options: TenantOptions;
  readonly #stop = new AbortController();
  readonly #values = new Map<string, TenantValue>();
  readonly #told = new Set<Parameters<TenantValues["subscribe"]>[0]>();
  readonly #bad = new Set<string>();
  #lost: { readonly cause: string; readonly at: Millis } | null = null;
  #following: Promise<void> = Promise.resolve();

  constructor(centre: Centre, options: TenantOptions) {
    this.#centre = centre;
    this.#options = options;
  }

  get size(): number {
    return this.#values.size;
  }

  of(namespace: string, tenantId: string): TenantValue | null {
    return this.#values.get(`${namespace}/${tenantId}`) ?? null;
  }

  subscribe(told: Parameters<TenantValues["subscribe"]>[0]): () => void {
    this.#told.add(told);
    return () => void this.#told.delete(told);
  }

  stale(): Millis {
    return millisOf(this.#lost === null ? 0 : this.#options.clock.monotonic() - this.#lost.at);
  }

  check(): Health {
    const details = { tenants: this.#values.size, unreadable: this.#bad.size };
    if (this.#lost !== null) {
      return {
        status: "degraded",
        message: `tenants not heard of (${this.#lost.cause}); the last values stay`,
        details,
      };
    }
    if (this.#bad.size === 0) return { status: "healthy", message: "tenants are followed", details };
    return {
      status: "degraded",
      message: `${this.#bad.size} tenant(s) have a value that cannot be read; see the log`,
      details,
    };
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error("closed"));
    await this.#following;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  follow(loaded: () => void): void {
    this.#following = this.#forever(loaded);
  }

  async #forever(loaded: () => void): Promise<void> {
    const { clock, rng } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        await this.#loadAndWatch(() => {
          failures = 0;
          loaded();
        });
      } catch (error) {
        if (signal.aborted) return;
        const failure = infraErrorOf("config", error);
        this.#options.metrics.count("infra_errors_total", { component: "config", type: failure.type });
        this.#hear(failure.message);
      }
      await clock.sleep(backoffAfter(Math.max(1, failures), RETRY, rng.float()), signal).catch(() => undefined);
    }
  }

  async #loadAndWatch(loaded: () => void): Promise<void> {
    const prefix = tenantsPrefix(this.#options.env, this.#options.service);
    const { signal } = this.#stop;
    const listing = await this.#centre.list(prefix, signal);
    this.#hear(null);
    const there = new Set(listing.items.map(({ key }) => key));
    for (const { namespace, tenantId } of this.#values.values()) {
      if (!there.has(`${prefix}${namespace}/${tenantId}`)) this.#gone(namespace, tenantId);
    }
    for (const item of listing.items) this.#put(item);
    loaded();
    const onLink = (link: { readonly up: boolean; readonly cause?: string }): void =>
      this.#hear(link.up ? null : (link.cause ?? "the connection was lost"));
    for await (const { changes } of this.#centre.watch(prefix, { signal, from: listing, onLink })) {
      for (const change of changes) this.#change(change);
    }
  }

  #change(change: Change): void {
    if (change.kind === "put") {
      this.#put(change);
      return;
    }
    const key = tenantOf(change.key);
    this.#bad.delete(change.key);
    if (key !== null) this.#gone(key.namespace, key.tenantId);
  }

  #put(item: KeyValue): void {
    const key = tenantOf(item.key);
    if (key === null) return;
    const { namespace, tenantId } = key;
    const before = this.of(namespace, tenantId);
    if (before !== null && before.revision === item.revision) return;
    const read = readJson(item.value);
    const value = read.ok && item.damaged !== true ? read.document.value : null;
    if (!isObject(value)) {
      this.#refuse(item.key, read.ok ? "is no object" : read.reason);
      return;
    }
    this.#bad.delete(item.key);
    const next = { namespace, tenantId, value, revision: item.revision };
    this.#values.set(`${namespace}/${tenantId}`, next);
    for (const tell of this.#told) tell(namespace, tenantId, next);
  }

  #gone(namespace: string, tenantId: string): void {
    if (this.#values.delete(`${namespace}/${tenantId}`)) for (const tell of this.#told) tell(namespace, tenantId, null);
  }

  #refuse(key: string, reason: string): void {
    this.#bad.add(key);
    this.#options.metrics.count("turnout_config_rejected_total", LABEL);
    this.#options.log.error(
      { key, reason },
      "a tenant's value is refused and the last good one kept; switch the tenant anew",
    );
  }

  /** Null: the centre is heard. */
  #hear(cause: string | null): void {
    const { clock, log, metrics } = this.#options;
    if (cause !== null && this.#lost === null) log.warn({ cause }, "tenants are not heard of");
    if (cause === null && this.#lost !== null) log.info({}, "tenants are heard of again");
    this.#lost = cause === null ? null : { cause, at: this.#lost?.at ?? clock.monotonic() };
    metrics.set("turnout_config_degraded", LABEL, cause === null ? 0 : 1);
  }
}

function tenantOf(text: string): TenantKey | null {
  const parsed = parseKey(text);
  return parsed.kind === "tenant" ? parsed.key : null;
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
