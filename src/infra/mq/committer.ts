import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";

/** Where a group stands in a partition: the offset of the next message. */
export interface Position {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly leaderEpoch: number;
}

export interface CommitterDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Bound of one commit. */
  readonly timeout: Millis;
  readonly commit: (positions: readonly Position[]) => Promise<void>;
  /** Once it is aborted, what fails is not tried again: it comes again to whom the partition goes. */
  readonly over: AbortSignal;
  readonly onFailed: (error: unknown) => void;
}

const AGAIN: Backoff = { initial: millisOf(100), factor: 2, max: seconds(5) };

/** Commits what is done, one request at a time; what is done meanwhile goes with the next. A partition's offset never goes back. */
export class Committer {
  readonly #deps: CommitterDeps;
  readonly #pending = new Map<string, Position>();
  #running: Promise<void> | null = null;

  constructor(deps: CommitterDeps) {
    this.#deps = deps;
  }

  note(position: Position): void {
    this.#keep(position);
    this.#running ??= this.#run();
  }
  /** Resolves when nothing is left that could be committed. */
  async idle(): Promise<void> {
    await this.#running;
  }

  #keep(position: Position): void {
    const id = `${position.topic}:${position.partition}`;
    const known = this.#pending.get(id);
    if (known === undefined || known.offset < position.offset) this.#pending.set(id, position);
  }

  async #run(): Promise<void> {
    const { clock, rng, timeout, commit, over, onFailed } = this.#deps;
    const never = new AbortController().signal;
    for (let failures = 0; this.#pending.size > 0;) {
      const positions = [...this.#pending.values()];
      this.#pending.clear();
      try {
        await withDeadline({ clock, timeout, signal: never }, (ended) => untilAborted(commit(positions), ended));
        failures = 0;
      } catch (error) {
        onFailed(error);
        if (over.aborted) break;
        for (const position of positions) this.#keep(position);
        failures += 1;
        await clock.sleep(backoffAfter(failures, AGAIN, rng.float()), over).catch(() => undefined);
      }
    }
    this.#running = null;
  }
}
