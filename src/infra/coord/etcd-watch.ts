import { backoffAfter } from "../../lib/backoff.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { millisOf, type Millis, seconds } from "../../lib/time.ts";
import type { Change, ChangeSet, KeyValue, Listing, WatchOptions } from "./coord.ts";
import { coordError } from "./etcd-failures.ts";
import type { Gateway } from "./etcd-gateway.ts";
import { changeOf, listOf, numberOf, rangeOf, revisionOf } from "./etcd-wire.ts";

export interface WatchDeps {
  readonly gateway: Gateway;
  readonly list: (range: string, signal?: AbortSignal) => Promise<Listing>;
  readonly clock: Clock;
  readonly rng: Rng;
  /**
   * A stream that says nothing for so long is asked for anew from what was delivered: the gateway passes no progress requests
   * over HTTP/1.1, and a frozen link looks like a quiet key.
   */
  readonly silence?: Millis;
}

const SILENCE = seconds(5);
/** Config-plane: a change is there at most 2 s after the link is. */
const RETRY = { initial: millisOf(100), factor: 2, max: seconds(2) };

/** A word of the link: what one stream gave, why it ended. */
type Step =
  { readonly kind: "answer"; readonly answer: JsonObject } | { readonly kind: "silent" } | { readonly kind: "ended" };

/**
 * Every change once and in order: each stream begins behind the last revision that was *delivered*, never behind one that was
 * only seen. What compaction took is made up for by the difference between then and now.
 */
export async function* watchRange(
  range: string,
  options: WatchOptions,
  deps: WatchDeps,
): AsyncGenerator<ChangeSet, void> {
  const { signal } = options;
  const watch = new RangeWatch(range, options, deps);
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const set of watch.follow()) {
        failures = 0;
        yield set;
      }
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      watch.lost(error);
      failures += 1;
      deps.gateway.turnAway();
      await deps.clock.sleep(backoffAfter(failures, RETRY, deps.rng.float()), signal).catch(() => undefined);
    }
  }
}

/** Given as the reason, so that none is made with a stack trace for each answer. */
const HEARD = new Error("heard");

class RangeWatch {
  readonly #range: string;
  readonly #options: WatchOptions;
  readonly #deps: WatchDeps;
  /** Revision of each key that was delivered: what a difference is made against. */
  readonly #known = new Map<string, number>();
  #delivered: number;
  #link: "unknown" | "up" | "down" = "unknown";
  /** Nothing is known yet: what stands is delivered first. */
  #isNew: boolean;

  constructor(range: string, options: WatchOptions, deps: WatchDeps) {
    this.#range = range;
    this.#options = options;
    this.#deps = deps;
    this.#delivered = options.from?.revision ?? 0;
    this.#isNew = options.from === undefined;
    for (const { key, revision } of options.from?.items ?? []) this.#known.set(key, revision);
  }

