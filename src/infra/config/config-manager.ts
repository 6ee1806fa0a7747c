import { withDeadline } from "../../lib/deadline.ts";
import { infraErrorOf, InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import type { Clock } from "../../lib/seams.ts";
import { type Instant, type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { ChangeFeed, type ConfigChange } from "./change-feed.ts";
import { differences } from "./changed-paths.ts";
import { type Choice, choose, type Chosen, chooseFirst, isHeard, type Known } from "./choose.ts";
import { type ComponentName, isReloadable, type SettingsOf } from "./components.ts";
import { type ConfigKey, formatKey } from "./config-key.ts";
import { causeOf, type ConfigStatus, healthOf } from "./config-status.ts";
import type { Listener } from "./hearing.ts";
import { sameJson } from "./layers.ts";

/** Somebody who lives by the value. All are asked before the value changes, and told after. */
export interface Subscriber<T> {
  readonly name: string;
  /** Makes ready for the next value, or throws to refuse it. Nothing may change yet. */
  prepare?(old: T, next: T): void | Promise<void>;
  /** The next value is in force. May not fail. */
  commit?(next: T): void;
  /** What was prepared is not going to happen: somebody refused. */
  discard?(next: T): void;
}

export interface ConfigManager<T> extends AsyncDisposable {
  /** The value in force: checked, frozen, never absent. */
  current(): T;
  status(): ConfigStatus;
  /** What changes from now on; a reader that is slow gets several changes as one. */
  changes(signal: AbortSignal): AsyncIterable<ConfigChange<T>>;
  /** Gives back what ends it. */
  subscribe(subscriber: Subscriber<T>): () => void;
  /** Reads the files anew and applies whatever is known; returns when that is done. */
  reload(): Promise<void>;
  check(): Health;
  close(): Promise<void>;
}

export interface ManagerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told when something goes wrong, and with null when all is well again. */
  readonly onDegraded: (cause: string | null) => void;
  /** Keeps what the centre said, for the next start. */
  readonly keep: (chosen: Chosen) => Promise<void>;
  readonly readFiles: () => Promise<Known["files"]>;
  /** Ends the following of the centre. */
  readonly close: () => Promise<void>;
}

const PREPARE = seconds(10);
const MOST_SUBSCRIBERS = 256;

/** Holds what each layer says and brings the newest good value into force, one change at a time. */
export class Manager<C extends ComponentName> implements ConfigManager<SettingsOf<C>>, Listener {
  readonly #key: ConfigKey & { readonly component: C };
  readonly #deps: ManagerDeps;
  readonly #subscribers = new Set<Subscriber<SettingsOf<C>>>();
  readonly #feed: ChangeFeed<SettingsOf<C>>;
  readonly #first: Json;
  #known: Known;
  #chosen: Chosen;
  #appliedAt: Instant;
  #rejected: readonly string[];
  #lost: { readonly cause: string; readonly at: Millis } | null = null;
  #snapshotProblem: string | null;
  #degraded: { readonly cause: string; readonly at: Instant } | null = null;
  #running: Promise<void> | null = null;
  #dirty = false;
  readonly #stop = new AbortController();

  /** @throws InfraError CONFIG where no layer has a good value. */
  constructor(
    key: ConfigKey & { readonly component: C },
    known: Known,
    about: { readonly deps: ManagerDeps; readonly snapshotProblem: string | null },
  ) {
    const { choice, refused } = chooseFirst(key.component, known);
    if (!choice.ok) throw noGoodValue(key, choice.problems);
    this.#key = key;
    this.#deps = about.deps;
    this.#known = known;
    this.#chosen = choice.chosen;
    this.#first = choice.chosen.raw;
    this.#rejected = refused;
    this.#snapshotProblem = about.snapshotProblem;
    this.#appliedAt = about.deps.clock.now();
    this.#feed = new ChangeFeed(formatKey(key), this.current(), this.#appliedAt);
    about.deps.metrics.onScrape(() => this.#show());
    if (refused.length > 0) this.#countRejected(refused);
    this.#judge();
  }

  current(): SettingsOf<C> {
    return this.#chosen.value as SettingsOf<C>;
  }

  status(): ConfigStatus {
    const { source, revision } = this.#chosen;
    return {
      source,
      revision,
      appliedAt: this.#appliedAt,
      ...(this.#degraded === null ? {} : { degradedSince: this.#degraded.at, cause: this.#degraded.cause }),
      stale: this.#stale(),
      rejected: this.#rejected,
      restartNeeded: this.#restartNeeded(),
    };
  }

  changes(signal: AbortSignal): AsyncIterable<ConfigChange<SettingsOf<C>>> {
    return this.#feed.read(signal);
  }

  subscribe(subscriber: Subscriber<SettingsOf<C>>): () => void {
    if (this.#subscribers.size >= MOST_SUBSCRIBERS) throw new Error(`more than ${MOST_SUBSCRIBERS} subscribers`);
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }

  async reload(): Promise<void> {
    try {
      this.#known = { ...this.#known, files: await this.#deps.readFiles() };
    } catch (error) {
      this.#refuse([infraErrorOf("config", error).message]);
      return;
    }
    await this.#apply();
  }

  check(): Health {
    return healthOf(this.status());
  }

  close(): Promise<void> {
    this.#stop.abort(new Error("closed"));
    this.#feed.close();
    return this.#deps.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Layers of the centre as they stand now. Rejects never. */
  async heard(centre: Known["centre"]): Promise<void> {
    this.#known = { ...this.#known, centre: { ...this.#known.centre, ...centre } };
    await this.#apply().catch((error: unknown) => {
      this.#refuse([infraErrorOf("config", error).message]);
      this.#deps.log.error({ key: formatKey(this.#key), error }, "a configuration could not be applied");
    });
  }

  /** Null: the centre is heard again. */
  linked(cause: string | null): void {
    if (cause === null) this.#lost = null;
    else this.#lost = { cause, at: this.#lost?.at ?? this.#deps.clock.monotonic() };
    this.#judge();
  }

  /** One application at a time; what came meanwhile is applied in one more. */
  #apply(): Promise<void> {
    this.#dirty = true;
    this.#running ??= Promise.resolve().then(() => this.#drain());
    return this.#running;
  }

  /** Whatever comes between its last look and its end would be lost: both happen without a wait in between. */
  async #drain(): Promise<void> {
    try {
      while (this.#dirty && !this.#stop.signal.aborted) {
        this.#dirty = false;
        const choice = choose(this.#key.component, this.#known);
        if (choice.ok) await this.#bringIn(choice.chosen);
        else this.#refuse(choice.problems);
      }
    } finally {
      this.#running = null;
    }
  }

  async #bringIn(next: Chosen): Promise<void> {
    if (!sameJson(next.raw, this.#chosen.raw)) {
      const refusal = await this.#prepareAll(next.value as SettingsOf<C>);
      if (refusal !== null) {
        this.#refuse([refusal]);
        return;
      }
      this.#swap(next);
    } else {
      this.#chosen = { ...next, value: this.#chosen.value };
    }
    this.#rejected = [];
    if (isHeard(this.#known)) await this.#keep(next);
    this.#judge();
  }

  /** Everybody agrees (null), or the first refusal; then all who had agreed are told that nothing comes of it. */
  async #prepareAll(next: SettingsOf<C>): Promise<string | null> {
    const { clock, log } = this.#deps;
    const bound = { clock, timeout: PREPARE, signal: this.#stop.signal };
    const ready: Subscriber<SettingsOf<C>>[] = [];
    for (const subscriber of this.#subscribers) {
      ready.push(subscriber);
      if (subscriber.prepare === undefined) continue;
      try {
        await withDeadline(bound, (late) => Promise.race([subscriber.prepare?.(this.current(), next), rejected(late)]));
      } catch (error) {
        for (const other of ready) if (other !== subscriber) quietly(() => other.discard?.(next));
        log.error({ key: formatKey(this.#key), subscriber: subscriber.name, error }, "a new configuration is refused");
        const why = error instanceof InfraError ? error.message : "see the log";
        return `${subscriber.name} refuses it: ${why}`;
      }
    }
    return null;
  }

  #swap(next: Chosen): void {
    const changed = differences(this.#chosen.raw, next.raw).map(({ path }) => path);
    this.#chosen = next;
    this.#appliedAt = this.#deps.clock.now();
    for (const subscriber of this.#subscribers) {
      quietly(
        () => subscriber.commit?.(this.current()),
        (error) =>
          this.#deps.log.error(
            { subscriber: subscriber.name, error },
            "a subscriber failed over a configuration in force",
          ),
      );
    }
    this.#deps.metrics.count("turnout_config_applied_total", { component: this.#key.component });
    const { source, revision } = next;
    const restart = this.#restartNeeded();
    const fields = { key: formatKey(this.#key), source, revision, changed, ...(restart.length > 0 ? { restart } : {}) };
    this.#deps.log.info(
      fields,
      restart.length > 0 ? "configuration changed; some of it needs a restart" : "configuration changed",
    );
    this.#feed.publish(this.current(), this.#appliedAt);
  }

  async #keep(chosen: Chosen): Promise<void> {
    try {
      await this.#deps.keep(chosen);
      this.#snapshotProblem = null;
    } catch (error) {
      this.#snapshotProblem = "the last good values cannot be kept on disk; see the log and the disk";
      this.#deps.metrics.count("infra_errors_total", { component: "config", type: "UNAVAILABLE" });
      this.#deps.log.error({ key: formatKey(this.#key), error }, this.#snapshotProblem);
    }
  }

  #refuse(problems: readonly string[]): void {
    const news = problems.join() !== this.#rejected.join();
    this.#rejected = problems;
    if (news) this.#countRejected(problems);
    this.#judge();
  }

  #countRejected(problems: readonly string[]): void {
    const { component } = this.#key;
    this.#deps.metrics.count("turnout_config_rejected_total", { component });
    this.#deps.metrics.count("infra_errors_total", { component: "config", type: "VALIDATION" });
    this.#deps.log.error(
      { key: formatKey(this.#key), problems },
      "a configuration is refused and the last good one kept; correct it",
    );
  }

  /** Told once per change of cause. */
  #judge(): void {
    const troubles = { lost: this.#lost?.cause ?? null, rejected: this.#rejected, snapshot: this.#snapshotProblem };
    const cause = causeOf(troubles, this.#chosen.source);
    const before = this.#degraded;
    if (cause === (before?.cause ?? null)) return;
    this.#degraded = cause === null ? null : { cause, at: before?.at ?? this.#deps.clock.now() };
    const key = formatKey(this.#key);
    if (cause === null) this.#deps.log.info({ key, source: this.#chosen.source }, "configuration is well again");
    else this.#deps.log.warn({ key, cause }, "configuration is degraded");
    quietly(() => this.#deps.onDegraded(cause));
    this.#show();
  }

  #show(): void {
    if (this.#stop.signal.aborted) return;
    const labels = { component: this.#key.component };
    this.#deps.metrics.set("turnout_config_degraded", labels, this.#degraded === null ? 0 : 1);
    this.#deps.metrics.set("turnout_config_stale_seconds", labels, this.#stale() / 1000);
  }

  #stale(): Millis {
    return this.#lost === null ? millisOf(0) : millisOf(this.#deps.clock.monotonic() - this.#lost.at);
  }

  #restartNeeded(): readonly string[] {
    // A list restarts as the field that it is.
    const fields = differences(this.#first, this.#chosen.raw).map(({ path }) => path.replace(/\[\d+\].*$/, ""));
    return [...new Set(fields)].filter((path) => !isReloadable(this.#key.component, path));
  }
}

/** Refusals name the problems, never a value of a secret field. */
function noGoodValue(key: ConfigKey, problems: Extract<Choice, { ok: false }>["problems"]): InfraError {
  return new InfraError({
    component: "config",
    type: "CONFIG",
    code: "NoGoodValue",
    message: `${formatKey(key)} has no value that can be used: ${problems.join("; ")}`,
    retryable: false,
  });
}

const rejected = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(new Error("did not answer in time")), { once: true });
  });

function quietly(work: () => void, failed: (error: unknown) => void = () => undefined): void {
  try {
    work();
  } catch (error) {
    failed(error);
  }
}
