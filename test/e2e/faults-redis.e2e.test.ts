import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { seconds } from "../../src/lib/time.ts";
import { create } from "../support/fault-walk.ts";
import { textAt } from "../support/stand-read.ts";
import { aSwitch, type Document, openTestStand, type TestStand } from "../support/stand.ts";
import { BOTH, openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

// The real operator, the real Redis, and a line between them that goes wrong while the stage writes.

/** A stage that was tried: its claim stands, or an attempt failed. */
const isTried = (task: Document): boolean => Number(textAt(task, "/status/stages/0/attempts")) >= 1;
const isUnknown = (task: Document): boolean => textAt(task, "/status/stages/0/outcome") === "Unknown";
const isDoubted = (task: Document): boolean => isUnknown(task) || isRepeated(task);
const isRepeated = (task: Document): boolean => Number(textAt(task, "/status/stages/0/attempts")) >= 2;

const ROWS: readonly (readonly [what: string, spoil: (line: TcpProxy) => void, until: (task: Document) => boolean])[] =
  [
    [
      "[redis/down] nobody takes a connection: tried again",
      (line) => {
        line.refuse();
        line.cut();
      },
      isRepeated,
    ],
    ["[redis/silent] nothing comes through any more: nobody knows", (line) => line.hold(...BOTH), isUnknown],
    ["[redis/lost] carried out, the answers vanish: found in force", (line) => line.swallow("toClient"), isUnknown],
    ["[redis/lost] every answer is cut short", (line) => line.cutAfter(3, "toClient"), isDoubted],
    ["[redis/hostile] a flipped bit in every connection's answer", (line) => line.flip(0, "toClient"), isDoubted],
    ["[redis/silent] every answer comes after its attempt gave up", (line) => line.delay(1500, "toClient"), isDoubted],
  ];

let stand: TestStand;
let line: TcpProxy;
beforeAll(async () => {
  const env = inject("env");
  const redis = env["REDIS_ADDRESS"] ?? "";
  line = await openTcpProxy({ host: "127.0.0.1", port: Number(redis.slice(redis.lastIndexOf(":") + 1)) });
  const routing = {
    name: "routing",
    protocol: "redis",
    addresses: [`127.0.0.1:${line.port}`],
    ports: [line.port],
    allow: { keys: [`t${process.pid}-`] },
    credentials: { password: { file: env["REDIS_PASSWORD_FILE"] ?? "" } },
  };
  const retry = { maxAttempts: 20, backoff: { initial: "100ms", factor: 2, max: "400ms" } };
  const defaults = { attemptTimeout: "2s", instanceTimeout: "1s", retry };
  stand = await openTestStand(env, { operator: { defaults }, endpoints: [routing] });
  await stand.operator();
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await line[Symbol.asyncDispose]();
});

const WRITE = {
  name: "route",
  redis: {
    endpoint: "routing",
    key: "${namespace}:${tenantId}",
    hash: { fields: { unit: "${target.deployUnit.name}" } },
    versionField: "version",
  },
};

describe("[S26] a line to Redis that goes wrong in the middle of a write", () => {
  test.for(ROWS.map((row, i) => [...row, `line-${i}`] as const))(
    "%s; mended, the write is there once",
    async ([, spoil, tried, name], { expect }) => {
      const key = `${stand.namespace}:${name}`;
      await stand.redis.hset(key, { unit: "blue", version: "41", owner: "ops" });
      spoil(line);
      await create(stand, aSwitch(stand, { name, tenantId: name, stages: [WRITE] }));
      await stand.until(name, "to be tried", tried);
      line.clear();
      line.cut();
      await stand.over(name, "Completed", seconds(40));
      expect(await stand.redis.hgetall(key)).toEqual({ unit: "green", version: "42", owner: "ops" });
    },
  );

  test("[redis/late] [S8] held on the way while the task is turned back: the undo waits for what it knows, and is the last", async ({
    expect,
  }) => {
    const name = "held";
    const key = `${stand.namespace}:${name}`;
    await stand.redis.hset(key, { unit: "blue", version: "41" });
    line.hold("toServer");
    await create(stand, aSwitch(stand, { name, tenantId: name, stages: [WRITE] }));
    await stand.until(name, "to be tried", isTried);
    await stand.patch(name, { rollback: true });
    line.release();
    await stand.over(name, "RolledBack", seconds(40));
    expect(await stand.redis.hgetall(key)).toEqual({ unit: "blue", version: "41" });
  });
});
