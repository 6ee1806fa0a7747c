import { backoffAfter } from "../lib/backoff.ts";
import type { Clock, Rng } from "../lib/seams.ts";
import { type Millis, millisOf, minutes, seconds } from "../lib/time.ts";
import { isUnavailable, KubeError } from "./errors.ts";
import type { KubeLog } from "./log.ts";
import type { Lane, Taken, Workqueue } from "./workqueue.ts";

/** When a key wants to be looked at again, besides whenever it is added. */
export type Next =
  | { readonly again: "never" }
  | { readonly again: "now"; readonly lane: Lane }
  | { readonly again: "after"; readonly after: Millis };

/** What a running reconcile knows of its own turn. */
export interface Attention {
  /** Aborted when the controller stops. */
  readonly signal: AbortSignal;
  /** Lane by which the key came. */
  readonly lane: Lane;
  /** Resolves at the next add of this key, or at once for one that came since the last call. */
  readonly changed: () => Promise<void>;
}

export type Reconcile = (key: string, attention: Attention) => Promise<Next>;

export interface Result {
  readonly key: string;
  readonly lane: Lane;
  /**
   * `quarantined`: it threw three times or more in a row. `unavailable`: the API server took no requests, which is no failure of the
   * object. `stopped`: the controller's stop cut it short.
   */
  readonly outcome: "done" | "failed" | "quarantined" | "unavailable" | "stopped";
  /** Of the object, in a row, this one included. */
  readonly failures: number;
  readonly error: unknown;
  readonly waited: Millis;
  readonly took: Millis;
}

export interface ControllerOptions {
  readonly name: string;
  readonly queue: Workqueue;
  readonly workers: number;
  readonly reconcile: Reconcile;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: KubeLog;
  readonly onResult?: (result: Result) => void;
}

export interface Controller {
  readonly name: string;
  /** How many keys may be worked on at once; may be changed while it runs. */
  workers: number;
  /** Keys being worked on. */
  readonly active: number;
  /** Takes no further key, aborts the signal of those worked on, resolves when the last has ended. */
  stop(): Promise<void>;
}

/** SEC-42: from the third throw in a row on the object is quarantined: looked at when it changes, or at last after 10 minutes. */
const QUARANTINE_FROM = 3;
const BACKOFF = { initial: seconds(1), factor: 2, max: seconds(60) };
const QUARANTINE = { initial: minutes(1), factor: 2, max: minutes(10) };
/** Longest Retry-After that is kept. */
const LONGEST_ASKED = seconds(60);
/** While the API server takes no requests. Short at its longest: when it is back, everything goes on. */
const AWAY = { initial: seconds(1), factor: 2, max: seconds(10) };

/**
 * Works on the keys of a queue until stopped. A throw concerns its own key only: it backs off alone and never ends a worker
 * (S24); a changed object is tried again at once (L10).
 */
export const runController = (options: ControllerOptions): Controller => new RunningController(options);

class RunningController implements Controller {
  readonly name: string;
  readonly #options: ControllerOptions;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** Throws in a row, of keys whose last run threw. */
  readonly #failures = new Map<string, number>();
  /** Runs in a row that met no API server. */
  readonly #away = new Map<string, number>();
  readonly #dispatching: Promise<void>;
  #workers: number;
  #freed: (() => void) | null = null;

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#workers = options.workers;
    this.#dispatching = this.#dispatch();
  }

  get workers(): number {
    return this.#workers;
  }
  set workers(count: number) {
    this.#workers = count;
    this.#freed?.();
  }
  get active(): number {
    return this.#running.size;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error(`controller ${this.name} stops`));
    this.#freed?.();
    await this.#dispatching;
    await Promise.all(this.#running);
  }

  async #dispatch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (this.#running.size >= this.#workers) {
        await this.#untilFreed();
        continue;
      }
      const taken = await this.#options.queue.take(signal).catch(() => null);
      if (taken === null) return;
      if (signal.aborted) return this.#giveBack(taken);
      const run = this.#work(taken).finally(() => {
        this.#running.delete(run);
        this.#freed?.();
      });
      this.#running.add(run);
    }
  }

  /** For whoever runs on this queue next. */
  #giveBack({ key, lane }: Taken): void {
    this.#options.queue.add(key, lane);
    this.#options.queue.done(key);
  }

  #untilFreed(): Promise<void> {
    return new Promise((resolve) => {
      this.#freed = () => {
        this.#freed = null;
        resolve();
      };
    });
  }

  async #work(taken: Taken): Promise<void> {
    const { clock, queue, reconcile } = this.#options;
    const since = clock.monotonic();
    let [outcome, error]: [Result["outcome"], unknown] = ["done", null];
    try {
      const next = await reconcile(taken.key, this.#attentionFor(taken));
      this.#failures.delete(taken.key);
      this.#away.delete(taken.key);
      this.#follow(taken.key, next);
    } catch (thrown) {
      error = thrown;
      outcome = this.#stop.signal.aborted ? "stopped" : this.#fail(taken.key, thrown);
      if (outcome === "stopped") queue.add(taken.key, taken.lane);
    } finally {
      queue.done(taken.key);
    }
    this.#report(taken, { outcome, error, took: millisOf(clock.monotonic() - since) });
  }

  #attentionFor({ key, lane }: Taken): Attention {
    const { queue } = this.#options;
    let known = 0;
    let next: Promise<void> | null = null;
    const watch = async (): Promise<void> => {
      known = await queue.changed(key, known);
      next = null;
    };
    return { signal: this.#stop.signal, lane, changed: () => (next ??= watch()) };
  }

  #follow(key: string, next: Next): void {
    if (next.again === "now") this.#options.queue.add(key, next.lane);
    if (next.again === "after") this.#options.queue.addAfter(key, next.after, "continuation");
  }

  #fail(key: string, error: unknown): "failed" | "quarantined" | "unavailable" {
    const { queue, rng } = this.#options;
    if (isUnavailable(error)) {
      const away = (this.#away.get(key) ?? 0) + 1;
      this.#away.set(key, away);
      const after = Math.max(backoffAfter(away, AWAY, rng.float()), Math.min(error.retryAfter ?? 0, LONGEST_ASKED));
      queue.addAfter(key, millisOf(after), "continuation");
      return "unavailable";
    }
    this.#away.delete(key);
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const isQuarantined = failures >= QUARANTINE_FROM;
    const after = isQuarantined
      ? backoffAfter(failures - QUARANTINE_FROM + 1, QUARANTINE, (1 + rng.float()) / 2)
      : backoffAfter(failures, BACKOFF, rng.float());
    queue.addAfter(key, after, "continuation");
    return isQuarantined ? "quarantined" : "failed";
  }

  #report({ key, lane, waited }: Taken, run: Pick<Result, "outcome" | "error" | "took">): void {
    const { log, name, onResult } = this.#options;
    const failures = this.#failures.get(key) ?? 0;
    try {
      onResult?.({ key, lane, failures, waited, ...run });
      if (run.outcome === "done" || run.outcome === "stopped") return;
      // The log shows no message of an error that it does not know; this one is ours, and names verb, resource and right.
      const why = run.error instanceof KubeError ? `: ${run.error.message}` : "";
      const fields = { controller: name, key, failures, error: run.error };
      if (run.outcome === "unavailable")
        log.warn(fields, `${key}: the API server takes no requests; tried again${why}`);
      else log.error(fields, `${key}: reconcile failed (${run.outcome})${why}`);
    } catch {
      // Whoever listens to results cannot end a worker either.
    }
  }
}
