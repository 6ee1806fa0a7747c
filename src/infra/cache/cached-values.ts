import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Load, ReadOptions, WriteOptions } from "./cache.ts";
import { isCacheError } from "./cache-failures.ts";
import { bounded, type KeyNames } from "./cache-keys.ts";
import { DELETE, LEASED_GET, LEASED_SET, SET } from "./cache-scripts.ts";
import type { Sender } from "./cache-sender.ts";
import { type Codec, count } from "./collections.ts";
import type { LocalLayer } from "./local-layer.ts";
import { SingleFlight } from "./single-flight.ts";

export interface ValuesDeps {
  readonly sender: Sender;
  readonly names: KeyNames;
  readonly codec: Codec;
  /** Null where the settings switch it off. */
  readonly layer: () => LocalLayer | null;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics | null;
  readonly log: Log | null;
}

/** A load that takes longer is not stored any more: nobody could say what happened to the key meanwhile. */
const LEASE = seconds(30);

/** Single values: local layer, Redis, loader, in this order. */
export class CachedValues {
  readonly #deps: ValuesDeps;
  readonly #flights = new SingleFlight<Json | undefined>();

  constructor(deps: ValuesDeps) {
    this.#deps = deps;
  }

  async get(key: string, options?: ReadOptions): Promise<Json | undefined> {
    const { sender, codec } = this.#deps;
    return this.#throughLayer(key, async () => {
      const found = await sender.command("GET", key, [], options);
      const value = Buffer.isBuffer(found) ? await codec.decode(found, `GET ${key}`) : undefined;
      this.#count("redis", value !== undefined);
      return value;
    });
  }

  async set(key: string, value: Json, options?: WriteOptions): Promise<void> {
    const { sender, names, codec } = this.#deps;
    const bytes = await codec.encode(value, `SET ${key}`);
    const keys = [names.value(key), names.lease(key)];
    try {
      await sender.script(
        { name: "SET", lua: SET, keys, args: [bytes, sender.life(options)], repeatable: true },
        options,
      );
    } finally {
      this.invalidated(key);
    }
  }

  async delete(keys: readonly string[], options?: ReadOptions): Promise<number> {
    const { sender, names } = this.#deps;
    if (keys.length === 0) return 0;
    const all = [...bounded(keys, "DEL").map((key) => names.value(key)), ...keys.map((key) => names.lease(key))];
    try {
      return count(await sender.script({ name: "DEL", lua: DELETE, keys: all, args: [], repeatable: true }, options));
    } finally {
      for (const key of keys) this.invalidated(key);
    }
  }

  async getOrLoad(key: string, load: Load, options: WriteOptions = {}): Promise<Json | undefined> {
    const kept = this.#kept(key);
    if (kept !== undefined) return kept;
    const signal = options.signal ?? new AbortController().signal;
    return this.#flights.run(key, signal, (ended) => this.#load(key, load, { ...options, signal: ended }));
  }

  /** Whoever asks from here on sees nothing that was read before. */
  invalidated(key: string): void {
    this.#deps.layer()?.invalidate(key);
    this.#flights.forget(key);
  }

  #kept(key: string): Json | undefined {
    const layer = this.#deps.layer();
    if (layer === null) return undefined;
    const kept = layer.get(key, this.#deps.clock.monotonic());
    this.#count("local", kept !== undefined);
    return kept;
  }

  async #throughLayer(key: string, read: () => Promise<Json | undefined>): Promise<Json | undefined> {
    const kept = this.#kept(key);
    if (kept !== undefined) return kept;
    return this.#keeping(key, read);
  }

  /** What `read` finds is kept locally, unless the key became invalid meanwhile. */
  async #keeping(key: string, read: () => Promise<Json | undefined>): Promise<Json | undefined> {
    const layer = this.#deps.layer();
    if (layer === null) return read();
    const reading = layer.begin(key);
    let value: Json | undefined;
    try {
      value = await read();
      return value;
    } finally {
      layer.finish(reading, value, this.#deps.clock.monotonic());
    }
  }

  #load(key: string, load: Load, options: WriteOptions & { readonly signal: AbortSignal }): Promise<Json | undefined> {
    return this.#keeping(key, async () => {
      const token = this.#deps.rng.id();
      const found = await this.#leasedGet(key, token, options);
      if (found.value !== undefined) return found.value;
      const loaded = await load(options.signal);
      if (loaded !== undefined && found.mayStore) await this.#leasedSet(key, { token, value: loaded }, options);
      return loaded;
    });
  }

  async #leasedGet(key: string, token: string, options: ReadOptions): Promise<Found> {
    const { sender, names, codec, log } = this.#deps;
    const keys = [names.value(key), names.lease(key)];
    try {
      const bytes = await sender.script(
        { name: "GET", lua: LEASED_GET, keys, args: [token, LEASE], repeatable: true },
        options,
      );
      const value = Buffer.isBuffer(bytes) ? await codec.decode(bytes, `GET ${key}`) : undefined;
      this.#count("redis", value !== undefined);
      return { value, mayStore: value === undefined };
    } catch (error) {
      if (!(error instanceof InfraError)) throw error;
      // Cache-aside: without a cache it is only slower. What nobody can read makes room for what is loaded next time.
      if (isCacheError(error, "ValueUnreadable")) await this.delete([key], options).catch(() => 0);
      log?.warn({ key, error }, "the cache gave nothing; loaded instead");
      return { value: undefined, mayStore: false };
    }
  }

  async #leasedSet(
    key: string,
    { token, value }: { readonly token: string; readonly value: Json },
    options: WriteOptions,
  ): Promise<void> {
    const { sender, names, codec, log } = this.#deps;
    const keys = [names.value(key), names.lease(key)];
    try {
      const args = [token, await codec.encode(value, `SET ${key}`), sender.life(options)];
      await sender.script({ name: "SET", lua: LEASED_SET, keys, args, repeatable: true }, options);
    } catch (error) {
      if (!(error instanceof InfraError)) throw error;
      log?.warn({ key, error }, "what was loaded could not be stored");
    }
  }

  #count(layer: "local" | "redis", hit: boolean): void {
    this.#deps.metrics?.count("infra_cache_reads_total", { layer, result: hit ? "hit" : "miss" });
  }
}

interface Found {
  readonly value: Json | undefined;
  /** Whether the lease was given to us. */
  readonly mayStore: boolean;
}
