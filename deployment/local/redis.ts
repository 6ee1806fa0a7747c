import { join } from "node:path";

import { seconds } from "../../src/lib/time.ts";
import { onPath, run } from "./command.ts";
import { librariesOf, unpackedDebian, type Unpacked } from "./debian-package.ts";
import type { ExtraServer, Identity } from "./extra.ts";
import type { Machine } from "./machine.ts";
import { makePrivateFolder, writePrivate } from "./private-file.ts";
import { PROBLEM } from "./problem.ts";
import { answersRedis } from "./probe.ts";
import type { ServerSpec } from "./server.ts";
import { isAtLeast } from "./version.ts";

/** Names a running Redis to use instead: `redis://:PASSWORD@HOST:PORT`. */
const REDIS_VARIABLE = "TURNOUT_LOCAL_REDIS_URL";

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

export const redis: ExtraServer = {
  fetch: redisBinary,
  async prepare({ stateDir, env, port, identity }, machine) {
    const named = await namedRedis(machine);
    if (named !== null) return { spec: null, env: await redisEnv(stateDir, named) };
    const number = await port();
    const password = machine.rng.id() + machine.rng.id();
    const secured = identity === undefined ? null : { identity, port: await port() };
    const binary = await redisBinary(machine);
    const spec = await redisSpec({ stateDir, binary, port: number, password, env, secured });
    const address = secured === null ? {} : { REDIS_TLS_ADDRESS: `127.0.0.1:${secured.port}` };
    return { spec, env: { ...(await redisEnv(stateDir, { address: spec.address, password })), ...address } };
  },
};

async function redisEnv(stateDir: string, access: RedisAccess): Promise<Record<string, string>> {
  const passwordFile = join(stateDir, "secrets", "redis-password");
  await writePrivate(passwordFile, `${access.password}\n`);
  return {
    REDIS_URL: redisUrl(access),
    REDIS_ADDRESS: access.address,
    REDIS_PASSWORD: access.password,
    REDIS_PASSWORD_FILE: passwordFile,
  };
}

/** The Redis that the variable names, once it has answered; null where it names none. */
async function namedRedis({ variables }: Pick<Machine, "variables">): Promise<RedisAccess | null> {
  const url = variables[REDIS_VARIABLE];
  if (!url) return null;
  const { hostname: host, port, password: encoded } = new URL(url);
  const password = decodeURIComponent(encoded);
  const answers = await answersRedis({ host, port: Number(port || 6379), password }).catch(() => false);
  if (!answers) throw PROBLEM.namedSilent({ variable: REDIS_VARIABLE, address: `${host}:${port || 6379}` });
  return { address: `${host}:${port || 6379}`, password };
}

interface RedisAccess {
  readonly address: string;
  readonly password: string;
}

const redisUrl = ({ address, password }: RedisAccess): string => `redis://:${encodeURIComponent(password)}@${address}`;

interface RedisLayout {
  readonly stateDir: string;
  readonly binary: Unpacked;
  readonly port: number;
  readonly password: string;
  readonly env: Readonly<Record<string, string>>;
  /** A further port, with TLS. */
  readonly secured: Secured | null;
}
interface Secured {
  readonly identity: Identity;
  readonly port: number;
}

const securedLines = ({ identity: { ca, cert, key }, port }: Secured): readonly string[] => [
  `tls-port ${port}`,
  `tls-cert-file ${JSON.stringify(cert)}`,
  `tls-key-file ${JSON.stringify(key)}`,
  `tls-ca-cert-file ${JSON.stringify(ca)}`,
  "tls-auth-clients no",
];

/** Writes its settings, the password among them: none is ever an argument (SEC-49). */
async function redisSpec({ stateDir, binary, port, password, env, secured }: RedisLayout): Promise<ServerSpec> {
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
    ...(secured === null ? [] : securedLines(secured)),
  ];
  await writePrivate(settings, `${lines.join("\n")}\n`);
  return {
    name: "redis",
    address: `127.0.0.1:${port}`,
    file: binary.file,
    args: [settings],
    env: { ...env, ...librariesOf(binary.libraryPath) },
    logFile: join(stateDir, "logs", "redis.log"),
    dataDir,
    endsWithin: seconds(10),
    isHealthy: () => answersRedis({ host: "127.0.0.1", port, password }),
  };
}
