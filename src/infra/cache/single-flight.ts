import { untilAborted } from "../../lib/deadline.ts";

interface Flight<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
}

/** Several callers of one key at once share one piece of work; it is given up when the last of them has left. */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Work under way. */
  get size(): number {
    return this.#flights.size;
  }

  /** The work's end, for each caller until its own signal ends. Not bounded here: the number of callers is the caller's. */
  async run(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiting += 1;
    try {
      return await untilAborted(flight.result, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) this.#leave(key, flight);
    }
  }

  /** Who asks for the key from here on does not join what is under way: it may find what is no longer true. */
  forget(key: string): void {
    this.#flights.delete(key);
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const stop = new AbortController();
    const result = work(stop.signal);
    const flight = { result, stop, waiting: 0 };
    this.#flights.set(key, flight);
    const landed = (): void => this.#leave(key, flight);
    result.then(landed, landed);
    return flight;
  }

  /** Who comes from here on starts anew. */
  #leave(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
    flight.stop.abort(new Error("nobody waits for it any more"));
  }
}
