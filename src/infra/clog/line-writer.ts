import { write } from "node:fs";
import { promisify } from "node:util";
import type { Clock } from "../../lib/seams.ts";
import { millisOf, seconds } from "../../lib/time.ts";

const writeTo = promisify(write);

/** What lines are written to: whole lines at `at` 0, the rest of a write that was cut short beyond it. */
export interface LineTarget {
  /** How many bytes, from `at` on, were taken. */
  write(bytes: Buffer, at: number): Promise<number>;
}

export const descriptor = (fd: number): LineTarget => ({
  write: async (bytes, at) => (await writeTo(fd, bytes, at)).bytesWritten,
});

/** Bytes that wait for a slow destination; beyond them lines are dropped and counted. */
const LARGEST_BUFFER = 1024 * 1024;
const BATCH = 64 * 1024;
/** Lines that come within this are written together: a write costs as much as ten lines. */
const GATHER = millisOf(5);
const BUSY_WAIT = millisOf(10);
const CLOSE_WAIT = seconds(1);

/**
 * Writes lines to their target outside the event loop. A reader that stalls or a full disk costs lines, never time: nothing
 * waits for it but {@link LineWriter.close}, and that no longer than a second.
 */
export class LineWriter {
  #dropped = 0;
  #bytes = 0;
  #waiting: Buffer[] = [];
  #pumping: Promise<void> | null = null;
  readonly #closing = new AbortController();
  readonly #target: LineTarget;
  readonly #clock: Clock;

  constructor(target: LineTarget, clock: Clock) {
    this.#target = target;
    this.#clock = clock;
  }

  get dropped(): number {
    return this.#dropped;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.byteLength > LARGEST_BUFFER) {
      this.#dropped += 1;
      return;
    }
    this.#bytes += bytes.byteLength;
    this.#waiting.push(bytes);
    this.#pumping ??= this.#pump();
  }

  /** Resolves once everything was written or dropped, or after a second. */
  async close(): Promise<void> {
    this.#closing.abort();
    const done = new AbortController();
    const late = this.#clock.sleep(CLOSE_WAIT, done.signal).catch(() => undefined);
    await Promise.race([this.#pumping ?? Promise.resolve(), late]);
    done.abort();
  }

  async #pump(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#clock.sleep(GATHER, this.#closing.signal).catch(() => undefined);
      const batch = this.#nextBatch();
      const whole = Buffer.concat(batch);
      if (!(await this.#writeWhole(whole))) this.#dropped += batch.length;
      this.#bytes -= whole.byteLength;
    }
    this.#pumping = null;
  }

  #nextBatch(): readonly Buffer[] {
    let size = 0;
    const end = this.#waiting.findIndex((line) => (size += line.byteLength) > BATCH);
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : Math.max(end, 1));
  }

  /** False where the destination takes no more of it. */
  async #writeWhole(bytes: Buffer): Promise<boolean> {
    for (let at = 0; at < bytes.byteLength;) {
      try {
        at += await this.#target.write(bytes, at);
      } catch (error) {
        const busy = error instanceof Error && "code" in error && error.code === "EAGAIN";
        if (!busy) return false;
        await this.#clock.sleep(BUSY_WAIT);
      }
    }
    return true;
  }
}
