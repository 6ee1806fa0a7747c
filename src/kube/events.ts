import { backoffAfter } from "../lib/backoff.ts";
import type { Clock, Rng } from "../lib/seams.ts";
import { type Instant, type Millis, seconds } from "../lib/time.ts";
import { type Agenda, type Appointment, openAgenda } from "./agenda.ts";
import type { KubeClient } from "./client.ts";
import { isAlreadyExists, isNamespaceTerminating, isNotFound, isUnavailable } from "./errors.ts";
import { EVENTS, eventNameOf, eventObjectOf, type EventToRecord, isFollowing, namespaceOfEvent } from "./event.ts";
import { type EventBudget, openEventBudget } from "./event-budget.ts";
import { type EventQueue, openEventQueue, type Outgoing } from "./event-queue.ts";
import type { KubeLog } from "./log.ts";
import { formatMicroTime } from "./micro-time.ts";

/** Why an Event was not written. `budget`: another one stands for it. */
export const DROP_REASONS = ["budget", "load", "namespace", "refused", "unavailable"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

export interface EventRecorder {
  /** Never waits, never throws. */
  record(event: EventToRecord): void;
  /** Whether terminal Events of the object are still unsent. */
  pending(uid: string): boolean;
  /** Events that wait to be sent. */
  readonly depth: number;
  /** Sends what it can within that time, then stops. */
  close(within: Millis): Promise<void>;
}

export interface RecorderOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: KubeLog;
  /** Time that Events show: the API server's. */
  readonly wall: () => Instant;
  /** `example.dev/operator` */
  readonly reportingController: string;
  /** The pod's name. */
  readonly reportingInstance: string;
  /** The last terminal Event of the object is out, or can never be. */
  readonly onFlushed?: (uid: string) => void;
  readonly onDropped?: (reason: DropReason) => void;
  /** Events that may wait. Terminal ones come on top: they are bounded by the objects there are. */
  readonly capacity?: number;
}

const CAPACITY = 1000;
const SENDERS = 2;
const REQUEST_TIMEOUT = seconds(10);
const BACKOFF = { initial: seconds(1), factor: 2, max: seconds(30) };
/** For what is not terminal. */
const MOST_ATTEMPTS = 3;

/** Lossy by design: Events are writes too, and nothing waits for them. They go out on connections of their own. */
export const openEventRecorder = (options: RecorderOptions): EventRecorder => new Recorder(options);

/** Beyond the budget of its object: the newest such Event, and how many others it stands for. */
interface HeldBack {
  readonly event: EventToRecord;
  readonly others: number;
  readonly release: Appointment;
}

