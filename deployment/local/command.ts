import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { delimiter, join } from "node:path";
import { access, constants } from "node:fs/promises";

import type { Millis } from "../../src/lib/time.ts";
import type { Machine } from "./machine.ts";

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Laid over the variables of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout: Millis;
  /** Where all of its output goes too; the answer holds only the end of it. */
  readonly logFile?: string;
  /** Whether its output is shown as it comes, instead of being kept. */
  readonly show?: boolean;
}

export interface Ended {
  /** Exit code; null where a signal ended it or it could not be started. */
  readonly code: number | null;
  readonly stdout: string;
  /** The end of stdout and stderr, as they came. */
  readonly output: string;
}

const MOST_OUTPUT = 256 * 1024;

/** Runs a command to its end. It gets no input, is killed at the timeout or with the machine's signal, and dies with us. */
export async function run(command: Command, { lifeline, variables, clock, signal }: Machine): Promise<Ended> {
  const child = lifeline.spawn({
    file: command.file,
    args: command.args,
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
    env: { ...variables, ...command.env },
    stdio: command.show === true ? ["ignore", "inherit", "inherit"] : ["ignore", "pipe", "pipe"],
  });
  const log = command.logFile === undefined ? null : createWriteStream(command.logFile, { flags: "a", mode: 0o600 });
  let stdout = "";
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout = (stdout + text).slice(-MOST_OUTPUT)));
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-MOST_OUTPUT);
      log?.write(text);
    });
  }
  let isClosed = false;
  const ended = once(child, "close").then(
    () => (isClosed = true),
    (error: Error) => {
      output += `${command.file}: ${error.message}\n`;
      isClosed = true;
    },
  );
  const stop = new AbortController();
  const late = clock.sleep(command.timeout, AbortSignal.any([signal, stop.signal])).then(
    () => (output += `\n${command.file} was stopped: it took too long\n`),
    () => {},
  );
  await Promise.race([ended, late]);
  if (!isClosed) killGroup(child);
  stop.abort();
  await Promise.all([ended, late]);
  await new Promise<void>((flushed) => (log === null ? flushed() : log.end(flushed)));
  signal.throwIfAborted();
  return { code: child.exitCode, stdout, output };
}

/** With the processes it started itself: each command leads a group of its own. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // it ended in between
  }
}

/** The first executable of that name on PATH; null where there is none. */
export async function onPath(name: string, { variables }: Pick<Machine, "variables">): Promise<string | null> {
  for (const folder of (variables.PATH ?? "").split(delimiter).filter((folder) => folder.startsWith("/"))) {
    const file = join(folder, name);
    if (await isExecutable(file)) return file;
  }
  return null;
}

export const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
