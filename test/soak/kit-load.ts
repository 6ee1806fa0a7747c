import type { Kit } from "../../src/infra/boot/kit.ts";
import { jsonCodec } from "../../src/infra/mq/codec.ts";
import type { Topic } from "../../src/infra/mq/mq.ts";
import type { Migration } from "../../src/infra/db/db.ts";
import { systemClock } from "../../src/kube/clock.ts";
import { InfraError } from "../../src/lib/infra-error.ts";
import type { Json } from "../../src/lib/json.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { Ledger } from "./kit-ledger.ts";

// Modest work on every component at once; each part knows what must not be lost.

/** What was done and what was seen, as far as one line tells it. */
export interface LoadReport {
  readonly done: Readonly<Record<string, number>>;
  /** Refusals of the kit by component and code: what a cut line looks like. */
  readonly failed: Readonly<Record<string, number>>;
  /** What must never be seen. */
  readonly wrong: readonly string[];
}

export interface LoadAbout {
  /** Told apart from other runs on the same servers. */
  readonly run: string;
  readonly stop: AbortSignal;
  /** Something kept for ever: what the run has to find. */
  readonly leak: string | null;
}

type Stores = Readonly<{ [C in "coord" | "cache" | "db" | "mq"]: NonNullable<Kit[C]> }>;

const MOST = 2_000_000;
const PAUSE = millisOf(20);
/** One in so many messages cannot be handled, and is set aside. */
const POISON = 500;
const DRAINED_WITHIN = seconds(60);
const MOST_WRONG = 20;

const TABLE: Migration = {
  id: "0001-soak",
  up: (names) => [`CREATE TABLE ${names.table("soak")} (id INTEGER PRIMARY KEY)`],
};

/** Works until it is stopped, then waits for what is under way and says what is missing. */
export class KitLoad {
  readonly #kit: Kit & Stores;
  readonly #about: LoadAbout;
  readonly #done: Record<string, number> = {};
  readonly #failed: Record<string, number> = {};
  readonly #wrong: string[] = [];
  readonly #rows = new Ledger(MOST);
  readonly #messages = new Ledger(MOST);
  readonly #kept: unknown[] = [];
  #inWork = 0;

  constructor(kit: Kit & Stores, about: LoadAbout) {
    this.#kit = kit;
    this.#about = about;
  }

  report(): LoadReport {
    return { done: this.#done, failed: this.#failed, wrong: this.#wrong };
  }
  /** Lengths of what waits, by name. */
  queues(): Readonly<Record<string, number>> {
    const { cache, db } = this.#kit;
    return { "cache waiting": cache.stats().pool.waiting, "db waiting": db.pool().waiting, "mq in work": this.#inWork };
  }

  async run(): Promise<LoadReport> {
    const { mq, db, config } = this.#kit;
    const topic: Topic<Json> = { name: `soak-${this.#about.run}`, codec: jsonCodec((value) => value) };
    await db.migrate([TABLE]);
    await mq.topics.create([{ name: topic.name, partitions: 2, replicas: 1 }]);
    await using subscription = await mq.subscribe(topic, async ({ value, attempt }) => {
      if (attempt === 1) this.#messages.arrived(Number(value));
      if (Number(value) % POISON === 0) throw new Error("poison");
    });
    const holders = { coord: new Set<Held>(), cache: new Set<Held>() };
    const changes = this.#changes(config.cache?.changes(this.#about.stop));
    await Promise.all([
      changes,
      this.#loop("cache", () => this.#useCache()),
      this.#loop("cache", () => this.#useCache()),
      this.#loop("db", () => this.#insert()),
      this.#loop("mq", () => this.#send(topic)),
      ...[1, 2].map(() => this.#loop("lock", () => this.#lock(holders.coord))),
      ...[1, 2].map(() => this.#loop("cache lock", () => this.#cacheLock(holders.cache))),
      this.#loop("queues", async () => void (this.#inWork = subscription.view().inWork)),
    ]);
    await this.#drained();
    await this.#count();
    return this.report();
  }

  async #loop(name: string, work: () => Promise<void>): Promise<void> {
    const { stop } = this.#about;
    while (!stop.aborted) {
      try {
        await work();
        this.#done[name] = (this.#done[name] ?? 0) + 1;
      } catch (error) {
        // A wait that our own end cut short.
        if (stop.aborted) return;
        if (error instanceof InfraError) this.#refused(error);
        else this.#see(`${name}: not of the kit: ${error instanceof Error ? error.stack : String(error)}`);
      }
      await systemClock.sleep(PAUSE, stop).catch(() => undefined);
    }
  }
  #refused({ component, code }: InfraError): void {
    const what = `${component} ${code}`;
    this.#failed[what] = (this.#failed[what] ?? 0) + 1;
  }
  #see(wrong: string): void {
    if (this.#wrong.length < MOST_WRONG) this.#wrong.push(wrong.slice(0, 500));
  }

  async #useCache(): Promise<void> {
    const { cache } = this.#kit;
    const key = `k${Math.floor(Math.random() * 200)}`;
    const mine = { key, text: "x".repeat(200) };
    const judge = (value: Json | undefined): void => {
      const of = typeof value === "object" && value !== null && "key" in value ? value.key : undefined;
      if (value !== undefined && of !== key) this.#see(`cache: ${key} holds ${JSON.stringify(value).slice(0, 80)}`);
    };
    await cache.set(key, mine, { ttl: seconds(5) });
    judge(await cache.get(key));
    if (Math.random() < 0.3) await cache.delete([key]);
    judge(await cache.getOrLoad(key, async () => mine));
  }

  async #insert(): Promise<void> {
    const { db } = this.#kit;
    const id = this.#rows.issue();
    await db.transaction(async (queries) => {
      await queries.insertInto(db.table("soak")).values({ id }).execute();
    });
    this.#rows.acknowledged(id);
  }

