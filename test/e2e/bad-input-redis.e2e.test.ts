import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { writePrivate } from "../../deployment/local/private-file.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { conditionOf, released, type, wayOut } from "../support/person.ts";
import { connectTo } from "../support/stage-rig-redis.ts";
import { openRedisServer, type RedisServer } from "../support/stage-rig-redis-server.ts";
import { aSwitch, type Document, NOTIFY, openTestStand, ROUTE, type TestStand } from "../support/stand.ts";

interface Own extends AsyncDisposable {
  readonly stand: TestStand;
  readonly server: RedisServer;
  readonly key: string;
}

/** A stand whose endpoint `routing` is a Redis of its own. */
async function openOwn(settings: readonly string[] = [], credentials?: unknown): Promise<Own> {
  await using opening = new AsyncDisposableStack();
  const server = opening.use(await openRedisServer(settings));
  const { port } = server.at;
  const routing = {
    name: "routing",
    protocol: "redis",
    addresses: [`127.0.0.1:${port}`],
    ports: [port],
    allow: { keys: ["t"] },
    ...(credentials === undefined ? {} : { credentials }),
  };
  const stand = opening.use(await openTestStand(inject("env"), { endpoints: [routing] }));
  await stand.operator();
  const open = opening.move();
  return { stand, server, key: `${stand.namespace}:acme`, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** The stage failed; nobody was told yet, and the tenant is still this task's. */
async function failed({ stand }: Own, code: string, says: string): Promise<Document> {
  const task = await stand.phase("acme-green", "Failed");
  expect(at(task, "/status/failure")).toMatchObject({ code, stage: "route" });
  const stalled = conditionOf(task, "Stalled");
  expect(stalled).toMatchObject({ status: "True", reason: "Failed" });
  expect(stalled.message).toContain(says);
  expect(conditionOf(task, "stage.turnout.dev/route")).toMatchObject({ status: "False", reason: "Failed" });
  expect(await stand.green.effects()).toEqual([]);
  expect(at(await stand.tenant("acme"), "/status/holder/task")).toBe("acme-green");
  return task;
}

async function completes({ stand, server, key }: Own, task: Document, password?: string): Promise<void> {
  await type(stand, wayOut(task));
  await stand.phase("acme-green", "Completed");
  const db = connectTo({ ...server.at, ...(password === undefined ? {} : { password }) });
  expect(await db.hgetall(key)).toEqual({ unit: "green", version: "42" });
  db.disconnect();
  expect(await stand.green.state(`${stand.namespace}/acme`)).toMatchObject({ version: 42 });
}

describe("a Redis that is not as it should be", () => {
  test("[redis/down] down: tried three times, then Failed; up again, the named command goes on", async () => {
    await using own = await openOwn();
    const { stand, server } = own;
    await server.kill();
    await stand.create(aSwitch(stand));
    const task = await failed(own, "ConnectRefused", `routing: 127.0.0.1:${server.at.port} refused the connection`);
    expect(at(task, "/status/stages/0/attempts")).toBe(3);
    await server.restart([]);
    await completes(own, task);
  });

  test("[redis/denied] wrong type: what is there stays as it is; moved away, the named command goes on", async () => {
    await using own = await openOwn();
    const { stand, server, key } = own;
    await server.db.rpush(key, "somebody", "else");
    await stand.create(aSwitch(stand));
    const task = await failed(
      own,
      "RedisWrongType",
      `routing: ${key} holds another type; delete or rename what is there`,
    );
    expect(at(task, "/status/stages/0/attempts")).toBe(1);
    expect(await server.db.lrange(key, 0, -1)).toEqual(["somebody", "else"]);
    await server.db.rename(key, "kept");
    await completes(own, task);
    expect(await server.db.lrange("kept", 0, -1)).toEqual(["somebody", "else"]);
  });

  test("[redis/denied] wrong type and no way on: rolled back, what is there still stays", async () => {
    await using own = await openOwn();
    const { stand, server, key } = own;
    await server.db.rpush(key, "somebody", "else");
    await stand.create(aSwitch(stand, { stages: [ROUTE(stand.namespace), NOTIFY] }));
    await failed(own, "RedisWrongType", "holds another type");
    await stand.patch("acme-green", { rollback: true });
    const task = await stand.phase("acme-green", "RolledBack");
    expect(at(task, "/status/stages/0")).toMatchObject({ name: "route", state: "RolledBack" });
    expect(await server.db.lrange(key, 0, -1)).toEqual(["somebody", "else"]);
    await released(stand, "acme");
  });

  test("[redis/denied] wrong password: said without the password; corrected, the named command goes on", async () => {
    const env = inject("env");
    const file = join(env["REDIS_PASSWORD_FILE"] ?? "", "..", `wrong-${process.pid}`);
    await writePrivate(file, "correct-horse\n");
    await using own = await openOwn([], { password: { file } });
    const { stand, server } = own;
    await server.db.config("SET", "requirepass", "battery-staple");
    await stand.create(aSwitch(stand));
    const task = await failed(own, "RedisDenied", "correct the credentials or the ACL, then retry");
    expect(JSON.stringify(task)).not.toMatch(/correct-horse|battery-staple/);
    await server.db.config("SET", "requirepass", "correct-horse");
    await completes(own, task, "correct-horse");
  });

  test("[redis/denied] may evict records: refused before anything is written; set right, the named command goes on", async () => {
    await using own = await openOwn(["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    const { stand, server } = own;
    await stand.create(aSwitch(stand));
    const task = await failed(own, "RedisEvicts", "routing may evict records (maxmemory-policy allkeys-lru)");
    expect(await server.db.keys("*")).toEqual([]);
    await server.db.config("SET", "maxmemory-policy", "noeviction");
    await completes(own, task);
  });
});