  /** Until the stream ends or falls silent. @throws where there is no link. */
  async *follow(): AsyncGenerator<ChangeSet, void> {
    if (this.#isNew) yield* this.#catchUp(null);
    const ended = new AbortController();
    const either = AbortSignal.any([this.#options.signal, ended.signal]);
    const request = { create_request: { ...rangeOf(this.#range), start_revision: String(this.#delivered + 1) } };
    try {
      const answers = await this.#deps.gateway.stream("/v3/watch", request, either);
      for (;;) {
        const step = await this.#next(answers);
        if (step.kind === "ended") throw coordError("AnswerLost", this.#range);
        if (step.kind === "silent") return;
        const { answer } = step;
        if (answer["canceled"] === true) {
          yield* this.#canceled(answer);
          return;
        }
        this.#linked();
        if (answer["created"] === true && revisionOf(answer) < this.#delivered) yield* this.#rewound();
        yield* this.#deliver(listOf(answer["events"]).map(changeOf));
      }
    } finally {
      ended.abort();
    }
  }

  lost(error: unknown): void {
    if (this.#link === "down") return;
    this.#link = "down";
    this.#options.onLink?.({ up: false, cause: error instanceof Error ? error.message : "the link failed" });
  }
  #linked(): void {
    if (this.#link === "up") return;
    this.#link = "up";
    this.#options.onLink?.({ up: true });
  }

  /** The next answer, or that none came in time. A stream that fell silent is not read again. */
  async #next(answers: AsyncGenerator<JsonObject, void>): Promise<Step> {
    const { clock, silence = SILENCE } = this.#deps;
    const done = new AbortController();
    const quiet = clock.sleep(silence, AbortSignal.any([done.signal, this.#options.signal])).then(
      (): Step => ({ kind: "silent" }),
      (): Step => ({ kind: "silent" }),
    );
    const answer = answers
      .next()
      .then((next): Step => (next.done === true ? { kind: "ended" } : { kind: "answer", answer: next.value }));
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, quiet]);
    } finally {
      done.abort(HEARD);
    }
  }

  async *#canceled(answer: JsonObject): AsyncGenerator<ChangeSet, void> {
    const compacted = numberOf(answer["compact_revision"], "compact_revision");
    if (compacted > 0) {
      yield* this.#catchUp(this.#delivered);
      return;
    }
    const reason = typeof answer["cancel_reason"] === "string" ? answer["cancel_reason"] : "";
    throw coordError(/permission denied/.test(reason) ? "PermissionDenied" : "Refused", this.#range);
  }

  /**
   * The member knows less than we were told: it lags, or the store was set back to an older state. A linearizable read tells which;
   * after the latter a watch from where we were would be silent until the store has caught up, and miss all that came before.
   */
  async *#rewound(): AsyncGenerator<ChangeSet, void> {
    const since = this.#delivered;
    const listing = await this.#deps.list(this.#range, this.#options.signal);
    if (listing.revision >= since) return;
    this.#delivered = listing.revision;
    yield* this.#difference(listing, since);
    throw coordError("Rewound", this.#range);
  }

  /** What stands now against what was delivered; `since` null: the very first look. */
  async *#catchUp(since: number | null): AsyncGenerator<ChangeSet, void> {
    const listing = await this.#deps.list(this.#range, this.#options.signal);
    this.#linked();
    yield* this.#difference(listing, since);
  }

  *#difference({ items, revision }: Listing, since: number | null): Generator<ChangeSet, void> {
    // The store was set back: its revisions say nothing about ours.
    const isRewound = since !== null && revision < since;
    const standing = new Set(items.map(({ key }) => key));
    // What was not written since stands as it stood, whether we were told of it or only of a revision to begin behind.
    const later = isRewound ? 0 : (since ?? 0);
    const puts = items
      .filter((item) => item.revision > later && this.#known.get(item.key) !== item.revision)
      .map(putOf);
    const deletes = [...this.#known.keys()]
      .filter((key) => !standing.has(key))
      .map((key): Change => ({ kind: "delete", key, revision }));
    const changes = [...puts, ...deletes].toSorted((a, b) => a.revision - b.revision);
    this.#isNew = false;
    this.#note(changes, revision);
    if (changes.length > 0) yield { revision, changes, compacted: since === null ? null : { since } };
  }

  /** One set per revision; what was delivered before is left out. */
  *#deliver(changes: readonly Change[]): Generator<ChangeSet, void> {
    const fresh = changes.filter(({ revision }) => revision > this.#delivered);
    for (const [revision, group] of Map.groupBy(fresh, (change) => change.revision)) {
      this.#note(group, revision);
      yield { revision, changes: group, compacted: null };
    }
  }

  #note(changes: readonly Change[], revision: number): void {
    for (const change of changes) {
      if (change.kind === "put") this.#known.set(change.key, change.revision);
      else this.#known.delete(change.key);
    }
    this.#delivered = Math.max(this.#delivered, revision);
  }
}

const putOf = (item: KeyValue): Change => ({ kind: "put", ...item });
