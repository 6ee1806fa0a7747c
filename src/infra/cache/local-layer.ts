import type { Json } from "../../lib/json.ts";
import type { Millis } from "../../lib/time.ts";

export interface LocalLimits {
  readonly ttl: Millis;
  readonly maxEntries: number;
}

/** A read under way: what it finds may be kept unless the key became invalid meanwhile. */
export interface Reading {
  readonly key: string;
  stale: boolean;
}

interface Kept {
  readonly value: Json;
  readonly until: Millis;
}

/**
 * Values in the process, above Redis. Holds nothing while it is not told what becomes invalid ({@link resume}, {@link suspend}).
 * `now` is monotonic.
 */
export class LocalLayer {
  /** In the order of use: the first one is the one unused longest. */
  readonly #kept = new Map<string, Kept>();
  readonly #readings = new Map<string, Set<Reading>>();
  #limits: LocalLimits;
  #told = false;

  constructor(limits: LocalLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#kept.size;
  }
  /** Whether it is told what becomes invalid, and so keeps anything. */
  get serving(): boolean {
    return this.#told;
  }

  resize(limits: LocalLimits): void {
    this.#limits = limits;
    this.#shrink();
  }

  get(key: string, now: Millis): Json | undefined {
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    if (now >= found.until) return undefined;
    this.#kept.set(key, found);
    return found.value;
  }

  /** Before Redis is asked. Must be followed by {@link finish}. */
  begin(key: string): Reading {
    const reading = { key, stale: !this.#told };
    const others = this.#readings.get(key);
    if (others === undefined) this.#readings.set(key, new Set([reading]));
    else others.add(reading);
    return reading;
  }

  /** After Redis answered; undefined: there was nothing, or the read failed. */
  finish(reading: Reading, value: Json | undefined, now: Millis): void {
    const others = this.#readings.get(reading.key);
    others?.delete(reading);
    if (others?.size === 0) this.#readings.delete(reading.key);
    if (value === undefined || reading.stale || !this.#told) return;
    this.#kept.delete(reading.key);
    this.#kept.set(reading.key, { value, until: (now + this.#limits.ttl) as Millis });
    this.#shrink();
  }

  /** Somebody, perhaps we ourselves, changed the key. */
  invalidate(key: string): void {
    this.#kept.delete(key);
    for (const reading of this.#readings.get(key) ?? []) reading.stale = true;
  }

  /** Everything may have changed. */
  clear(): void {
    this.#kept.clear();
    for (const readings of this.#readings.values()) for (const reading of readings) reading.stale = true;
  }

  /** From here on we are told what becomes invalid. */
  resume(): void {
    this.clear();
    this.#told = true;
  }

  /** We are told no longer: nothing that is kept can be trusted. */
  suspend(): void {
    this.#told = false;
    this.clear();
  }

  #shrink(): void {
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= this.#limits.maxEntries) return;
      this.#kept.delete(key);
    }
  }
}