class Recorder implements EventRecorder {
  readonly #options: RecorderOptions;
  readonly #capacity: number;
  readonly #agenda: Agenda;
  readonly #budget: EventBudget;
  readonly #queue: EventQueue;
  /** Queued heartbeats by name: the newest count is enough. */
  readonly #heartbeats = new Map<string, Outgoing>();
  readonly #heldBack = new Map<string, HeldBack>();
  /** Unsent terminal Events by uid. */
  readonly #terminal = new Map<string, number>();
  #sending = 0;
  #failures = 0;
  #isPaused = false;
  #isClosed = false;
  #idle: PromiseWithResolvers<void> | null = null;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? CAPACITY;
    this.#agenda = openAgenda(options.clock);
    this.#budget = openEventBudget(options.clock);
    this.#queue = openEventQueue(this.#capacity);
  }

  get depth(): number {
    return this.#queue.size;
  }

  pending(uid: string): boolean {
    return this.#terminal.has(uid);
  }

  record(event: EventToRecord): void {
    const heartbeat = event.series === undefined ? undefined : this.#heartbeats.get(eventNameOf(event));
    if (this.#isClosed) this.#dropped("unavailable");
    else if (heartbeat?.isSending) heartbeat.next = event;
    else if (heartbeat !== undefined) Object.assign(heartbeat, { event, time: this.#now() });
    else if (event.importance === "terminal") this.#recordTerminal(event);
    else if (isFollowing(event) || this.#budget.take(event.regarding.uid)) this.#enqueue(event);
    else this.#holdBack(event);
  }

  async close(within: Millis): Promise<void> {
    this.#idle ??= Promise.withResolvers();
    this.#agenda.in(within, () => this.#idle?.resolve());
    if (this.#isClosed || within <= 0) this.#idle.resolve();
    this.#resolveIdle();
    await this.#idle.promise;
    this.#isClosed = true;
    this.#agenda.close();
  }

  #recordTerminal(event: EventToRecord): void {
    const { uid } = event.regarding;
    this.#budget.take(uid);
    // It tells the end: what was held back would only come after it.
    const held = this.#heldBack.get(uid);
    if (held !== undefined) {
      held.release.cancel();
      this.#heldBack.delete(uid);
      this.#dropped("budget");
    }
    this.#terminal.set(uid, (this.#terminal.get(uid) ?? 0) + 1);
    this.#enqueue(event);
  }

  #holdBack(event: EventToRecord): void {
    const { uid } = event.regarding;
    const held = this.#heldBack.get(uid);
    if (held === undefined && this.#heldBack.size >= this.#capacity) return this.#dropped("load");
    if (held !== undefined) this.#dropped("budget");
    const release = held?.release ?? this.#agenda.in(this.#budget.wait(uid), () => this.#release(uid));
    this.#heldBack.set(uid, { event, others: held === undefined ? 0 : held.others + 1, release });
  }

  #release(uid: string): void {
    const held = this.#heldBack.get(uid);
    if (held === undefined) return;
    this.#heldBack.delete(uid);
    this.#budget.take(uid);
    const { event, others } = held;
    this.#enqueue(others === 0 ? event : { ...event, note: `${event.note} (and ${others} more before it)` });
  }

  #enqueue(event: EventToRecord): void {
    this.#queueUp({ event, time: this.#now(), attempts: 0, isSending: false, next: null });
    this.#pump();
  }

  #queueUp(outgoing: Outgoing): void {
    if (outgoing.event.series !== undefined) this.#heartbeats.set(eventNameOf(outgoing.event), outgoing);
    const victim = this.#queue.push(outgoing);
    if (victim !== null) this.#settle(victim, "load");
  }

  #pump(): void {
    while (!this.#isPaused && !this.#isClosed && this.#sending < SENDERS) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#sending += 1;
      void this.#send(next).finally(() => {
        this.#sending -= 1;
        this.#pump();
      });
    }
    this.#resolveIdle();
  }

  #resolveIdle(): void {
    if (this.#queue.size === 0 && this.#sending === 0) this.#idle?.resolve();
  }

  async #send(outgoing: Outgoing): Promise<void> {
    outgoing.isSending = true;
    const { isGood, drop } = await this.#write(outgoing).then(
      () => ({ isGood: true, drop: null }),
      (error: unknown) => this.#judge(outgoing, error),
    );
    outgoing.isSending = false;
    if (isGood) this.#failures = 0;
    else this.#backOff();
    const { next } = outgoing;
    if (isGood || drop !== null) {
      this.#settle(outgoing, drop);
      if (next !== null) this.#enqueue(next);
    } else this.#queueUp({ ...outgoing, event: next ?? outgoing.event, next: null });
  }

  #write({ event, time }: Outgoing): Promise<unknown> {
    const { client, reportingController, reportingInstance } = this.#options;
    const ref = { namespace: namespaceOfEvent(event), name: eventNameOf(event) };
    const point = { class: "api/event", subject: `${ref.namespace}/${event.regarding.name}` } as const;
    const options = { lane: "event", point, timeout: REQUEST_TIMEOUT } as const;
    const object = eventObjectOf(event, { time, reportingController, reportingInstance });
    const create = (): Promise<unknown> => client.create(EVENTS, object, options);
    if (!isFollowing(event)) return create();
    return client.mergePatch(EVENTS, ref, { series: object.series }, options).catch((error: unknown) => {
      if (isNotFound(error) && this.#budget.take(event.regarding.uid)) return create();
      throw error;
    });
  }

  /** `isGood`: the API server answered. `drop`: it will not be tried again, null for a written one. */
  #judge(outgoing: Outgoing, error: unknown): { readonly isGood: boolean; readonly drop: DropReason | null } {
    if (isAlreadyExists(error)) return { isGood: true, drop: null };
    if (isNotFound(error) && error.verb === "patch") return { isGood: true, drop: "budget" };
    if (isNamespaceTerminating(error) || isNotFound(error)) return { isGood: true, drop: "namespace" };
    const { log } = this.#options;
    const message = error instanceof Error ? error.message : "unknown";
    if (!isUnavailable(error)) {
      log.warn({ event: eventNameOf(outgoing.event) }, `an Event is refused: ${message}`);
      return { isGood: true, drop: "refused" };
    }
    outgoing.attempts += 1;
    const isOver = outgoing.event.importance !== "terminal" && outgoing.attempts >= MOST_ATTEMPTS;
    return { isGood: false, drop: isOver ? "unavailable" : null };
  }

  #backOff(): void {
    const { rng } = this.#options;
    this.#failures += 1;
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#agenda.in(backoffAfter(this.#failures, BACKOFF, rng.float()), () => {
      this.#isPaused = false;
      this.#pump();
    });
  }

  /** Out of the recorder's hands: written, or dropped for that reason. */
  #settle({ event }: Outgoing, drop: DropReason | null): void {
    const { uid } = event.regarding;
    if (event.series !== undefined) this.#heartbeats.delete(eventNameOf(event));
    if (drop !== null) this.#dropped(drop);
    if (event.importance !== "terminal") return;
    const left = (this.#terminal.get(uid) ?? 1) - 1;
    if (left > 0) this.#terminal.set(uid, left);
    else if (this.#terminal.delete(uid)) this.#options.onFlushed?.(uid);
  }

  #now(): string {
    return formatMicroTime(this.#options.wall());
  }

  #dropped(reason: DropReason): void {
    this.#options.onDropped?.(reason);
  }
}
