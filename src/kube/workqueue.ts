import type { Clock } from "../lib/seams.ts";
import { type Millis, millisOf } from "../lib/time.ts";
import { type Agenda, type Appointment, openAgenda } from "./agenda.ts";
import { Chain, type Link } from "./chain.ts";
import { namespaceOfKey } from "./resource.ts";

/** Best first: a person waits for `user`; `continuation` is work that was begun; `start-up` is what the first list brought. */
export const LANES = ["user", "continuation", "start-up"] as const;
export type Lane = (typeof LANES)[number];

/** A key that one worker holds until {@link Workqueue.done}. */
export interface Taken {
  readonly key: string;
  readonly lane: Lane;
  /** How long it was queued. */
  readonly waited: Millis;
}

/**
 * Keys that want work. A key is queued once, however often it is added, and worked on by one worker at a time; added meanwhile, it
 * is queued again afterwards. Inside a lane namespaces take turns, so that one task beside 10,000 of another namespace does not
 * wait for them (L6, S24). Bounded by the number of keys there are.
 */
export interface Workqueue {
  /** The better lane wins where the key is queued already. */
  add(key: string, lane: Lane): void;
  /** The earliest ask per key wins. Taking the key answers every earlier ask: who works on it decides anew when to look again. */
  addAfter(key: string, after: Millis, lane: Lane): void;
  /** @throws the signal's reason */
  take(signal: AbortSignal): Promise<Taken>;
  done(key: string): void;
  /** While the key is worked on: resolves once it was added more than `known` times meanwhile, with that number. */
  changed(key: string, known: number): Promise<number>;
  /** Keys that are queued, not those worked on or put off. */
  depth(lane?: Lane): number;
  /** How long the key that waits longest has been queued. */
  oldest(): Millis;
  /** Keys put off. */
  readonly delayed: number;
  /** Keys queued since the start; one that was queued already is not counted again. */
  readonly adds: number;
  /** Keys that are queued, put off or worked on: all that is remembered. */
  readonly known: number;
  /** What was put off never comes. */
  close(): void;
}

export const openWorkqueue = (options: { readonly clock: Clock }): Workqueue => new LaneQueue(options.clock);

/** A key that is queued, put off or worked on. */
interface Entry {
  readonly key: string;
  /** Where it is queued, and since when (monotonic). */
  queued: { readonly lane: Lane; readonly since: number; readonly leave: () => void } | null;
  later: Appointment | null;
  work: Work | null;
}

interface Work {
  /** Lane of the adds that came meanwhile. */
  again: Lane | null;
  adds: number;
  /** One for all who wait for the next add. */
  next: PromiseWithResolvers<number> | null;
}

/** Of every eight picks six begin with the best lane and one with each lower one, so that nothing starves. Index into LANES. */
const TURNS: readonly number[] = [0, 0, 0, 1, 0, 0, 0, 2];

