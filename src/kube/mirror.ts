import type { Turns } from "./list-decoder.ts";
import { compareVersions, keyOf, type KubeObject, laterVersion } from "./resource.ts";
import type { Applied, Store } from "./store.ts";

/** `list`: the first list, or one after the watch could not go on. `relist`: the periodic one found what the watch had not told. */
export type Source = "list" | "watch" | "relist";

export interface ReflectorHandlers {
  /** `object` as the store holds it; `previous` only if it was the same object (uid). */
  upsert(object: KubeObject, previous: KubeObject | undefined, source: Source): void;
  /** It left the selection or was deleted; its content may be old. Proof of nothing: read and compare the uid. */
  gone(object: KubeObject): void;
  /** The first list is complete. */
  synced(): void;
  /** Two consistent lists in a row are older than what was seen before: the API server lost history (S30). All objects follow as gone, then as new. */
  rewound(versions: { readonly known: string; readonly found: string }): void;
}

/** What a complete list showed. `doubtful`: older than what is known, ask once more. `rewound`: and so was the one before. */
export type Verdict = "good" | "doubtful" | "rewound";

/**
 * Lists and watch events → store and handlers. Events of a watch come in the order of their resourceVersions, so whatever is not
 * above the cursor was told before and is dropped: doubled, delayed and replayed events change nothing (S29).
 */
export class Mirror {
  readonly #store: Store;
  readonly #handlers: ReflectorHandlers;
  /** Where the watch goes on; null: it must begin with a list. */
  #cursor: string | null = null;
  #highest = "0";
  #isDoubted = false;
  /** uids of the list that is being read. */
  #listed: Set<string> | null = null;
  /** uids that the watch saw go while a periodic list was read: that list may still show them. */
  #goneMeanwhile: Set<string> | null = null;
  #relisted: Set<string> | null = null;
  #stale = 0;

  constructor(store: Store, handlers: ReflectorHandlers) {
    this.#store = store;
    this.#handlers = handlers;
  }

  get cursor(): string | null {
    return this.#cursor;
  }
  /** Events dropped because something newer was known. */
  get stale(): number {
    return this.#stale;
  }

  /** The next list begins from nothing; what is held stays until that list is complete. */
  restart(): void {
    this.#cursor = null;
    this.#listed = new Set();
  }

  /** An object of the list that {@link Mirror.restart} began. */
  list(object: KubeObject): void {
    this.#listed?.add(object.metadata.uid);
    this.#tell(this.#store.apply(object), "list");
  }

  async endList(version: string, turns: Turns): Promise<Verdict> {
    const listed = this.#listed ?? new Set();
    this.#listed = null;
    const verdict = this.#judge(version);
    if (verdict !== "good") return verdict;
    this.#cursor = version;
    await this.#dropUnlisted(listed, version, turns);
    return verdict;
  }

  /** What the API server says is its newest version. Not good: only a new list shows what there is. */
  endQuestion(version: string): Verdict {
    return this.#judge(version);
  }

  upsert(object: KubeObject): void {
    if (this.#listed !== null) this.list(object);
    else if (this.#advance(object)) this.#tell(this.#store.apply(object), "watch");
  }

  remove(object: KubeObject): void {
    const { uid, resourceVersion } = object.metadata;
    if (this.#listed === null && !this.#advance(object)) return;
    this.#goneMeanwhile?.add(uid);
    const held = this.#store.get(keyOf(object));
    // Our own later write may have brought it back into the selection already.
    if (held !== undefined && compareVersions(held.metadata.resourceVersion, resourceVersion) <= 0)
      this.#drop(held, uid);
  }

  bookmark(version: string): void {
    if (this.#cursor !== null) this.#cursor = laterVersion(this.#cursor, version);
    this.#highest = laterVersion(this.#highest, version);
  }

  /** The periodic list begins, beside the watch. */
  beginRelist(): void {
    this.#goneMeanwhile = new Set();
    this.#relisted = new Set();
  }

  relist(object: KubeObject): void {
    const { uid } = object.metadata;
    this.#relisted?.add(uid);
    if (this.#goneMeanwhile?.has(uid) !== true) this.#tell(this.#store.apply(object), "relist");
  }

  async endRelist(version: string, turns: Turns): Promise<Verdict> {
    const relisted = this.#relisted ?? new Set();
    this.abandonRelist();
    const verdict = this.#judge(version);
    if (verdict === "good") await this.#dropUnlisted(relisted, version, turns);
    return verdict;
  }

  abandonRelist(): void {
    this.#goneMeanwhile = null;
    this.#relisted = null;
  }

  #advance(object: KubeObject): boolean {
    const { resourceVersion } = object.metadata;
    if (this.#cursor !== null && compareVersions(resourceVersion, this.#cursor) <= 0) {
      this.#stale += 1;
      return false;
    }
    this.#cursor = resourceVersion;
    this.#highest = laterVersion(this.#highest, resourceVersion);
    return true;
  }

  #tell({ change, object, previous }: Applied, source: Source): void {
    if (change === "older") this.#stale += 1;
    if (change === "older" || change === "same" || object === undefined) return;
    if (change === "replaced" && previous !== undefined) this.#handlers.gone(previous);
    this.#handlers.upsert(object, change === "updated" ? previous : undefined, source);
  }

  /** What is newer than the list was written after it: by us, or told by the watch. */
  async #dropUnlisted(listed: ReadonlySet<string>, version: string, turns: Turns): Promise<void> {
    for (const object of this.#store.all()) {
      await turns();
      const { uid, resourceVersion } = object.metadata;
      if (listed.has(uid) || compareVersions(resourceVersion, version) > 0) continue;
      // Not if it changed during a turn.
      if (this.#store.get(keyOf(object)) === object) this.#drop(object, uid);
    }
  }

  #drop(object: KubeObject, uid: string): void {
    const dropped = this.#store.forget(keyOf(object), uid);
    if (dropped !== undefined) this.#handlers.gone(dropped);
  }

  /** A single old answer may come from a server that lags; two in a row are history (S30). */
  #judge(version: string): Verdict {
    if (compareVersions(version, this.#highest) >= 0) {
      [this.#highest, this.#isDoubted] = [version, false];
      return "good";
    }
    if (!this.#isDoubted) {
      this.#isDoubted = true;
      return "doubtful";
    }
    this.#rewind(version);
    return "rewound";
  }

  #rewind(found: string): void {
    const objects = this.#store.all();
    this.#handlers.rewound({ known: this.#highest, found });
    this.#store.clear();
    [this.#highest, this.#isDoubted, this.#cursor] = ["0", false, null];
    for (const object of objects) this.#handlers.gone(object);
  }
}
