import { compareVersions, keyOf, type KubeObject } from "./resource.ts";

/** `replaced`: the name was given to another object. `older`: left out, because something newer is or was held. */
export type Change = "added" | "updated" | "replaced" | "same" | "older";

export interface Applied {
  readonly change: Change;
  /** What is held now; undefined where nothing is. */
  readonly object: KubeObject | undefined;
  /** What was held before. */
  readonly previous: KubeObject | undefined;
}

/** Values under which an object is found; must be total. */
export type Index = (object: KubeObject) => readonly string[];

export interface StoreOptions {
  readonly indexes?: Readonly<Record<string, Index>>;
  /** Path in `fieldsV1` (`["f:spec", "f:replicas"]`) whose last manager {@link Store.lastManager} tells. */
  readonly managed?: readonly string[];
}

/**
 * The newest known copy of each object, for waking and looking up; it authorises nothing. Held without `managedFields`, which
 * are a third of an object: a PUT without them leaves them as they are (test/integration/kube-client). Our own writes come in by
 * {@link Store.refresh}, so that nobody works on a copy older than what he wrote himself.
 */
export interface Store {
  readonly size: number;
  /** Takes what is newer than the copy that is held, compared by resourceVersion (S29). */
  apply(object: KubeObject): Applied;
  /** As {@link Store.apply}, but only for an object that is held: an answer that overtook a deletion brings nothing back. */
  refresh(object: KubeObject): Applied;
  /** Drops the object of this name if it is this one. */
  forget(key: string, uid: string): KubeObject | undefined;
  get(key: string): KubeObject | undefined;
  /** Who last changed the fields at `managed`; null: unknown. Self-chosen by the writer, so never proof of anything. */
  lastManager(key: string): string | null;
  byIndex(index: string, value: string): readonly KubeObject[];
  /** How many {@link Store.byIndex} gives, without a look at any. */
  countBy(index: string, value: string): number;
  all(): readonly KubeObject[];
  clear(): void;
}

export const createStore = (options: StoreOptions = {}): Store => new MapStore(options);

interface Entry {
  readonly object: KubeObject;
  readonly manager: string | null;
}

class MapStore implements Store {
  readonly #options: StoreOptions;
  readonly #entries = new Map<string, Entry>();
  /** index → value → keys */
  readonly #found = new Map<string, Map<string, Set<string>>>();

  constructor(options: StoreOptions) {
    this.#options = options;
    for (const name of Object.keys(options.indexes ?? {})) this.#found.set(name, new Map());
  }

  get size(): number {
    return this.#entries.size;
  }

  apply(object: KubeObject): Applied {
    const key = keyOf(object);
    const previous = this.#entries.get(key)?.object;
    const change = changeOf(previous, object);
    if (change === "same" || change === "older") return { change, object: previous, previous };
    if (previous !== undefined) this.#index(key, previous, "off");
    const entry = this.#entryOf(object);
    this.#entries.set(key, entry);
    this.#index(key, entry.object, "on");
    return { change, object: entry.object, previous };
  }

  refresh(object: KubeObject): Applied {
    const held = this.get(keyOf(object));
    return held?.metadata.uid === object.metadata.uid
      ? this.apply(object)
      : { change: "older", object: held, previous: held };
  }

  forget(key: string, uid: string): KubeObject | undefined {
    const object = this.get(key);
    if (object?.metadata.uid !== uid) return undefined;
    this.#index(key, object, "off");
    this.#entries.delete(key);
    return object;
  }

  get(key: string): KubeObject | undefined {
    return this.#entries.get(key)?.object;
  }

  lastManager(key: string): string | null {
    return this.#entries.get(key)?.manager ?? null;
  }

  byIndex(index: string, value: string): readonly KubeObject[] {
    return [...(this.#indexOf(index).get(value) ?? [])].flatMap((key) => this.get(key) ?? []);
  }

  countBy(index: string, value: string): number {
    return this.#indexOf(index).get(value)?.size ?? 0;
  }

  all(): readonly KubeObject[] {
    return Array.from(this.#entries.values(), ({ object }) => object);
  }

  clear(): void {
    this.#entries.clear();
    for (const keys of this.#found.values()) keys.clear();
  }

  #indexOf(index: string): ReadonlyMap<string, ReadonlySet<string>> {
    const found = this.#found.get(index);
    if (found === undefined) throw new Error(`no index ${index}`);
    return found;
  }

  #entryOf(object: KubeObject): Entry {
    const { managedFields, ...metadata } = object.metadata;
    if (managedFields === undefined) return { object, manager: null };
    return { object: { ...object, metadata }, manager: this.#managerOf(managedFields) };
  }

  #managerOf(managedFields: readonly unknown[]): string | null {
    const path = this.#options.managed;
    return path === undefined ? null : lastManagerOf(managedFields, path);
  }

  #index(key: string, object: KubeObject, direction: "on" | "off"): void {
    for (const [name, valuesOf] of Object.entries(this.#options.indexes ?? {})) {
      const found = this.#found.get(name);
      for (const value of valuesOf(object)) {
        const keys = found?.get(value) ?? new Set();
        if (direction === "on") found?.set(value, keys.add(key));
        else if (keys.delete(key) && keys.size === 0) found?.delete(value);
      }
    }
  }
}

function changeOf(held: KubeObject | undefined, object: KubeObject): Change {
  if (held === undefined) return "added";
  const order = compareVersions(object.metadata.resourceVersion, held.metadata.resourceVersion);
  if (order < 0) return "older";
  if (held.metadata.uid !== object.metadata.uid) return order === 0 ? "older" : "replaced";
  return order === 0 ? "same" : "updated";
}

/** Manager of the newest entry whose fields reach `path`. Entries without a time are the oldest. */
export function lastManagerOf(managedFields: readonly unknown[], path: readonly string[]): string | null {
  let [manager, newest]: [string | null, string] = [null, ""];
  for (const entry of managedFields) {
    const { manager: name, time, fieldsV1 } = Object(entry) as Readonly<Record<string, unknown>>;
    const at = typeof time === "string" ? time : "";
    if (typeof name !== "string" || at < newest || !reaches(fieldsV1, path)) continue;
    [manager, newest] = [name, at];
  }
  return manager;
}

function reaches(fields: unknown, path: readonly string[]): boolean {
  let here = fields;
  for (const step of path) {
    if (typeof here !== "object" || here === null || !Object.hasOwn(here, step)) return false;
    here = (here as Readonly<Record<string, unknown>>)[step];
  }
  return path.length > 0;
}
