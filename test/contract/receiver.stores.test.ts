import { fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { describe, expect, inject, test } from "vitest";
import { openMemoryStore } from "../../src/receiver/memory-store.ts";
import { openRedisStore, type RedisPort } from "../../src/receiver/redis-store.ts";
import { openSqliteStore } from "../../src/receiver/sqlite-store.ts";
import type { ReceiverStore } from "../../src/receiver/store.ts";
import { aRecord, fenceOf, TENANT } from "../support/receiver-build.ts";
import { trialFolder } from "../support/receiver-target.ts";

interface Rig extends AsyncDisposable {
  readonly store: ReceiverStore;
  /** Closes it and opens what it left behind. */
  reopen(): Promise<ReceiverStore>;
  /** Puts something else in the place of a stored record. */
  damage(tenant: string, text: string): Promise<void>;
}

async function memoryRig(): Promise<Rig> {
  const store = openMemoryStore();
  return {
    store,
    reopen: async () => store,
    damage: () => Promise.reject(new Error("nothing to damage")),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function sqliteRig(): Promise<Rig> {
  const folder = await trialFolder();
  const path = join(folder.path, "receiver.db");
  let store = openSqliteStore(path);
  return {
    store,
    reopen: async () => {
      await store.close();
      store = openSqliteStore(path);
      return store;
    },
    damage: async (tenant, text) => {
      await store.close();
      const database = new DatabaseSync(path);
      database.prepare("UPDATE tenants SET record = ? WHERE tenant = ?").run(text, tenant);
      database.close();
      store = openSqliteStore(path);
    },
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function openRedis() {
  const redis = new Redis(inject("env").REDIS_URL ?? "", { maxRetriesPerRequest: 0 });
  const port: RedisPort = { eval: (script, keys, args) => redis.eval(script, keys.length, ...keys, ...args) };
  return { redis, port };
}

async function redisRig(): Promise<Rig> {
  const folder = await trialFolder();
  const prefix = `stores:${folder.path}:`;
  const { redis, port } = openRedis();
  return {
    store: await openRedisStore(port, prefix),
    reopen: () => openRedisStore(port, prefix),
    damage: async (tenant, text) => void (await redis.hset(prefix + tenant, "record", text)),
    [Symbol.asyncDispose]: async () => {
      await redis.quit();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const RIGS = { memory: memoryRig, SQLite: sqliteRig, Redis: redisRig };
const DURABLE = { SQLite: sqliteRig, Redis: redisRig };

const first = aRecord({ revision: 1 });
const second = aRecord({ revision: 2, fence: fenceOf(6) });

describe.each(Object.entries(RIGS))("the %s store", (_name, open) => {
  test("knows nothing of a tenant that was never stored", async () => {
    await using rig = await open();
    expect(await rig.store.load(TENANT)).toBeNull();
  });

  test("gives back what was stored, per tenant", async () => {
    await using rig = await open();
    expect(await rig.store.save(TENANT, first)).toBe("stored");
    expect(await rig.store.save("prod/umbrella", { ...first, opId: "other" })).toBe("stored");
    expect(await rig.store.load(TENANT)).toEqual(first);
  });

  test("takes the next revision only", async () => {
    await using rig = await open();
    expect(await rig.store.save(TENANT, second)).toBe("changed");
    await rig.store.save(TENANT, first);
    expect(await rig.store.save(TENANT, first)).toBe("changed");
    expect(await rig.store.save(TENANT, { ...second, revision: 3 })).toBe("changed");
    expect(await rig.store.save(TENANT, second)).toBe("stored");
    expect(await rig.store.load(TENANT)).toEqual(second);
  });

  test("[S10] never lowers a fence, whatever the revision says", async () => {
    await using rig = await open();
    await rig.store.save(TENANT, first);
    await rig.store.save(TENANT, second);
    expect(await rig.store.save(TENANT, { ...first, revision: 3 })).toBe("changed");
    expect(await rig.store.load(TENANT)).toEqual(second);
  });

  test("of many that write the same revision at once, one is stored", async () => {
    await using rig = await open();
    const saves = Array.from({ length: 20 }, (_, i) => rig.store.save(TENANT, { ...first, opId: `op${i}` }));
    const stored = (await Promise.all(saves)).flatMap((outcome, i) => (outcome === "stored" ? [`op${i}`] : []));
    expect(stored).toHaveLength(1);
    expect((await rig.store.load(TENANT))?.opId).toBe(stored[0]);
  });
});

describe.each(Object.entries(DURABLE))("the durable %s store", (_name, open) => {
  test("says that it is durable, and keeps its records over a restart", async () => {
    await using rig = await open();
    await rig.store.save(TENANT, first);
    await rig.store.save(TENANT, second);
    const again = await rig.reopen();
    expect(again.durable).toBe(true);
    expect(await again.load(TENANT)).toEqual(second);
    expect(await again.save(TENANT, { ...first, revision: 3 })).toBe("changed");
  });

  test.each(["", "{}", "null", '{"fence":"~"}'])(
    "throws on the damaged record %j instead of forgetting it",
    async (text) => {
      await using rig = await open();
      await rig.store.save(TENANT, first);
      await rig.damage(TENANT, text);
      const again = await rig.reopen();
      await expect(again.load(TENANT)).rejects.toThrow(/damaged/);
      expect(await again.save(TENANT, first)).toBe("changed");
    },
  );
});

test("the memory store says that it forgets", () => {
  expect(openMemoryStore()).toMatchObject({ durable: false, shared: false });
});

describe("the SQLite file", () => {
  const HOLDER = fileURLToPath(new URL("../support/sqlite-holder.ts", import.meta.url));

  test("[S9] belongs to one process, until that one is dead", async () => {
    await using folder = await trialFolder();
    const path = join(folder.path, "receiver.db");
    const holder = fork(HOLDER, [path], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    await once(holder, "message");
    expect(() => openSqliteStore(path)).toThrow(/held by another process/);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    const store = openSqliteStore(path);
    expect(await store.load(TENANT)).toEqual(first);
    await store.close();
    await store.close(); // twice is no error
  });

  test.each([
    ["in a folder that is not there", "nowhere/receiver.db", /cannot be opened/],
    ["that is no database", "text", /another kind/],
    ["of a newer release", "newer", /newer release/],
  ])("%s is refused with a way out", async (_what, name, message) => {
    await using folder = await trialFolder();
    await writeFile(join(folder.path, "text"), "x".repeat(4096));
    const newer = new DatabaseSync(join(folder.path, "newer"));
    newer.exec("PRAGMA user_version = 2");
    newer.close();
    expect(() => openSqliteStore(join(folder.path, name))).toThrow(message);
  });
});

describe("the Redis records", () => {
  test("[SEC-31] a malformed fence is compared with nothing and stored nowhere", async () => {
    await using rig = await redisRig();
    await rig.store.save(TENANT, first);
    const malformed = { ...second, fence: "~" as typeof second.fence };
    await expect(rig.store.save(TENANT, malformed)).rejects.toThrow(/malformed fence/);
    expect(await rig.store.load(TENANT)).toEqual(first);
  });

  test("never expire, even where somebody set an expiry", async () => {
    await using folder = await trialFolder();
    const { redis, port } = openRedis();
    const prefix = `stores:${folder.path}:`;
    const store = await openRedisStore(port, prefix);
    await store.save(TENANT, first);
    await redis.expire(prefix + TENANT, 1000);
    await store.save(TENANT, second);
    expect(await redis.ttl(prefix + TENANT)).toBe(-1);
    expect(new Set(await redis.hkeys(prefix + TENANT))).toEqual(new Set(["revision", "fence", "record"]));
    await redis.quit();
  });

  const server = (facts: string): RedisPort => ({ eval: async () => facts });
  test.each(["allkeys-lru", "allkeys-lfu", "allkeys-random"])(
    "a server that evicts by %s is refused",
    async (policy) => {
      const facts = `maxmemory_policy:${policy}\r\naof_enabled:1\r\n`;
      await expect(openRedisStore(server(facts))).rejects.toThrow(/may evict fences/);
    },
  );

  test("a server that does not say how it evicts is refused", async () => {
    await expect(openRedisStore(server(""))).rejects.toThrow(/unknown/);
  });

  test("a server without an append-only file counts as one that forgets", async () => {
    const store = await openRedisStore(server("maxmemory_policy:noeviction\r\naof_enabled:0\r\n"));
    expect(store).toMatchObject({ durable: false, shared: true });
  });
});
