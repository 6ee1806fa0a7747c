import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { inject } from "vitest";
import { openFencedStore } from "../../src/infra/cache/fenced.ts";
import type { RedisEndpoint } from "../../src/infra/config/endpoint-settings.ts";
import { companionKey } from "../../src/lib/companion-key.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import type { Boundary } from "../../src/lib/seams.ts";
import type { Ports } from "../../src/stages/stage.ts";
import { openRig, redisEndpoint, type Rig } from "./egress/rig.ts";
import { aGate, type At, type EffectRig, openStage, type Stage } from "./stage-rig.ts";
import { fenceOf } from "./receiver-build.ts";
import { openTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** Where a Redis is, and how one logs in. */
export interface RedisAt {
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string;
}

/** The server of the test environment. */
export function environmentRedis(): RedisAt {
  const { REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
  const [host = "", port = ""] = REDIS_ADDRESS.split(":");
  return { host, port: Number(port), password: REDIS_PASSWORD };
}

export interface RedisStageAbout {
  /** Of the stage, without endpoint and key. */
  readonly config: JsonObject;
  /** Default: the environment's own. */
  readonly server?: RedisAt;
  /** As whom the stage logs in; default: as the server's default user. */
  readonly as?: Pick<RedisAt, "username" | "password"> | null;
  /** Without the proxy, so that a closed port is a closed port. */
  readonly direct?: boolean;
  readonly boundary?: Boundary;
  readonly previous?: object | null;
  readonly tenantId?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly planVersion?: number;
  /** Of a rig that writes the same key. */
  readonly key?: string;
}

export interface RedisStage extends AsyncDisposable {
  readonly stage: Stage;
  readonly db: Redis;
  readonly rig: Rig;
  readonly ports: Ports;
  /** The stage's bytes pass it. */
  readonly proxy: TcpProxy;
  /** Where the proxy leads new connections. */
  readonly route: { host: string; port: number };
  readonly key: string;
  readonly recordKey: string;
  readonly channel: string;
  /** Type, content and expiry of the key, byte for byte. */
  readonly image: () => Promise<string>;
  record(): Promise<Readonly<Record<string, string>>>;
  /** Connects, logs in and loads the scripts, on a key of its own. */
  warmUp(): Promise<void>;
}

/** A redis stage over the operator's own port, guard and scripts. */
export async function openRedisStage(about: RedisStageAbout): Promise<RedisStage> {
  const server = about.server ?? environmentRedis();
  const prefix = `stages:${randomBytes(6).toString("hex")}:`;
  const key = about.key ?? `${prefix}tenant`;
  const route = { host: server.host, port: server.port };
  const proxy = await openTcpProxy(route);
  const as = about.as === undefined ? server : about.as;
  const endpoint = endpointFor(about.direct === true ? server.port : proxy.port, as);
  const rig = openRig({
    endpoints: [endpoint],
    env: { TURNOUT_SECRET_U: as?.username ?? "", TURNOUT_SECRET_P: as?.password ?? "" },
    ...(about.boundary === undefined ? {} : { boundary: about.boundary }),
  });
  const ports: Ports = { http: rig.http, redis: openFencedStore(new Map([["routing", rig.redis()]])) };
  const db = connectTo(server);
  const { previous, tenantId = "acme", namespace, uid, planVersion } = about;
  const stage = openStage({
    kind: "redis",
    config: { endpoint: "routing", key, ...about.config },
    ports,
    endpoints: [endpoint],
    tenantId,
    ...(previous === undefined ? {} : { previous }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(planVersion === undefined ? {} : { planVersion }),
  });
  return {
    stage,
    db,
    rig,
    ports,
    proxy,
    route,
    key,
    recordKey: companionKey(key),
    channel: `${prefix}channel`,
    image: () => imageOf(db, key),
    record: () => db.hgetall(companionKey(key)),
    warmUp: async () => {
      const config = { endpoint: "routing", key: `${key}:warm`, string: { value: "" } };
      const other = openStage({ kind: "redis", config, ports, endpoints: [endpoint], tenantId });
      await other.run({ seq: 1 });
      await other.undo({ seq: 2 });
      await db.del(companionKey(`${key}:warm`));
    },
    [Symbol.asyncDispose]: async () => {
      await rig[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await db.del(key, companionKey(key)).catch(() => 0);
      db.disconnect();
    },
  };
}

function endpointFor(port: number, as: Pick<RedisAt, "username" | "password"> | null): RedisEndpoint {
  const password = { env: "TURNOUT_SECRET_P" };
  const credentials =
    as?.password === undefined
      ? {}
      : { credentials: as.username === undefined ? { password } : { username: { env: "TURNOUT_SECRET_U" }, password } };
  return redisEndpoint({ addresses: [`127.0.0.1:${port}`], ports: [port], ...credentials });
}

/** A person's own connection, which hides nothing and tries nothing twice. */
export function connectTo({ host, port, username, password }: RedisAt): Redis {
  const client = new Redis({
    host,
    port,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    maxRetriesPerRequest: 1,
    retryStrategy: (times) => (times > 20 ? null : 50),
  });
  client.on("error", () => undefined);
  return client;
}

/** Everything that a client could see of a key. */
export async function imageOf(db: Redis, key: string): Promise<string> {
  const type = await db.type(key);
  const expires = await db.pexpiretime(key);
  switch (type) {
    case "none":
      return "absent";
    case "string":
      return `string ${(await db.getBuffer(key))?.toString("latin1")} expires ${expires}`;
    case "hash": {
      const fields = await db.hgetallBuffer(key);
      const pairs = Object.entries(fields).map(([name, value]) => `${name}=${value.toString("latin1")}`);
      return `hash ${pairs.toSorted().join(" ")} expires ${expires}`;
    }
    default:
      return `${type} ${(await db.dump(key)) ?? ""}`;
  }
}

/** Everything that is told on a channel, in order. */
export interface Ear extends AsyncDisposable {
  /** What was told until now; nothing that was sent before the call is missing. */
  heard(): Promise<readonly string[]>;
}

export async function listenTo(server: RedisAt, channel: string): Promise<Ear> {
  const ear = connectTo(server);
  const mouth = connectTo(server);
  const messages: string[] = [];
  const waiting = new Map<string, () => void>();
  await ear.subscribe(channel);
  ear.on("message", (_channel, message: string) => {
    const resolve = waiting.get(message);
    if (resolve === undefined) messages.push(message);
    else resolve();
  });
  return {
    heard: async () => {
      // A channel keeps order: once this has come, everything before it has.
      const sentinel = randomBytes(8).toString("hex");
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.set(sentinel, resolve);
      await mouth.publish(channel, sentinel);
      await promise;
      return [...messages];
    },
    [Symbol.asyncDispose]: async () => {
      ear.disconnect();
      mouth.disconnect();
    },
  };
}

const FORWARD = "switched";
const CONFIGS: Readonly<Record<"hash" | "string", JsonObject>> = {
  hash: { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" },
  string: { string: { value: "${target.deployUnit.name}" } },
};

/** A key with content of ours and of others, and what the contract suite does to it. */
export async function redisRig(mode: "hash" | "string"): Promise<EffectRig> {
  const channel = `stages:${randomBytes(6).toString("hex")}:channel`;
  const config = { ...CONFIGS[mode], publish: { channel, payload: FORWARD, undo: "switched back" } };
  const opened = await openRedisStage({ config });
  const { db, key, recordKey, stage, proxy } = opened;
  const ear = await listenTo(environmentRedis(), channel);
  if (mode === "hash") await db.hset(key, { unit: "blue", version: "41", owner: "ops" });
  else await db.set(key, "blue");
  const before = await opened.image();
  const after = mode === "hash" ? "hash owner=ops unit=green version=42 expires -1" : "string green expires -1";
  const late: RedisStage[] = [];
  return {
    stage,
    state: opened.image,
    before,
    after,
    fence: async () => (await opened.record()).fence ?? null,
    effects: async () => (await ear.heard()).filter((message) => message === FORWARD).length,
    delay: async (at: At) => {
      const boundary = aGate();
      const other = await openRedisStage({ config, key, boundary });
      late.push(other);
      const outcome = other.stage.run(at);
      await boundary.reached;
      return {
        deliver: () => {
          boundary.open();
          return outcome;
        },
      };
    },
    takenByOthers: async () =>
      void (await db.hset(recordKey, { tenant: "prod/acme", opId: "theirs", fence: fenceOf(9) })),
    unreadable: async () => proxy[Symbol.asyncDispose](),
    down: async () => proxy[Symbol.asyncDispose](),
    loseAnswers: async () => {
      await opened.warmUp();
      proxy.swallow("toClient");
    },
    mend: () => proxy.clear(),
    arrived: () => proxy.passed.toServer,
    [Symbol.asyncDispose]: async () => {
      for (const other of late) await other[Symbol.asyncDispose]();
      await ear[Symbol.asyncDispose]();
      await opened[Symbol.asyncDispose]();
    },
  };
}
