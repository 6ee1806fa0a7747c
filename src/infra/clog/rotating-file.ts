import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../lib/seams.ts";
import { backupName, type RotationRules, tidyBackups } from "./log-backups.ts";
import type { LineTarget } from "./line-writer.ts";

export interface RotatingDeps {
  readonly clock: Clock;
  /** Told what the log cannot do, such as rename its file; not told of lines. */
  readonly complain: (what: string, error: unknown) => void;
}

/** Ours alone, appended to, never through a link (SEC-49). */
const FLAGS = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
const MODE = 0o600;

/**
 * A file of lines that is renamed away when it is full. A line is in one file whole: rotation happens between batches. Where it cannot
 * be renamed or opened anew, it simply grows on, and says so.
 */
export class RotatingFile implements LineTarget {
  readonly #rules: RotationRules;
  readonly #deps: RotatingDeps;
  #file: FileHandle;
  #size: number;
  /** Size at which rotation is tried: further off after it failed. */
  #rotateAt: number;
  #tidying: Promise<void> = Promise.resolve();
  #tidyWaits = false;
  #trouble = false;

  private constructor(
    rules: RotationRules,
    deps: RotatingDeps,
    opened: { readonly file: FileHandle; readonly size: number },
  ) {
    [this.#rules, this.#deps, this.#file, this.#size] = [rules, deps, opened.file, opened.size];
    this.#rotateAt = rules.maxSize;
    this.#tidy();
  }

  /** @throws the error of the file system */
  static async open(rules: RotationRules, deps: RotatingDeps): Promise<RotatingFile> {
    await mkdir(dirname(rules.filename), { recursive: true, mode: 0o700 });
    const file = await open(rules.filename, FLAGS, MODE);
    return new RotatingFile(rules, deps, { file, size: (await file.stat()).size });
  }

  /** Whether the last rotation or tidying failed. */
  get trouble(): boolean {
    return this.#trouble;
  }

  async write(bytes: Buffer, at: number): Promise<number> {
    if (at === 0 && this.#size > 0 && this.#size + bytes.byteLength > this.#rotateAt) await this.#rotate();
    const { bytesWritten } = await this.#file.write(bytes, at);
    this.#size += bytesWritten;
    return bytesWritten;
  }

  /** Waits for compression under way. */
  async close(): Promise<void> {
    await this.#tidying;
    await this.#file.close();
  }

  async #rotate(): Promise<void> {
    const { filename, maxSize } = this.#rules;
    try {
      await rename(filename, await backupName(filename, this.#deps.clock.now()));
      const next = await open(filename, FLAGS, MODE);
      const full = this.#file;
      [this.#file, this.#size, this.#rotateAt] = [next, (await next.stat()).size, maxSize];
      this.#trouble = false;
      await full.close();
    } catch (error) {
      this.#rotateAt = this.#size + maxSize;
      this.#complain("the log file cannot be rotated and grows on", error);
      return;
    }
    this.#tidy();
  }

  /** Beside the writing of lines; one at a time, and one more for whatever came meanwhile. */
  #tidy(): void {
    if (this.#tidyWaits) return;
    this.#tidyWaits = true;
    this.#tidying = this.#tidying.then(async () => {
      this.#tidyWaits = false;
      await tidyBackups(this.#rules, this.#deps.clock.now()).catch((error: unknown) =>
        this.#complain("rotated log files cannot be compressed or deleted", error),
      );
    });
  }

  #complain(what: string, error: unknown): void {
    this.#trouble = true;
    this.#deps.complain(what, error);
  }
}
