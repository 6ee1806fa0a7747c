import { InfraError } from "../../src/lib/infra-error.ts";
import {
  type Centre,
  type Change,
  type ChangeSet,
  type Committed,
  type KeyValue,
  type Listing,
  MOST_OPERATIONS,
  type Transaction,
  type WatchOptions,
} from "../../src/infra/coord/coord.ts";

/** A configuration centre in memory, held to the same contract as the real one (test/contract/centre.ts). */
export class MemoryCentre implements Centre {
  #now = new Map<string, KeyValue>();
  #history: ChangeSet[] = [];
  #revision = 1;
  #compacted = 0;
  #down: string | null = null;
  #refusal: InfraError | null = null;
  readonly #bells = new Set<() => void>();
  /** Calls that came, by name: what a test of load looks at. */
  readonly calls: string[] = [];

  get revision(): number {
    return this.#revision;
  }
  /** Watches that are open. */
  watching = 0;

  /** From now on nothing answers. */
  cut(cause = "no connection"): void {
    this.#down = cause;
    this.#ring();
  }
  restore(): void {
    this.#down = null;
    this.#ring();
  }
  /** From now on every call is refused with the error; null ends that. */
  refuse(error: InfraError | null): void {
    this.#refusal = error;
  }
  compact(revision: number): void {
    this.#compacted = Math.max(this.#compacted, revision);
    this.#history = this.#history.filter((set) => set.revision > revision);
  }

  async get(key: string): Promise<KeyValue | null> {
    await this.#call("get");
    return this.#now.get(key) ?? null;
  }

  async getAt(key: string, revision: number): Promise<KeyValue | null> {
    await this.#call("getAt");
    if (revision < this.#compacted) throw failure("NOT_FOUND", "Compacted");
    if (revision > this.#revision) throw failure("VALIDATION", "FutureRevision");
    return this.#at(revision).get(key) ?? null;
  }

  async list(prefix: string): Promise<Listing> {
    await this.#call("list");
    return { items: this.#below(prefix), revision: this.#revision };
  }

  async put(key: string, value: string): Promise<number> {
    await this.#call("put");
    return this.#write([{ key, value }], []);
  }

  async delete(key: string): Promise<boolean> {
    await this.#call("delete");
    if (!this.#now.has(key)) return false;
    this.#write([], [key]);
    return true;
  }

  compareAndSet(key: string, expected: number, value: string | null): Promise<Committed> {
    const put = value === null ? [] : [{ key, value }];
    return this.commit({ expect: { [key]: expected }, put, delete: value === null ? [key] : [] });
  }

  async commit(transaction: Transaction): Promise<Committed> {
    await this.#call("commit");
    const { expect, put, delete: gone } = transaction;
    if (put.length + gone.length > MOST_OPERATIONS || Object.keys(expect).length > MOST_OPERATIONS)
      throw failure("VALIDATION", "TooManyOperations");
    const fits = Object.entries(expect).every(([key, revision]) => (this.#now.get(key)?.revision ?? 0) === revision);
    if (fits) return { ok: true, revision: this.#write(put, gone) };
    return {
      ok: false,
      found: Object.fromEntries(Object.keys(expect).map((key) => [key, this.#now.get(key) ?? null])),
    };
  }

  async *watch(range: string, { signal, from, onLink }: WatchOptions): AsyncGenerator<ChangeSet> {
    this.watching += 1;
    try {
      let known = new Map((from?.items ?? []).map((item) => [item.key, item]));
      let delivered = from?.revision ?? 0;
      let up = true;
      while (!signal.aborted) {
        if ((this.#down === null) !== up) {
          up = this.#down === null;
          onLink?.(this.#down === null ? { up: true } : { up: false, cause: this.#down });
        }
        const next = this.#down === null ? this.#next(range, { delivered, known }) : null;
        if (next === null) {
          await this.#bell(signal);
          continue;
        }
        delivered = next.revision;
        known = after(known, next.changes);
        if (next.changes.length > 0) yield next;
      }
    } finally {
      this.watching -= 1;
    }
  }

  #next(
    range: string,
    { delivered, known }: { delivered: number; known: ReadonlyMap<string, KeyValue> },
  ): ChangeSet | null {
    if (delivered >= this.#revision) return null;
    if (delivered < this.#compacted || delivered === 0) {
      const items = this.#below(range);
      const puts = items.filter((item) => item.revision > delivered && known.get(item.key)?.revision !== item.revision);
      const gone = [...known.keys()].filter((key) => !items.some((item) => item.key === key));
      const changes: Change[] = [
        ...puts.map((item) => ({ kind: "put" as const, ...item })),
        ...gone.map((key) => ({ kind: "delete" as const, key, revision: this.#revision })),
      ];
      return { revision: this.#revision, changes, compacted: delivered === 0 ? null : { since: delivered } };
    }
    const set = this.#history.find(({ revision }) => revision > delivered);
    return set === undefined ? null : { ...set, changes: set.changes.filter(({ key }) => covers(range, key)) };
  }

  #write(puts: readonly { readonly key: string; readonly value: string }[], gone: readonly string[]): number {
    const deletes = gone.filter((key) => this.#now.has(key));
    if (puts.length + deletes.length === 0) return this.#revision;
    this.#revision += 1;
    const revision = this.#revision;
    const changes: Change[] = [
      ...puts.map(({ key, value }) => ({
        kind: "put" as const,
        key,
        value,
        revision,
        version: (this.#now.get(key)?.version ?? 0) + 1,
      })),
      ...deletes.map((key) => ({ kind: "delete" as const, key, revision })),
    ];
    this.#now = after(this.#now, changes);
    this.#history.push({ revision, changes, compacted: null });
    this.#all.push({ revision, changes, compacted: null });
    this.#ring();
    return revision;
  }

  readonly #all: ChangeSet[] = [];
  #at(revision: number): ReadonlyMap<string, KeyValue> {
    return this.#all
      .filter((set) => set.revision <= revision)
      .reduce((known, { changes }) => after(known, changes), new Map<string, KeyValue>());
  }

  #below(range: string): readonly KeyValue[] {
    return [...this.#now.values()].filter(({ key }) => covers(range, key)).toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  async #call(name: string): Promise<void> {
    this.calls.push(name);
    await Promise.resolve();
    if (this.#down !== null) throw failure("CONNECTION", "ConnectFailed", this.#down);
    if (this.#refusal !== null) throw this.#refusal;
  }

  #bell(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#bells.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#bells.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
  #ring(): void {
    for (const wake of this.#bells) wake();
  }
}

const covers = (range: string, key: string): boolean => (range.endsWith("/") ? key.startsWith(range) : key === range);

function after(known: ReadonlyMap<string, KeyValue>, changes: readonly Change[]): Map<string, KeyValue> {
  const next = new Map(known);
  for (const change of changes) {
    if (change.kind === "delete") next.delete(change.key);
    else
      next.set(change.key, {
        key: change.key,
        value: change.value,
        revision: change.revision,
        version: change.version,
      });
  }
  return next;
}

function failure(type: InfraError["type"], code: string, why = code): InfraError {
  return new InfraError({ component: "coord", type, code, message: `coord: ${why}`, retryable: type === "CONNECTION" });
}
