// boot: how a process starts, in two phases and in order, and how it stops, in reverse; and the kit put together.
// Nothing here serves a request or knows what a service is for; only composition roots import from here.
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Clock } from "../../lib/seams.ts";
import { formatDuration, type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { HealthBoard } from "../health/health.ts";

/** 1: bootstrap log and coord. 2: whatever the full configuration is needed for, then the servers. */
export type BootPhase = 1 | 2;

export interface Step<T> {
  readonly name: string;
  readonly phase: BootPhase;
  /** What a person does when it fails. */
  readonly todo: string;
  /** 5 s unless said otherwise. */
  readonly within?: Millis;
  readonly open: (signal: AbortSignal) => T | Promise<T>;
  readonly close?: (opened: T) => void | Promise<void>;
  /** 5 s unless said otherwise. */
  readonly closeWithin?: Millis;
}

/** Opens one step after the other; each one opened is closed at the end, the last one first. */
export interface Boot {
  /** What the step opened. Rejects where it cannot: nothing more is to be opened then. */
  required<T>(step: Step<T>): Promise<T>;
  /** Null where it cannot be opened: the process goes on, and says in its health what it lacks. */
  optional<T>(step: Step<T>): Promise<T | null>;
}

export interface BootDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly health: HealthBoard;
  /** Ends a start under way. */
  readonly signal: AbortSignal;
  /** Of the whole start; 10 s (R151). */
  readonly budget?: Millis;
}

export interface BootFailure {
  readonly step: string;
  readonly phase: BootPhase;
  readonly type: string;
  readonly cause: string;
  readonly todo: string;
}
export interface Closed {
  /** Steps that did not end in time, or failed to. */
  readonly stuck: readonly string[];
}
export type Started<K> =
  | {
      readonly ok: true;
      readonly value: K;
      readonly took: Millis;
      /** Closes everything in reverse order. May be called twice. */
      readonly close: () => Promise<Closed>;
    }
  | { readonly ok: false; readonly failure: BootFailure; readonly closed: Closed };

const BUDGET = seconds(10);
const WITHIN = seconds(5);

/**
 * Runs `compose`, which opens its steps in order. Where a required one fails, everything opened so far is closed in reverse order.
 * The board says `started` when `compose` is through.
 */
export async function bootAll<K>(compose: (boot: Boot) => Promise<K>, deps: BootDeps): Promise<Started<K>> {
  const sequence = new Sequence(deps);
  try {
    const value = await compose(sequence);
    const took = sequence.elapsed();
    deps.health.markStarted();
    deps.log.info({ order: sequence.order, millis: Math.round(took) }, `started in ${formatDuration(took)}`);
    return { ok: true, value, took, close: () => sequence.close() };
  } catch (error) {
    const failure = error instanceof StepFailed ? error.failure : bugOf(error);
    const { step, phase, type, cause, todo } = failure;
    deps.log.error({ step, phase, type, error }, `cannot start: ${step}: ${cause}; ${todo}`);
    return { ok: false, failure, closed: await sequence.close() };
  }
}

class StepFailed extends Error {
  readonly failure: BootFailure;
  constructor(failure: BootFailure, cause: unknown) {
    super(`${failure.step}: ${failure.cause}`, { cause });
    this.failure = failure;
  }
}

interface OpenedStep {
  readonly name: string;
  readonly close: () => void | Promise<void>;
  readonly within: Millis;
}

class Sequence implements Boot {
  readonly #deps: BootDeps;
  readonly #since: Millis;
  readonly #opened: OpenedStep[] = [];
  #phase: BootPhase = 1;
  #closing: Promise<Closed> | null = null;

  constructor(deps: BootDeps) {
    this.#deps = deps;
    this.#since = deps.clock.monotonic();
  }

