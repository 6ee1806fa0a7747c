#!/usr/bin/env node
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { formatDuration, millisOf, seconds } from "../../src/lib/time.ts";
import { localClock } from "./clock.ts";
import { controlPlaneBinaries } from "./control-plane.ts";
import { isDetached, onceAbandoned, startDetached, tell } from "./detach.ts";
import { connectEnvironment, openEnvironment } from "./environment.ts";
import { type Extra, EXTRA_SERVERS, EXTRAS } from "./extras.ts";
import { kubectlAndHelm } from "./kubectl.ts";
import { openMachine } from "./machine.ts";
import { untilAborted, untilOrphaned } from "./orphan.ts";
import { until } from "./poll.ts";
import { EnvironmentProblem } from "./problem.ts";
import { isAlive } from "./process-identity.ts";

import { deleteStateDir, ENV_FILE, supervisorOf } from "./state-dir.ts";

const USAGE = `Turnout's local environment: a Kubernetes control plane and the servers beside it, as processes of this machine.

  npm run local -- up [--with NAME,…] [--state DIR] [--audit] [--detach]
      starts it, writes DIR/env, prints it, stays until Ctrl-C or \`down\`; with --detach it returns once all is healthy
  npm run local -- status [--state DIR]      what runs, where, and its log
  npm run local -- down [--state DIR] [--wipe]
      stops it; --wipe deletes its data and logs too
  npm run local -- prepare [--with NAME,…]   builds and fetches what \`up\` needs, and starts nothing

NAME is one of ${EXTRAS.join(", ")}. DIR is .turnout/local unless given. \`set -a; . DIR/env; set +a\` makes kubectl and Turnout use it.
`;

const DEFAULT_STATE = join(import.meta.dirname, "..", "..", ".turnout", "local");

interface Asked {
  readonly stateDir: string;
  readonly with: readonly Extra[];
  readonly audit: boolean;
  readonly detach: boolean;
  readonly wipe: boolean;
}

const COMMANDS: Readonly<Record<string, (asked: Asked) => Promise<number>>> = { up, down, status, prepare };
const USAGE_ERROR = 2;
/** As `systemctl status` has it (LSB): not running. */
const NOT_RUNNING = 3;

/** stderr is talk. */
function say(line: string): void {
  if (isDetached()) void tell({ say: line });
  else console.error(line);
}

async function main(args: readonly string[]): Promise<number> {
  const [name = "", ...rest] = args;
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined || rest.includes("--help")) {
    const isHelp = [...args, "--help"].indexOf("--help") < args.length || name === "help";
    (isHelp ? console.log : say)(USAGE);
    return isHelp ? 0 : USAGE_ERROR;
  }
  const asked = parse(rest);
  if (typeof asked === "string") {
    say(`${asked}\n\n${USAGE}`);
    return USAGE_ERROR;
  }
  return command(asked);
}

/** What was asked, or what is wrong with it. */
function parse(args: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        with: { type: "string", multiple: true, default: [] },
        state: { type: "string", default: DEFAULT_STATE },
        audit: { type: "boolean", default: false },
        detach: { type: "boolean", default: false },
        wipe: { type: "boolean", default: false },
      },
    });
    const extras = values.with.flatMap((list) => list.split(",")).filter((name) => name !== "");
    const unknown = extras.find((name) => !(EXTRAS as readonly string[]).includes(name));
    if (unknown !== undefined) return `--with ${unknown}: there is only ${EXTRAS.join(", ")}`;
    return { ...values, stateDir: resolve(values.state), with: extras as Extra[] };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function up(asked: Asked): Promise<number> {
  if (asked.detach) return upDetached(asked);
  const ending = new AbortController();
  const end = (): void => ending.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
  if (isDetached()) onceAbandoned(end);
  const started = localClock.monotonic();
  try {
    await using environment = await openEnvironment({ ...asked, print: say, signal: ending.signal });
    const after = formatDuration(millisOf(Math.round(localClock.monotonic() - started)));
    if (isDetached()) {
      process.removeListener("disconnect", end);
      say(`ready after ${after}; stop it with: npm run local -- down --state ${asked.stateDir}`);
      await tell({ ready: true });
      await untilAborted(ending.signal);
    } else {
      say(`ready after ${after}; Ctrl-C stops it`);
      await announce(environment.stateDir);
      await untilOrphaned({ clock: localClock, signal: ending.signal });
    }
    say("stopping");
  } catch (error) {
    if (!ending.signal.aborted) throw error;
  }
  return 0;
}

async function upDetached({ stateDir, with: extras, audit }: Asked): Promise<number> {
  const args = ["up", "--state", stateDir, "--with", extras.join(","), ...(audit ? ["--audit"] : [])];
  const code = await startDetached({ script: import.meta.filename, args, say });
  if (code === 0) await announce(stateDir);
  return code;
}

/** stdout is data: the environment file and nothing else. */
async function announce(stateDir: string): Promise<void> {
  process.stdout.write(await readFile(join(stateDir, ENV_FILE), "utf8"));
}

const STOPS_WITHIN = seconds(40);

async function down({ stateDir, wipe }: Asked): Promise<number> {
  const supervisor = await supervisorOf(stateDir);
  if (supervisor === null) say(`nothing runs in ${stateDir}`);
  else {
    process.kill(supervisor.pid, "SIGTERM");
    const gone = { clock: localClock, timeout: STOPS_WITHIN, what: `process ${supervisor.pid} to end` };
    await until(() => !isAlive(supervisor), gone).catch(() => process.kill(supervisor.pid, "SIGKILL"));
    say(`stopped the environment in ${stateDir}`);
  }
  if (wipe && (await deleteStateDir(stateDir))) say(`deleted ${stateDir}`);
  return 0;
}

async function status({ stateDir }: Asked): Promise<number> {
  const supervisor = await supervisorOf(stateDir);
  const environment = supervisor === null ? null : await connectEnvironment(stateDir).catch(() => null);
  if (supervisor === null || environment === null) {
    say(supervisor === null ? `nothing runs in ${stateDir}` : `process ${supervisor.pid} is starting the environment`);
    return NOT_RUNNING;
  }
  const rows = environment.servers.map(({ name, pid, address, logFile }) => [
    name,
    pid === null ? "stopped" : `${pid}`,
    address,
    logFile,
  ]);
  for (const [name = "", pid = "", address = "", log = ""] of [["SERVER", "PID", "ADDRESS", "LOG"], ...rows]) {
    console.log(`${name.padEnd(24)}${pid.padEnd(9)}${address.padEnd(17)}${log}`);
  }
  return environment.servers.some(({ pid }) => pid === null) ? NOT_RUNNING : 0;
}

async function prepare({ with: extras }: Asked): Promise<number> {
  await using machine = await openMachine({ print: say });
  await kubectlAndHelm(machine);
  await controlPlaneBinaries(machine);
  for (const name of extras) await EXTRA_SERVERS[name].fetch(machine);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say(error instanceof EnvironmentProblem ? error.message : String(error instanceof Error ? error.stack : error));
  process.exitCode = 1;
}
if (process.connected) process.disconnect();
