import { backoffAfter } from "../../lib/backoff.ts";
import { aborted } from "../../lib/deadline.ts";
import { decodeJson } from "../../lib/json.ts";
import { millisOf, type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Centre, Discovery, Instance, KeyValue, Registration } from "./coord.ts";
import { grantLease, type Lease, type LeaseDeps } from "./etcd-lease.ts";
import { watchRange, type WatchDeps } from "./etcd-watch.ts";
import { checkedKey, encode, objectOf } from "./etcd-wire.ts";

export interface RegistryDeps extends LeaseDeps, WatchDeps {
  readonly centre: Centre;
  readonly log?: Log;
}

const folderOf = (service: string): string => `${checkedKey(`/services/${service}`)}/`;
const keyOf = ({ service, id }: Instance): string => checkedKey(`${folderOf(service)}${id}`);

const RETRY = { initial: millisOf(200), factor: 2, max: seconds(2) };

/**
 * Shows the instance as long as it lives. Resolves once it is shown for the first time; later on a lost lease is taken anew and the
 * key written again, for ever, until it is closed.
 * @throws InfraError where it cannot be shown the first time
 */
export async function registerInstance(
  instance: Instance,
  { ttl, signal }: { readonly ttl: Millis; readonly signal?: AbortSignal | undefined },
  deps: RegistryDeps,
): Promise<Registration> {
  const lease = await show(instance, ttl, deps, signal);
  return new StandingRegistration({ instance, ttl, lease }, deps);
}

async function show(instance: Instance, ttl: Millis, deps: RegistryDeps, signal?: AbortSignal): Promise<Lease> {
  const lease = await grantLease(ttl, deps, signal);
  const body = { key: encode(keyOf(instance)), value: encode(JSON.stringify(instance)), lease: lease.id };
  try {
    await deps.gateway.call("/v3/kv/put", body, { repeatable: true, signal });
    return lease;
  } catch (error) {
    await lease.revoke();
    throw error;
  }
}

interface Shown {
  readonly instance: Instance;
  readonly ttl: Millis;
  readonly lease: Lease;
}

class StandingRegistration implements Registration {
  readonly instance: Instance;
  readonly #ttl: Millis;
  readonly #deps: RegistryDeps;
  readonly #closed = new AbortController();
  readonly #kept: Promise<void>;
  #lease: Lease;

  constructor({ instance, ttl, lease }: Shown, deps: RegistryDeps) {
    this.instance = instance;
    this.#ttl = ttl;
    this.#lease = lease;
    this.#deps = deps;
    deps.open.add(this);
    this.#kept = this.#keep();
  }

  get standing(): boolean {
    return !this.#closed.signal.aborted && this.#lease.held();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#deps.open.delete(this);
    await this.#kept;
    await this.#lease.revoke();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #keep(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await aborted(AbortSignal.any([this.#lease.lost, signal]));
      if (signal.aborted) return;
      this.#deps.log?.warn({ service: this.instance.service, id: this.instance.id }, "registration lost, taken anew");
      await this.#again(signal);
    }
  }

  async #again(signal: AbortSignal): Promise<void> {
    const { clock, rng } = this.#deps;
    await this.#lease.revoke();
    for (let failures = 1; !signal.aborted; failures += 1) {
      try {
        this.#lease = await show(this.instance, this.#ttl, this.#deps, signal);
        return;
      } catch {
        await clock.sleep(backoffAfter(failures, RETRY, rng.float()), signal).catch(() => undefined);
      }
    }
  }
}

/** The list as it stands, then kept by a watch until it is closed. @throws InfraError where it cannot be read the first time */
export async function discoverService(service: string, deps: RegistryDeps, signal: AbortSignal): Promise<Discovery> {
  const folder = folderOf(service);
  const from = await deps.centre.list(folder, signal);
  const found = new Instances(service, from.items, deps.log);
  const closed = new AbortController();
  const followed = follow(folder, found, { ...deps, from, signal: closed.signal });
  const close = async (): Promise<void> => {
    closed.abort();
    deps.open.delete(discovery);
    await followed;
  };
  const discovery: Discovery = {
    current: () => found.current,
    next: () => found.next(),
    changes: (until) => found.changes(AbortSignal.any([until, closed.signal])),
    close,
    [Symbol.asyncDispose]: close,
  };
  deps.open.add(discovery);
  return discovery;
}

type Following = RegistryDeps & { readonly from: Awaited<ReturnType<Centre["list"]>>; readonly signal: AbortSignal };

async function follow(folder: string, found: Instances, { from, signal, ...deps }: Following): Promise<void> {
  for await (const set of watchRange(folder, { from, signal }, deps)) {
    for (const change of set.changes) {
      if (change.kind === "put") found.put(change);
      else found.delete(change.key);
    }
    found.tell();
  }
}

class Instances {
  readonly #service: string;
  readonly #log: Log | undefined;
  readonly #byKey = new Map<string, Instance>();
  #current: readonly Instance[] = [];
  #turn = 0;
  #next = Promise.withResolvers<void>();

  constructor(service: string, items: readonly KeyValue[], log: Log | undefined) {
    this.#service = service;
    this.#log = log;
    for (const item of items) this.put(item);
    this.#sort();
  }

  get current(): readonly Instance[] {
    return this.#current;
  }

  next(): Instance | null {
    const list = this.#current;
    this.#turn = list.length === 0 ? 0 : (this.#turn + 1) % list.length;
    return list[this.#turn] ?? null;
  }

  put({ key, value }: KeyValue): void {
    const instance = instanceOf(value);
    if (instance?.service === this.#service) {
      this.#byKey.set(key, instance);
      return;
    }
    this.#byKey.delete(key);
    this.#log?.warn({ key: key.slice(0, 256) }, "what stands there is no instance of this service: left out");
  }

  delete(key: string): void {
    this.#byKey.delete(key);
  }

  tell(): void {
    this.#sort();
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  async *changes(signal: AbortSignal): AsyncGenerator<readonly Instance[], void> {
    const ended = aborted(signal);
    let seen = this.#current;
    while (!signal.aborted) {
      if (seen === this.#current) await Promise.race([this.#next.promise, ended]);
      if (signal.aborted || seen === this.#current) continue;
      seen = this.#current;
      yield seen;
    }
  }

  #sort(): void {
    this.#current = [...this.#byKey.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }
}

const LIMITS = { depth: 4, keys: 64 };

/** Null for anything that is not one: the registry is written by many. */
function instanceOf(text: string): Instance | null {
  const decoded = decodeJson(text, LIMITS);
  if (!decoded.ok) return null;
  const { service, id, address, labels } = objectOf(decoded.value);
  if (typeof service !== "string" || typeof id !== "string" || typeof address !== "string") return null;
  const texts = Object.entries(objectOf(labels)).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return { service, id, address, labels: Object.fromEntries(texts) };
}
