import { join } from "node:path";

import { seconds } from "../../src/lib/time.ts";
import { onPath, run } from "./command.ts";
import { unpackedDebian, type Unpacked } from "./debian-package.ts";
import type { Machine } from "./machine.ts";
import { makePrivateFolder, writePrivate } from "./private-file.ts";
import { PROBLEM } from "./problem.ts";
import { answersRedis } from "./probe.ts";
import type { ServerSpec } from "./server.ts";
import { isAtLeast } from "./version.ts";

/** Names a running Redis to use instead: `redis://:PASSWORD@HOST:PORT`. */
export const REDIS_VARIABLE = "TURNOUT_LOCAL_REDIS_URL";

/** The first that takes `set-proc-title`. */
const OLDEST = "6.2";

export async function redisBinary(machine: Machine): Promise<Unpacked> {
  const file = await onPath("redis-server", machine);
  if (file !== null) {
    const { stdout } = await run({ file, args: ["--version"], timeout: seconds(20) }, machine);
    if (isAtLeast(/v=(\d+\.\d+)/.exec(stdout)?.[1] ?? "", OLDEST)) return { file, libraryPath: "" };
  }
  return unpackedDebian({ command: "redis-server", debian: "redis-server", variable: REDIS_VARIABLE }, machine);
}

/** The Redis that the variable names, once it has answered; null where it names none. */
export async function namedRedis({ variables }: Pick<Machine, "variables">): Promise<RedisAccess | null> {
  const url = variables[REDIS_VARIABLE];
  if (!url) return null;
  const { hostname: host, port, password: encoded } = new URL(url);
  const password = decodeURIComponent(encoded);
  const answers = await answersRedis({ host, port: Number(port || 6379), password }).catch(() => false);
  if (!answers) throw PROBLEM.namedSilent({ variable: REDIS_VARIABLE, address: `${host}:${port || 6379}` });
  return { address: `${host}:${port || 6379}`, password };
}

export interface RedisAccess {
  readonly address: string;
  readonly password: string;
}

export const redisUrl = ({ address, password }: RedisAccess): string =>
  `redis://:${encodeURIComponent(password)}@${address}`;

export interface RedisLayout {
  readonly stateDir: string;
  readonly binary: Unpacked;
  readonly port: number;
  readonly password: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Writes its settings, the password among them: none is ever an argument (SEC-49). */
export async function redisSpec({ stateDir, binary, port, password, env }: RedisLayout): Promise<ServerSpec> {
  const dataDir = join(stateDir, "data", "redis");
  await makePrivateFolder(dataDir);
  const settings = join(stateDir, "secrets", "redis.conf");
  const lines = [
    "bind 127.0.0.1",
    `port ${port}`,
    `requirepass ${password}`,
    `dir ${JSON.stringify(dataDir)}`,
    "maxmemory-policy noeviction",
    // A restart finds every write again. No rewriting: it would fork.
    "appendonly yes",
    "appendfsync everysec",
    "auto-aof-rewrite-percentage 0",
    'save ""',
    // A new title would overwrite the variables by which a test run finds what it left behind.
    "set-proc-title no",
  ];
  await writePrivate(settings, `${lines.join("\n")}\n`);
  return {
    name: "redis",
    address: `127.0.0.1:${port}`,
    file: binary.file,
    args: [settings],
    env: { ...env, ...(binary.libraryPath === "" ? {} : { LD_LIBRARY_PATH: binary.libraryPath }) },
    logFile: join(stateDir, "logs", "redis.log"),
    dataDir,
    endsWithin: seconds(10),
    isHealthy: () => answersRedis({ host: "127.0.0.1", port, password }),
  };
}
