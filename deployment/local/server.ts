import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";

import { formatDuration, type Millis, seconds } from "../../src/lib/time.ts";
import { holderOf } from "./listeners.ts";
import type { Machine } from "./machine.ts";
import { PollTimeoutError, until } from "./poll.ts";
import { freeSpace } from "./cache.ts";
import { isDiskFull, PROBLEM } from "./problem.ts";

export const SERVER_NAMES = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "redis",
  "etcd-centre",
  "mariadb",
  "kafka",
  "prometheus",
] as const;
export type ServerName = (typeof SERVER_NAMES)[number];

export interface ServerSpec {
  readonly name: ServerName;
  /** `127.0.0.1:23456` */
  readonly address: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  /** Where its data lies; null where it keeps none. */
  readonly dataDir: string | null;
  /** How long it may take to end by itself before it is killed. */
  readonly endsWithin: Millis;
  /** Whether it takes requests; may throw where it does not. */
  readonly isHealthy: () => Promise<boolean>;
}

/** A server process that can be stopped and started again under the same address, with the same data. */
export interface Server {
  readonly name: ServerName;
  readonly address: string;
  readonly logFile: string;
  readonly dataDir: string | null;
  /** Null while it is not running. */
  readonly pid: number | null;
  /** Resolves once it is healthy; at once where it runs already. */
  start(): Promise<void>;
  /** Resolves once the process is gone; at once where there is none. A server that takes too long is killed. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

const HEALTHY_WITHIN = seconds(90);

export class LocalServer implements Server {
  readonly #spec: ServerSpec;
  readonly #machine: Machine;
  #child: ChildProcess | null = null;
  #stopping = false;
  /** Starts and stops of one server never overlap. */
  #turn: Promise<void> = Promise.resolve();

  constructor(spec: ServerSpec, machine: Machine) {
    this.#spec = spec;
    this.#machine = machine;
  }
  get name(): ServerName {
    return this.#spec.name;
  }
  get address(): string {
    return this.#spec.address;
  }
  get logFile(): string {
    return this.#spec.logFile;
  }
  get dataDir(): string | null {
    return this.#spec.dataDir;
  }
  get pid(): number | null {
    return isRunning(this.#child) ? (this.#child?.pid ?? null) : null;
  }

  start(): Promise<void> {
    return this.#inTurn(() => this.#start());
  }
  stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    return this.#inTurn(() => this.#stop(signal));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #start(): Promise<void> {
    if (this.pid !== null) return;
    const { name, file, args, env, logFile } = this.#spec;
    const log = await openLog(logFile);
    const logFrom = (await log.stat()).size;
    const child = this.#machine.lifeline.spawn({ file, args, env, stdio: ["ignore", log.fd, log.fd] });
    await log.close();
    this.#child = child;
    this.#stopping = false;
    const problem = await this.#waitHealthy(child, logFrom);
    if (problem !== null) {
      await this.#stop("SIGKILL");
      throw problem;
    }
    child.once("exit", (code, signal) => {
      if (!this.#stopping) this.#machine.print(`${name} ended by itself (${how(code, signal)}); its log: ${logFile}`);
    });
  }

  /** Null when healthy, else what a person is told. */
  async #waitHealthy(child: ChildProcess, logFrom: number): Promise<Error | null> {
    const { name, logFile, isHealthy } = this.#spec;
    const { clock, signal } = this.#machine;
    try {
      await until(async () => !isRunning(child) || (await isHealthy()), {
        clock,
        timeout: HEALTHY_WITHIN,
        what: name,
        signal,
      });
    } catch (error) {
      if (!(error instanceof PollTimeoutError)) throw error;
      const waited = formatDuration(HEALTHY_WITHIN);
      return PROBLEM.serverSilent({ server: name, waited, tail: await tailOf(logFile, logFrom), log: logFile });
    }
    return isRunning(child) ? null : this.#whyEnded(child, await tailOf(logFile, logFrom));
  }

  async #whyEnded(child: ChildProcess, tail: string): Promise<Error> {
    const { name, address, logFile } = this.#spec;
    if (/address already in use/i.test(tail)) {
      return PROBLEM.portTaken({ server: name, address, holder: await holderOf(Number(address.split(":").at(-1))) });
    }
    if (isDiskFull(tail)) return PROBLEM.diskFull({ path: logFile, free: await freeSpace(logFile) });
    return PROBLEM.serverEnded({ server: name, how: how(child.exitCode, child.signalCode), tail, log: logFile });
  }

  async #stop(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#stopping = true;
    if (child === null || !isRunning(child)) return;
    const gone = once(child, "exit");
    child.kill(signal);
    child.kill("SIGCONT"); // a process that a test has frozen takes no SIGTERM
    const giveUp = new AbortController();
    const late = this.#machine.clock.sleep(this.#spec.endsWithin, giveUp.signal).then(
      () => child.kill("SIGKILL"),
      () => false,
    );
    await gone;
    giveUp.abort();
    await late;
  }
}

const isRunning = (child: ChildProcess | null): boolean =>
  child !== null && child.pid !== undefined && child.exitCode === null && child.signalCode === null;

const how = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal === null ? `exit code ${code ?? "unknown"}` : `signal ${signal}`;

const openLog = (path: string): Promise<FileHandle> =>
  open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW, 0o600);

const TAIL_LINES = 12;

/** Last lines of what the present run has logged. */
async function tailOf(path: string, from: number): Promise<string> {
  const bytes = await readFile(path);
  return bytes.subarray(from).toString("utf8").trimEnd().split("\n").slice(-TAIL_LINES).join("\n");
}
