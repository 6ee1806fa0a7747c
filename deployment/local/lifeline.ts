import { type ChildProcess, spawn, spawnSync, type StdioOptions } from "node:child_process";
import { once } from "node:events";

export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdio: StdioOptions;
}

/**
 * Starts processes that end when this one ends, SIGKILL included. Each gets a session of its own (Ctrl-C reaches only us) and
 * makes files that only this user may read.
 */
export interface Lifeline {
  spawn(launch: Launch): ChildProcess;
  close(): Promise<void>;
}

export async function openLifeline(): Promise<Lifeline> {
  const probe = spawnSync("setpriv", ["--pdeathsig", "KILL", "true"], { stdio: "ignore" });
  return probe.status === 0 ? kernelLifeline() : watchedLifeline();
}

/**
 * The kernel kills the child with its parent (prctl(2), PR_SET_PDEATHSIG, kept over exec). A parent that died before the mark
 * was set is noticed by the shell line, so that no gap is left.
 */
export function kernelLifeline(): Lifeline {
  const sameParent = `[ "$PPID" = "$0" ] && umask 077 && exec "$@"`;
  return {
    spawn: ({ file, args, cwd, env, stdio }) =>
      spawn("setpriv", ["--pdeathsig", "KILL", "sh", "-c", sameParent, String(process.pid), file, ...args], {
        cwd,
        env,
        stdio,
        detached: true,
      }),
    close: async () => {},
  };
}

/** Where setpriv knows no --pdeathsig (busybox): a shell that holds our pipe and kills what we started when the pipe ends. */
export function watchedLifeline(): Lifeline {
  const watchdog = spawn("sh", ["-c", WATCHDOG], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  watchdog.stdin.on("error", () => {}); // it is gone; nothing can be told to it
  watchdog.unref();
  return {
    spawn({ file, args, cwd, env, stdio }) {
      const child = spawn("sh", ["-c", `umask 077 && exec "$0" "$@"`, file, ...args], {
        cwd,
        env,
        stdio,
        detached: true,
      });
      const { pid } = child;
      if (pid !== undefined) {
        watchdog.stdin.write(`+ ${pid}\n`);
        child.once("exit", () => watchdog.stdin.write(`- ${pid}\n`));
      }
      return child;
    },
    async close() {
      if (watchdog.exitCode !== null || watchdog.signalCode !== null) return;
      watchdog.stdin.end();
      await once(watchdog, "exit");
    },
  };
}

const WATCHDOG = `
live=
while read -r sign pid; do
  kept=
  for one in $live; do [ "$one" = "$pid" ] || kept="$kept $one"; done
  live=$kept
  [ "$sign" = + ] && live="$live $pid"
done
[ -z "$live" ] || kill -KILL $live
`;
