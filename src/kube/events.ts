import { backoffAfter } from "../lib/backoff.ts";
import { hexDigest } from "../lib/digest.ts";
import type { Clock, Rng } from "../lib/seams.ts";
import { type Instant, type Millis, seconds } from "../lib/time.ts";
import { type Agenda, type Appointment, openAgenda } from "./agenda.ts";
import type { KubeClient } from "./client.ts";
import { isAlreadyExists, isNamespaceTerminating, isNotFound, isUnavailable } from "./errors.ts";
import { type EventBudget, openEventBudget } from "./event-budget.ts";
import { type EventQueue, openEventQueue, type Outgoing } from "./event-queue.ts";
import { formatMicroTime } from "./lease.ts";
import type { KubeLog } from "./log.ts";
import type { NewObject, ObjectRef, Resource } from "./resource.ts";

export const EVENTS: Resource = {
  group: "events.k8s.io",
  version: "v1",
  plural: "events",
  kind: "Event",
  namespaced: true,
};

export interface Regarding {
  readonly apiVersion: string;
  readonly kind: string;
  /** null: cluster-scoped; its Events stand in `default`. */
  readonly namespace: string | null;
  readonly name: string;
  readonly uid: string;
}

/** Under load `droppable` ones go first, `terminal` ones never. */
export type Importance = "terminal" | "normal" | "droppable";

export interface EventToRecord {
  readonly regarding: Regarding;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  /** What was done, in a word; default: the reason. */
  readonly action?: string;
  /** 1 kB of it is kept. */
  readonly note: string;
  /** Grows per object: names the Event, so that recording it again after a crash makes no second one. */
  readonly sequence: number;
  readonly importance: Importance;
  /** A heartbeat: all with one sequence are one Event, whose count and last time move. 1 is the first. */
  readonly series?: { readonly count: number };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Why an Event was not written. `budget`: another one stands for it. */
export type DropReason = "budget" | "load" | "namespace" | "refused" | "unavailable";

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
    const heartbeat = this.#heartbeats.get(eventNameOf(event));
    if (this.#isClosed) this.#dropped("unavailable");
    else if (heartbeat !== undefined) heartbeat.event = event;
    else if (event.importance === "terminal") this.#recordTerminal(event);
    else if (isFollowing(event) || this.#budget.take(event.regarding.uid)) this.#enqueue(event);
    else this.#holdBack(event);
  }

  async close(within: Millis): Promise<void> {
    const idle = Promise.withResolvers<void>();
    this.#idle = idle;
    const deadline = this.#agenda.in(within, () => idle.resolve());
    this.#resolveIdle();
    await idle.promise;
    deadline.cancel();
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
    const outgoing: Outgoing = { event, time: formatMicroTime(this.#options.wall()), attempts: 0 };
    if (event.series !== undefined) this.#heartbeats.set(eventNameOf(event), outgoing);
    const victim = this.#queue.push(outgoing);
    if (victim !== null) this.#settle(victim, "load");
    this.#pump();
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
    this.#heartbeats.delete(eventNameOf(outgoing.event));
    const { isGood, drop } = await this.#write(outgoing).then(
      () => ({ isGood: true, drop: null }),
      (error: unknown) => this.#judge(outgoing, error),
    );
    if (isGood) this.#failures = 0;
    else this.#backOff();
    if (isGood || drop !== null) this.#settle(outgoing, drop);
    else this.#queue.push(outgoing);
  }

  #write({ event, time }: Outgoing): Promise<unknown> {
    const { client } = this.#options;
    const ref = { namespace: namespaceOf(event), name: eventNameOf(event) };
    const point = { class: "api/event", subject: `${ref.namespace}/${event.regarding.name}` } as const;
    const options = { lane: "event", point, timeout: REQUEST_TIMEOUT } as const;
    const create = (): Promise<unknown> => client.create(EVENTS, this.#objectOf(event, { ref, time }), options);
    if (!isFollowing(event)) return create();
    const series = { count: event.series?.count, lastObservedTime: time };
    return client.mergePatch(EVENTS, ref, { series }, options).catch((error: unknown) => {
      if (isNotFound(error)) return create();
      throw error;
    });
  }

  #objectOf(event: EventToRecord, { ref, time }: { readonly ref: ObjectRef; readonly time: string }): NewObject {
    const { regarding, type, reason, annotations, series } = event;
    const { reportingController, reportingInstance } = this.#options;
    return {
      metadata: {
        name: ref.name,
        namespace: ref.namespace ?? "default",
        ...(annotations === undefined ? {} : { annotations }),
      },
      eventTime: time,
      reportingController,
      reportingInstance,
      regarding: { ...regarding, namespace: regarding.namespace ?? undefined },
      type,
      reason,
      action: event.action ?? reason,
      note: upTo1024Bytes(event.note),
      ...(isFollowing(event) ? { series: { count: series?.count, lastObservedTime: time } } : {}),
    };
  }

  /** `isGood`: the API server answered. `drop`: it will not be tried again, null for a written one. */
  #judge(outgoing: Outgoing, error: unknown): { readonly isGood: boolean; readonly drop: DropReason | null } {
    if (isAlreadyExists(error)) return { isGood: true, drop: null };
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
    if (drop !== null) {
      this.#heartbeats.delete(eventNameOf(event));
      this.#dropped(drop);
    }
    if (event.importance !== "terminal") return;
    const left = (this.#terminal.get(uid) ?? 1) - 1;
    if (left > 0) this.#terminal.set(uid, left);
    else if (this.#terminal.delete(uid)) this.#options.onFlushed?.(uid);
  }

  #dropped(reason: DropReason): void {
    this.#options.onDropped?.(reason);
  }
}

const isFollowing = ({ series }: EventToRecord): boolean => series !== undefined && series.count > 1;

const namespaceOf = ({ regarding }: EventToRecord): string => regarding.namespace ?? "default";

/** Room for the digest and a sequence of 16 digits below the 253 characters of a name. */
const LONGEST_STEM = 220;

/** `acme-green.3f9c21ab.14`: the same for the same Event of the same object, another for an object of the same name. */
export function eventNameOf({ regarding, sequence }: Pick<EventToRecord, "regarding" | "sequence">): string {
  const stem = regarding.name.slice(0, LONGEST_STEM).replace(/[^a-z0-9]+$/, "");
  return `${stem}.${hexDigest(regarding.uid).slice(0, 8)}.${sequence}`;
}

/** What the API server takes for a note. */
function upTo1024Bytes(note: string): string {
  const bytes = Buffer.from(note);
  if (bytes.length <= 1024) return note;
  return `${bytes
    .subarray(0, 1018)
    .toString()
    .replace(/\uFFFD+$/, "")}…`;
}