  get order(): readonly string[] {
    return this.#opened.map(({ name }) => name);
  }
  elapsed(): Millis {
    return millisOf(this.#deps.clock.monotonic() - this.#since);
  }

  async required<T>(step: Step<T>): Promise<T> {
    const opened = await this.#open(step);
    if (opened.ok) return opened.value;
    throw new StepFailed(opened.failure, opened.error);
  }

  async optional<T>(step: Step<T>): Promise<T | null> {
    const opened = await this.#open(step);
    if (opened.ok) return opened.value;
    const { cause, todo, type } = opened.failure;
    if (this.#deps.signal.aborted) throw new StepFailed(opened.failure, opened.error);
    this.#deps.log.warn(
      { step: step.name, type, error: opened.error },
      `going on without ${step.name}: ${cause}; ${todo}`,
    );
    const message = `did not start: ${cause}; ${todo}`;
    this.#deps.health.add({
      component: step.name,
      critical: false,
      check: async () => ({ status: "unhealthy", message }),
    });
    return null;
  }

  close(): Promise<Closed> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #open<T>(step: Step<T>): Promise<Opening<T>> {
    const { clock, log } = this.#deps;
    if (this.#closing !== null) throw new Error(`${step.name} is opened after the end`);
    if (step.phase < this.#phase) throw new Error(`${step.name} belongs to phase ${step.phase}, which is over`);
    this.#phase = step.phase;
    const since = clock.monotonic();
    try {
      const value = await this.#bounded(step);
      this.#opened.push(openedOf(step, value));
      const millis = Math.round(clock.monotonic() - since);
      log.info({ step: step.name, phase: step.phase, place: this.#opened.length, millis }, `${step.name} is open`);
      return { ok: true, value };
    } catch (error) {
      return { ok: false, error, failure: failureOf(step, error) };
    }
  }

  /** The step's own bound or what is left of the whole budget, whichever ends first. */
  async #bounded<T>(step: Step<T>): Promise<T> {
    const { clock, signal, budget = BUDGET } = this.#deps;
    const left = millisOf(budget - this.elapsed());
    const own = step.within ?? WITHIN;
    if (left <= 0) throw overdue(`the whole start takes longer than ${formatDuration(budget)}`);
    const timeout = millisOf(Math.min(own, left));
    return withDeadline({ clock, timeout, signal }, async (ended) => {
      const opening = Promise.resolve().then(() => step.open(ended));
      try {
        return await untilAborted(opening, ended);
      } catch (error) {
        if (!ended.aborted) throw error;
        // What comes too late is closed as soon as it comes.
        void opening.then((late) => step.close?.(late)).catch(() => undefined);
        signal.throwIfAborted();
        throw overdue(
          left < own
            ? `the whole start takes longer than ${formatDuration(budget)}`
            : `not open within ${formatDuration(own)}`,
        );
      }
    });
  }

  async #closeAll(): Promise<Closed> {
    const stuck: string[] = [];
    for (const step of this.#opened.toReversed()) if (!(await this.#closeOne(step))) stuck.push(step.name);
    return { stuck };
  }

  async #closeOne({ name, close, within }: OpenedStep): Promise<boolean> {
    const { clock, log } = this.#deps;
    const since = clock.monotonic();
    try {
      await withDeadline({ clock, timeout: within, signal: new AbortController().signal }, (late) =>
        untilAborted(Promise.resolve().then(close), late),
      );
      log.info({ step: name, millis: Math.round(clock.monotonic() - since) }, `${name} is closed`);
      return true;
    } catch (error) {
      const late = clock.monotonic() - since >= within;
      log.error(
        { step: name, error },
        late ? `${name} did not close within ${formatDuration(within)}` : `${name} failed to close`,
      );
      return false;
    }
  }
}

type Opening<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown; readonly failure: BootFailure };

const openedOf = <T>({ name, close, closeWithin = WITHIN }: Step<T>, value: T): OpenedStep => ({
  name,
  close: () => close?.(value),
  within: closeWithin,
});

const overdue = (message: string): InfraError =>
  new InfraError({ component: "boot", type: "TIMEOUT", code: "StartOverdue", message, retryable: true });

/** Messages of others may quote what they were given; only ours are shown. */
function failureOf({ name, phase, todo }: Pick<Step<never>, "name" | "phase" | "todo">, error: unknown): BootFailure {
  const ours = error instanceof InfraError;
  const errno = error instanceof Error && "code" in error ? String(error.code) : null;
  return {
    step: name,
    phase,
    type: ours ? error.type : "INTERNAL",
    cause: ours ? error.message : (errno ?? (error instanceof Error ? error.constructor.name : "unknown")),
    todo,
  };
}

const bugOf = (error: unknown): BootFailure => ({
  step: "boot",
  phase: 2,
  type: "INTERNAL",
  cause: error instanceof Error ? error.constructor.name : "unknown",
  todo: "this is a bug; see the log",
});
