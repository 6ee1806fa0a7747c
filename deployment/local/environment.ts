// deployment/local: the servers that Turnout needs, as child processes of one machine; for the demo, the tests, the benchmarks.
// Nothing of it is part of the product, and no server here listens on anything but loopback.
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { connectServers, openControl } from "./control.ts";
import { freeSpace } from "./cache.ts";
import type { Identity } from "./extra.ts";
import type { Extra } from "./extras.ts";
import { formatEnv, parseEnv } from "./env-file.ts";
import { openMachine, type Print } from "./machine.ts";
import { writePrivate } from "./private-file.ts";
import { isDiskFull, PROBLEM } from "./problem.ts";
import type { Server, ServerName } from "./server.ts";
import { startServers } from "./start-servers.ts";
import { claimStateDir, deleteStateDir, ENV_FILE, type StateDir } from "./state-dir.ts";

export interface EnvironmentOptions {
  /** Kept when the environment closes; left out: a folder of its own, deleted then. */
  readonly stateDir?: string;
  /** Servers beside the control plane. */
  readonly with: readonly Extra[];
  /** Whether the API server logs every write and every request of the operator; it costs it CPU. */
  readonly audit?: boolean;
  /** What Redis, MariaDB and Kafka show of themselves where they are to speak TLS. */
  readonly identity?: Identity;
  /** false: no control plane of its own. */
  readonly controlPlane?: boolean;
  readonly print: Print;
  /** Gives the start up; what has been started is stopped. */
  readonly signal?: AbortSignal;
}

/** A running environment, ours or another process's. */
export interface RunningEnvironment {
  readonly stateDir: string;
  /** What stands in `stateDir/env`. */
  readonly env: Readonly<Record<string, string>>;
  readonly servers: readonly Server[];
  /** @throws where the environment has no server of that name */
  server(name: ServerName): Server;
}

export interface Environment extends RunningEnvironment, AsyncDisposable {
  /** Stops every server. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts every server and resolves when all are healthy. They end with {@link Environment.close}, or when this process ends,
 * however it ends.
 * @throws EnvironmentProblem that says what a person has to mend
 */
export async function openEnvironment(options: EnvironmentOptions): Promise<Environment> {
  if (process.platform !== "linux") throw PROBLEM.notLinux(process.platform);
  await using opening = new AsyncDisposableStack();
  const machine = opening.use(await openMachine(options));
  const isEphemeral = options.stateDir === undefined;
  const stateDir = await claimStateDir(resolve(options.stateDir ?? (await mkdtemp(join(tmpdir(), "turnout-")))));
  opening.defer(() => leave(stateDir, isEphemeral));
  try {
    const { servers, env } = await startServers({ ...options, stateDir: stateDir.path, isEphemeral }, machine, opening);
    opening.defer(await openControl(stateDir.path, servers));
    await writePrivate(join(stateDir.path, ENV_FILE), formatEnv(env));
    const open = opening.move();
    const close = (): Promise<void> => open.disposeAsync();
    return { ...running(stateDir.path, env, servers), close, [Symbol.asyncDispose]: close };
  } catch (error) {
    throw isDiskFull(String(error))
      ? PROBLEM.diskFull({ path: stateDir.path, free: await freeSpace(stateDir.path) })
      : error;
  }
}

async function leave(stateDir: StateDir, isEphemeral: boolean): Promise<void> {
  await stateDir.release();
  if (isEphemeral) await deleteStateDir(stateDir.path);
}

/** The environment that another process runs in the folder. @throws where none does */
export async function connectEnvironment(stateDir: string): Promise<RunningEnvironment> {
  const env = parseEnv(await readFile(join(stateDir, ENV_FILE), "utf8"));
  return running(stateDir, env, await connectServers(stateDir));
}

function running(
  stateDir: string,
  env: Readonly<Record<string, string>>,
  servers: readonly Server[],
): RunningEnvironment {
  return {
    stateDir,
    env,
    servers,
    server(name) {
      const server = servers.find((one) => one.name === name);
      if (server === undefined) throw PROBLEM.unknownServer({ name, known: servers.map((one) => one.name).join(", ") });
      return server;
    },
  };
}
