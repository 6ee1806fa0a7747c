import type { Socket } from "node:net";
import { Client } from "undici";
import type { Fault } from "../../lib/failures.ts";
import type { Connection } from "./connect.ts";

/** One connection that carries one exchange at a time. */
export interface Lane {
  readonly client: Client;
  readonly socket: Socket;
}

export type Taken = { readonly ok: true; readonly lane: Lane } | { readonly ok: false; readonly fault: Fault };

export interface LanePoolDeps {
  /** Connections at once, until another number is set; more askers wait in order. */
  readonly most: number;
  /** `http://host:port`, or https. Only its host field is used: the socket is already there. */
  readonly origin: string;
  /** SEC-41: bytes of an answer's header. */
  readonly largestHeader: number;
  readonly idleMs: number;
  readonly open: (signal: AbortSignal) => Promise<Connection>;
  /** Whether others wait for sockets that idle lanes hold. */
  readonly crowded: () => boolean;
  /** What an asker gets that waited in vain, or that too many wait before. */
  readonly late: () => Fault;
}

interface Waiter {
  /** A lane, or null: look again. */
  readonly wake: (lane: Lane | null) => void;
}

const MOST_WAITING = 1024;

/**
 * Lanes to one address under one policy. Each is a guarded socket opened beforehand and handed to undici, so that what failed
 * before the request is told apart from what failed after it, and undici itself never connects.
 */
export class LanePool {
  #open = 0;
  #retired = false;
  readonly #idle: Lane[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #deps: LanePoolDeps;
  #most: number;

  constructor(deps: LanePoolDeps) {
    this.#deps = deps;
    this.#most = deps.most;
  }

  get unused(): boolean {
    return this.#open === 0 && this.#waiting.length === 0;
  }

  /** A lane for one exchange; give it back with {@link give}. */
  async take(signal: AbortSignal): Promise<Taken> {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle !== undefined) {
        if (isAlive(idle)) return { ok: true, lane: idle };
        continue; // its `close` has been, or will be, counted
      }
      if (signal.aborted || this.#waiting.length >= MOST_WAITING) return { ok: false, fault: this.#deps.late() };
      if (this.#open < this.#most) return this.#openLane(signal);
      const lane = await this.#wait(signal);
      if (lane !== null && isAlive(lane)) return { ok: true, lane };
    }
  }

  /** After an exchange. `reusable` only if its answer was read to the end: else nothing may come after it (guard 6). */
  give(lane: Lane, reusable: boolean): void {
    if (!reusable || !isAlive(lane) || this.#retired || this.#open > this.#most) {
      destroy(lane);
      return;
    }
    const next = this.#waiting.shift();
    if (next !== undefined) next.wake(lane);
    else if (this.#deps.crowded()) destroy(lane);
    else this.#idle.push(lane);
  }

  /** More lets those who wait look again; fewer ends what idles, and the rest when it is given back. */
  resize(most: number): void {
    this.#most = most;
    for (const lane of this.#idle.splice(0, Math.max(0, this.#open - most))) destroy(lane);
    for (const { wake } of this.#waiting.splice(0, Math.max(0, most - this.#open))) wake(null);
  }

  closeIdle(): void {
    for (const lane of this.#idle.splice(0)) destroy(lane);
  }

  /** Closes what idles now and what comes back later. */
  retire(): void {
    this.#retired = true;
    this.closeIdle();
  }

  async #openLane(signal: AbortSignal): Promise<Taken> {
    this.#open += 1;
    const opened = await this.#deps.open(signal).catch((error: unknown) => {
      this.#closed();
      throw error;
    });
    if (!opened.ok) {
      this.#closed();
      return opened;
    }
    const lane = this.#laneOn(opened.socket);
    if (opened.socket.destroyed) this.#closed();
    else opened.socket.once("close", () => this.#forget(lane));
    return { ok: true, lane };
  }

  #laneOn(socket: Socket): Lane {
    let spent = false;
    const client = new Client(this.#deps.origin, {
      allowH2: false,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: this.#deps.idleMs,
      keepAliveMaxTimeout: this.#deps.idleMs,
      maxHeaderSize: this.#deps.largestHeader,
      // undici resumes its queue only after this returned, hence not at once.
      connect: (_options, callback) => {
        queueMicrotask(() => {
          if (spent) callback(new Error("one lane, one connection"), null);
          else callback(null, socket);
          spent = true;
        });
      },
    });
    return { client, socket };
  }

  #forget(lane: Lane): void {
    const place = this.#idle.indexOf(lane);
    if (place >= 0) this.#idle.splice(place, 1);
    destroy(lane);
    this.#closed();
  }

  #closed(): void {
    this.#open -= 1;
    this.#waiting.shift()?.wake(null);
  }

  #wait(signal: AbortSignal): Promise<Lane | null> {
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        resolve(null);
      };
      const waiter: Waiter = {
        wake: (lane) => {
          signal.removeEventListener("abort", leave);
          resolve(lane);
        },
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(waiter);
    });
  }
}

function isAlive({ client, socket }: Lane): boolean {
  return !socket.destroyed && socket.writable && socket.readable && !client.destroyed;
}

/** The socket first: undici's own destroy waits for what runs. */
function destroy({ client, socket }: Lane): void {
  socket.destroy();
  void client.destroy().catch(() => undefined);
}