class LaneQueue implements Workqueue {
  readonly #clock: Clock;
  readonly #agenda: Agenda;
  readonly #entries = new Map<string, Entry>();
  readonly #lanes: readonly FairLane[] = LANES.map((lane) => new FairLane(lane));
  readonly #takers = new Chain<(taken: Taken) => void>();
  #picks = 0;
  #delayed = 0;
  #adds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#agenda = openAgenda(clock);
  }

  get delayed(): number {
    return this.#delayed;
  }
  get adds(): number {
    return this.#adds;
  }
  get known(): number {
    return this.#entries.size;
  }

  add(key: string, lane: Lane): void {
    const entry = this.#entryOf(key);
    if (entry.work === null) this.#enqueue(entry, lane);
    else noteAdd(entry.work, lane);
  }

  addAfter(key: string, after: Millis, lane: Lane): void {
    const entry = this.#entryOf(key);
    if (entry.queued !== null) return;
    if (entry.later !== null && entry.later.due <= this.#clock.monotonic() + after) return;
    this.#cancelLater(entry);
    this.#delayed += 1;
    entry.later = this.#agenda.in(after, () => {
      this.#delayed -= 1;
      entry.later = null;
      this.add(key, lane);
    });
  }

  take(signal: AbortSignal): Promise<Taken> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const taken = this.#pick();
    if (taken !== null) return Promise.resolve(taken);
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#takers.remove(link);
        reject(signal.reason as Error);
      };
      const link = this.#takers.append((next) => {
        signal.removeEventListener("abort", abort);
        resolve(next);
      });
      signal.addEventListener("abort", abort, { once: true });
    });
  }

  done(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.work === null) return;
    const { again } = entry.work;
    entry.work = null;
    if (again !== null) this.#enqueue(entry, again);
    else if (entry.later === null) this.#entries.delete(key);
  }

  changed(key: string, known: number): Promise<number> {
    const work = this.#entries.get(key)?.work;
    if (!work) throw new Error(`${key} is not worked on`);
    if (work.adds > known) return Promise.resolve(work.adds);
    work.next ??= Promise.withResolvers();
    return work.next.promise;
  }

  depth(lane?: Lane): number {
    const lanes = lane === undefined ? this.#lanes : this.#lanes.filter((one) => one.lane === lane);
    return lanes.reduce((sum, { size }) => sum + size, 0);
  }

  oldest(): Millis {
    const now = this.#clock.monotonic();
    const since = this.#lanes.flatMap((lane) => lane.heads()).map(({ queued }) => queued?.since ?? now);
    return millisOf(now - since.reduce((a, b) => Math.min(a, b), now));
  }

  close(): void {
    this.#agenda.close();
  }

  #entryOf(key: string): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const entry: Entry = { key, queued: null, later: null, work: null };
    this.#entries.set(key, entry);
    return entry;
  }

  #enqueue(entry: Entry, lane: Lane): void {
    if (entry.queued !== null && LANES.indexOf(entry.queued.lane) <= LANES.indexOf(lane)) return;
    if (entry.queued === null) this.#adds += 1;
    const since = entry.queued?.since ?? this.#clock.monotonic();
    entry.queued?.leave();
    const leave = this.#lanes[LANES.indexOf(lane)]?.join(entry) ?? (() => undefined);
    entry.queued = { lane, since, leave };
    const taken = this.#takers.size > 0 ? this.#pick() : null;
    if (taken !== null) this.#takers.shift()?.(taken);
  }

  #pick(): Taken | null {
    const first = TURNS[this.#picks % TURNS.length] ?? 0;
    const order = [this.#lanes[first], ...this.#lanes];
    const entry = order.find((lane) => lane !== undefined && lane.size > 0)?.next();
    if (entry === undefined || entry.queued === null) return null;
    const { lane, since, leave } = entry.queued;
    leave();
    this.#picks += 1;
    this.#cancelLater(entry);
    entry.queued = null;
    entry.work = { again: null, adds: 0, next: null };
    return { key: entry.key, lane, waited: millisOf(this.#clock.monotonic() - since) };
  }

  #cancelLater(entry: Entry): void {
    if (entry.later === null) return;
    entry.later.cancel();
    entry.later = null;
    this.#delayed -= 1;
  }
}

function noteAdd(work: Work, lane: Lane): void {
  work.adds += 1;
  if (work.again === null || LANES.indexOf(lane) < LANES.indexOf(work.again)) work.again = lane;
  work.next?.resolve(work.adds);
  work.next = null;
}

/** Entries of one lane: first come first served inside a namespace, one after the other among namespaces. */
class FairLane {
  readonly lane: Lane;
  readonly #namespaces = new Map<string, Turn>();
  readonly #turns = new Chain<Turn>();
  #size = 0;

  constructor(lane: Lane) {
    this.lane = lane;
  }

  get size(): number {
    return this.#size;
  }

  /** Gives back how to leave again. */
  join(entry: Entry): () => void {
    const namespace = namespaceOfKey(entry.key);
    const turn = this.#namespaces.get(namespace) ?? this.#openTurn(namespace);
    const place = turn.entries.append(entry);
    this.#size += 1;
    return () => {
      turn.entries.remove(place);
      this.#size -= 1;
      if (turn.entries.size > 0 || turn.link === null) return;
      this.#turns.remove(turn.link);
      this.#namespaces.delete(namespace);
    };
  }

  /** Whose turn it is; his namespace comes last from now on. He is still in the lane. */
  next(): Entry | undefined {
    const turn = this.#turns.shift();
    if (turn === undefined) return undefined;
    turn.link = this.#turns.append(turn);
    return turn.entries.first;
  }

  /** The first of each namespace. */
  heads(): readonly Entry[] {
    return Array.from(this.#turns, ({ entries }) => entries.first).filter((entry) => entry !== undefined);
  }

  #openTurn(namespace: string): Turn {
    const turn: Turn = { entries: new Chain(), link: null };
    turn.link = this.#turns.append(turn);
    this.#namespaces.set(namespace, turn);
    return turn;
  }
}

interface Turn {
  readonly entries: Chain<Entry>;
  link: Link<Turn> | null;
}
