import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createConnection } from "mysql2/promise";
import { reservePort } from "../../deployment/local/ports.ts";
import type { Started } from "../../src/infra/boot/boot-all.ts";
import type { Kit, KitOptions, KitServer } from "../../src/infra/boot/kit.ts";
import { openKit } from "../../src/infra/boot/open-kit.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

export interface KitRig extends AsyncDisposable {
  /** Lines to etcd and Redis that can be spoilt, and whose connections can be counted. */
  readonly etcd: TcpProxy;
  readonly redis: TcpProxy;
  /** Null where the database is embedded. */
  readonly mysql: TcpProxy | null;
  readonly stop: AbortController;
  readonly port: number;
  readonly closed: readonly string[];
  /** Root of the configuration tree. */
  readonly files: string;
  /** The environment that a process of the service gets. */
  readonly env: Readonly<Record<string, string>>;
  /** Writes a file of the configuration tree, below `test/im-repo/`. */
  put(component: string, value: unknown): Promise<void>;
  start(about?: Partial<Pick<KitOptions, "stores" | "servers" | "files" | "registered">>): Promise<Started<Kit>>;
  said(): readonly Readonly<Record<string, unknown>>[];
  page(path: string): Promise<{ readonly status: number; readonly body: string }>;
}

export interface KitAsked {
  readonly etcd: string;
  readonly redis: string;
  readonly password: string;
  /** With it, `mysql://…` of one who may create databases, there is a database of the rig's own on a server. */
  readonly mysql?: string;
  /** With it there is a queue. */
  readonly kafka?: string;
}

/** im-repo in the environment `test`, on real servers, with a tree of its own. */
export async function openKitRig(asked: KitAsked): Promise<KitRig> {
  const [etcd, redis] = [await openTcpProxy(targetOf(asked.etcd)), await openTcpProxy(targetOf(asked.redis))];
  const root = await mkdtemp(join(tmpdir(), "turnout-kit-"));
  const reserved = await reservePort({ rng: systemRng });
  const port = reserved.number;
  const lines: string[] = [];
  const closed: string[] = [];
  const stop = new AbortController();
  const put = async (component: string, value: unknown): Promise<void> => {
    const file = join(root, "config", "test", "im-repo", `${component}.json`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, typeof value === "string" ? value : JSON.stringify(value));
  };
  await put("metrics", { listenAddr: `127.0.0.1:${port}` });
  await put("cache", {
    addr: `127.0.0.1:${redis.port}`,
    tls: "None",
    password: { env: "TURNOUT_SECRET_REDIS" },
    keyPrefix: `kit:${process.pid}:${port}:`,
    minIdleConns: 1,
    maxRetries: 0,
  });
  const mysql = asked.mysql === undefined ? null : await openTcpProxy(targetOf(asked.mysql));
  const database = `kit_${process.pid}_${port}`;
  const onServer = { addr: `127.0.0.1:${mysql?.port}`, username: "root", password: { env: "TURNOUT_SECRET_DB" } };
  await put("db", mysql === null ? { driver: "sqlite" } : { ...onServer, tls: "None", database });
  if (asked.kafka !== undefined) await put("mq", { brokers: asked.kafka.split(","), tls: "None", ...QUICK });
  await put("coord", { tls: "None" });
  const web: KitServer = { name: "web", open: async () => ({ close: async () => void closed.push("web") }) };
  const write = (line: string): void => void lines.push(line);
  const files = join(root, "config");
  const env = {
    APP_ENV: "test",
    COORD_ENDPOINTS: `http://127.0.0.1:${etcd.port}`,
    TURNOUT_SECRET_REDIS: asked.password,
    ...(asked.mysql === undefined ? {} : { TURNOUT_SECRET_DB: decodeURIComponent(new URL(asked.mysql).password) }),
  };
  return {
    etcd,
    redis,
    mysql,
    stop,
    port,
    closed,
    files,
    env,
    put,
    start: (about = {}) =>
      openKit(
        {
          service: "im-repo",
          version: "1.2.3",
          instance: "im-repo-0",
          files,
          snapshots: null,
          stores: { cache: "required", db: "required" },
          servers: () => [web],
          ...about,
        },
        {
          clock: systemClock,
          rng: systemRng,
          resolve: () => Promise.reject(new Error("no names here")),
          env,
          stdout: { write },
          stderr: { write },
          signal: stop.signal,
        },
      ),
    said: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    page: async (path) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } });
      return { status: answer.status, body: await answer.text() };
    },
    [Symbol.asyncDispose]: async () => {
      await etcd[Symbol.asyncDispose]();
      await redis[Symbol.asyncDispose]();
      await mysql?.[Symbol.asyncDispose]();
      if (asked.mysql !== undefined) await dropDatabase(asked.mysql, database);
      await rm(root, { recursive: true, force: true });
      await reserved.release();
    },
  };
}

/** Quick to miss a member and to try again. */
const QUICK = {
  consumer: {
    sessionTimeout: "3s",
    heartbeat: "300ms",
    fetchWait: "50ms",
    retryBackoff: { min: "1ms", max: "20ms" },
  },
};

async function dropDatabase(url: string, name: string): Promise<void> {
  const connection = await createConnection(url);
  await connection.query(`DROP DATABASE IF EXISTS ${name}`).finally(() => connection.destroy());
}

function targetOf(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(address.includes("://") ? address : `redis://${address}`);
  return { host: hostname, port: Number(port) };
}
