// test/e2e: the whole thing as its users meet it: commands, processes, real servers. Nothing of src/ is called past its entry points.
// A file here starts what it needs itself or takes the environment of the run, and leaves nothing behind.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { identify, isAlive, type ProcessIdentity } from "../../deployment/local/process-identity.ts";
import { seconds } from "../../src/lib/time.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
const LOCAL = join(ROOT, "deployment", "local", "local.ts");

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that has been started; its output so far can be read at any time. */
export interface Running {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<Ran>;
}

export function start(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // Not "close": a process that outlives the command may hold its streams.
  const ended = once(child, "exit").then(() => ({ code: child.exitCode, stdout, stderr }));
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

export const startLocal = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Running =>
  start(process.execPath, [LOCAL, ...args], env);
/** A command that has to end by itself; one that stays instead is killed, so that it does not outlive its test. */
export async function local(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const { child, ended } = startLocal(args, env);
  const hasEnded = new AbortController();
  const late = localClock.sleep(ENDS_WITHIN, hasEnded.signal).then(
    () => child.kill("SIGKILL"),
    () => false,
  );
  const ran = await ended;
  hasEnded.abort();
  await late;
  return ran;
}

/** Below the time that a test has. */
const ENDS_WITHIN = seconds(45);

/** Resolves when a started `up` has printed its environment. */
export async function untilReady(up: Running): Promise<void> {
  const isReady = (): boolean => {
    if (up.child.exitCode !== null) throw new Error(up.stderr());
    return /^ETCD_URL=.*\n/m.test(up.stdout());
  };
  await until(isReady, { clock: localClock, timeout: seconds(50), what: "a healthy environment" });
}

/** A folder that is deleted at the end; what runs in it is stopped first. */
export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

export async function temporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), "turnout-e2e-"));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await local(["down", "--state", join(path, "state")]);
      await rm(path, { recursive: true });
    },
  };
}

/** Processes whose command line or working variables name the text: servers name their state folder. */
export async function processesNaming(text: string): Promise<readonly ProcessIdentity[]> {
  const found: ProcessIdentity[] = [];
  for (const pid of (await readdir("/proc")).map(Number).filter(Number.isInteger)) {
    const texts = await Promise.all(
      ["cmdline", "environ"].map((file) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")),
    );
    const known = texts.some((one) => one.includes(text)) ? identify(pid) : null;
    if (known !== null && pid !== process.pid) found.push(known);
  }
  return found;
}

export async function untilGone(processes: readonly ProcessIdentity[]): Promise<void> {
  const areGone = (): boolean => !processes.some((one) => isAlive(one));
  await until(areGone, { clock: localClock, timeout: seconds(10), what: `${processes.length} processes to end` });
}
