// kube: a small controller runtime: transport, caches, queues, leases, events. It knows objects and keys, not their meaning.
// Nothing here may name a switch, a task or a stage; nothing outside this folder speaks to the API server.
import type { Clock } from "../lib/seams.ts";
import { type Millis, millisOf } from "../lib/time.ts";

/** One thing to do later. Cancelling what already ran does nothing. */
export interface Appointment {
  readonly due: number;
  cancel(): void;
}

/** Many deadlines over one timer: 10,000 waiting keys cost one sleep of the clock. */
export interface Agenda {
  /** Runs `run` once, `after` from now, never earlier; in order of due time, then of asking. `run` must not throw. */
  in(after: Millis, run: () => void): Appointment;
  /** Appointments that are held, some cancelled ones among them. */
  readonly size: number;
  /** What was not yet due never runs. */
  close(): void;
}

interface Item extends Appointment {
  readonly order: number;
  run: (() => void) | null;
}

/** Below this many cancelled items the heap is left as it is. */
const SMALLEST_SWEEP = 64;

export function openAgenda(clock: Clock): Agenda {
  return new HeapAgenda(clock);
}

class HeapAgenda implements Agenda {
  readonly #clock: Clock;
  #heap: Item[] = [];
  #asked = 0;
  #cancelled = 0;
  #timer: AbortController | null = null;
  #wakesAt = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#heap.length;
  }

  in(after: Millis, run: () => void): Appointment {
    const item: Item = {
      due: this.#clock.monotonic() + after,
      order: (this.#asked += 1),
      run,
      cancel: () => {
        if (item.run === null) return;
        item.run = null;
        this.#cancelled += 1;
        if (this.#cancelled > SMALLEST_SWEEP && this.#cancelled * 2 > this.#heap.length) this.#sweep();
      },
    };
    if (this.#closed) return item;
    push(this.#heap, item);
    this.#arm();
    return item;
  }

  close(): void {
    this.#closed = true;
    this.#heap = [];
    this.#timer?.abort();
  }

  #arm(): void {
    const next = this.#heap[0];
    if (next === undefined || this.#closed || next.due >= this.#wakesAt) return;
    this.#timer?.abort();
    const timer = new AbortController();
    this.#timer = timer;
    this.#wakesAt = next.due;
    this.#clock.sleep(millisOf(next.due - this.#clock.monotonic()), timer.signal).then(
      () => this.#wake(),
      () => undefined, // re-armed for something earlier, or closed
    );
  }

  #wake(): void {
    this.#wakesAt = Number.POSITIVE_INFINITY;
    try {
      for (let item = this.#heap[0]; item !== undefined; item = this.#heap[0]) {
        const { run } = item;
        if (run !== null && item.due > this.#clock.monotonic()) break;
        pop(this.#heap);
        if (run === null) this.#cancelled -= 1;
        else {
          item.run = null;
          run();
        }
      }
    } finally {
      this.#arm();
    }
  }

  #sweep(): void {
    const live = this.#heap.filter((item) => item.run !== null);
    this.#cancelled = 0;
    this.#heap = live.toSorted((a, b) => (isBefore(a, b) ? -1 : 1)); // a sorted array is a heap
  }
}

const isBefore = (a: Item, b: Item): boolean => a.due < b.due || (a.due === b.due && a.order < b.order);

function push(heap: Item[], item: Item): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parentAt = (at - 1) >> 1;
    const parent = heap[parentAt];
    if (parent === undefined || isBefore(parent, item)) break;
    heap[at] = parent;
    at = parentAt;
  }
  heap[at] = item;
}

/** Takes the first item off. */
function pop(heap: Item[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
    const isRight = left !== undefined && right !== undefined && isBefore(right, left);
    const child = isRight ? right : left;
    if (child === undefined || !isBefore(child, last)) break;
    heap[at] = child;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = last;
}
