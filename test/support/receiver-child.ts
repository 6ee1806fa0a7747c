// A service that embeds the receiver, as a process of its own: test/support/receiver-process.ts starts and kills it.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { localClock } from "../../deployment/local/clock.ts";
import { millisOf } from "../../src/lib/time.ts";
import { bearerFromFile } from "../../src/receiver/bearer-from-file.ts";
import { createReceiver } from "../../src/receiver/receiver.ts";
import { openRedisStore, type RedisPort } from "../../src/receiver/redis-store.ts";
import { openSqliteStore } from "../../src/receiver/sqlite-store.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import type { ChildOrder, ChildSettings } from "./receiver-process.ts";

const settings = JSON.parse(process.argv[2] ?? "") as ChildSettings;
const effects = new Map<string, number>();
const toFail = new Set<string>();
/** Tenants whose next apply neither ends nor listens to its signal before it is let go. */
const held = new Map<string, PromiseWithResolvers<void>>();

async function openStore(): Promise<ReceiverStore> {
  if ("sqlite" in settings.store) return openSqliteStore(settings.store.sqlite);
  const redis = new Redis(settings.store.redis, { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false });
  const port: RedisPort = { eval: (script, keys, args) => redis.eval(script, keys.length, ...keys, ...args) };
  return openRedisStore(port, settings.store.prefix);
}

const receiver = createReceiver({
  store: await openStore(),
  clock: localClock,
  authenticate: await bearerFromFile(settings.tokenFile, localClock),
  limits: { applyTimeout: millisOf(settings.applyTimeoutMs) },
  apply: async (_configuration, { tenant }) => {
    await held.get(tenant)?.promise;
    if (toFail.delete(tenant)) throw new Error("told to fail");
    effects.set(tenant, (effects.get(tenant) ?? 0) + 1);
  },
});

process.on("message", ({ order, tenant }: ChildOrder) => {
  if (order === "fail") toFail.add(tenant);
  if (order === "hold") held.set(tenant, Promise.withResolvers<void>());
  if (order === "let go") {
    held.get(tenant)?.resolve();
    held.delete(tenant);
  }
  process.send?.({ effects: effects.get(tenant) ?? 0 });
});

const server = createServer(receiver);
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.once("disconnect", () => process.exit(0));