  async #send(topic: Topic<Json>): Promise<void> {
    const n = this.#messages.issue();
    await this.#kit.mq.send(topic, [{ key: `k${n % 7}`, value: n }]);
    this.#messages.acknowledged(n);
    if (this.#about.leak === "heap") this.#kept.push({ n, text: `${n}`.padEnd(4000, "x").split("") });
  }

  async #lock(holders: Set<Held>): Promise<void> {
    const { coord } = this.#kit;
    const lock = await coord.tryAcquire(`soak/${this.#about.run}`, seconds(2), this.#about.stop);
    if (lock !== null) await this.#hold("lock", lock, holders);
  }
  async #cacheLock(holders: Set<Held>): Promise<void> {
    const { cache } = this.#kit;
    const lock = await cache.tryLock(`soak/${this.#about.run}`, seconds(2), this.#about.stop);
    if (lock !== null) await this.#hold("cache lock", lock, holders);
  }
  async #hold(what: string, lock: Held & { release(): Promise<unknown> }, holders: Set<Held>): Promise<void> {
    if (lock.held() && [...holders].some((other) => other.held())) this.#see(`${what}: two hold it at once`);
    holders.add(lock);
    await systemClock.sleep(PAUSE);
    holders.delete(lock);
    await lock.release();
  }

  async #changes(changes: AsyncIterable<unknown> | undefined): Promise<void> {
    for await (const _change of changes ?? []) this.#done["config"] = (this.#done["config"] ?? 0) + 1;
  }

  async #drained(): Promise<void> {
    const since = systemClock.monotonic();
    while (this.#messages.missing().length > 0 && systemClock.monotonic() - since < DRAINED_WITHIN)
      await systemClock.sleep(millisOf(100));
    const missing = this.#messages.missing();
    if (missing.length > 0) this.#see(`mq: ${missing.length} messages lost, the first ${missing[0]}`);
    this.#done["mq twice"] = this.#messages.twice();
  }

  /** Every row that was committed is there. */
  async #count(): Promise<void> {
    const { db } = this.#kit;
    const PAGE = 5000;
    for (let from = 0; from < this.#rows.issued; from += PAGE) {
      const rows = await db.queries
        .selectFrom(db.table("soak"))
        .select("id")
        .where("id", ">=", from)
        .where("id", "<", from + PAGE)
        .execute();
      for (const { id } of rows) this.#rows.arrived(Number(id));
    }
    const missing = this.#rows.missing();
    if (missing.length > 0) this.#see(`db: ${missing.length} rows lost, the first ${missing[0]}`);
  }
}

interface Held {
  held(): boolean;
}

/** The kit with everything that the load needs. @throws where a store is missing */
export function withStores(kit: Kit): Kit & Stores {
  const { coord, cache, db, mq } = kit;
  if (coord === null || cache === null || db === null || mq === null) throw new Error("a store is missing");
  return { ...kit, coord, cache, db, mq };
}
