import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { fenceOf } from "../support/receiver-build.ts";
import {
  type Ear,
  environmentRedis,
  listenTo,
  openRedisStage,
  type RedisStage,
  type RedisStageAbout,
} from "../support/stage-rig-redis.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } } };
/** What a service of the system wants to be told (R55). */
const PAYLOAD: JsonObject = {
  tenant: "${namespace}/${tenantId}",
  appName: "im-gateway",
  version: "${plan.version}",
  timestamp: "${now}",
};
const told = (version: number): JsonObject => ({
  tenant: "prod/acme",
  appName: "im-gateway",
  version,
  timestamp: "2026-06-01T12:00:00.000Z",
});
const done = { is: "done" };

interface Heard extends RedisStage {
  /** Everything told on the channel, decoded. */
  heard(): Promise<readonly Json[]>;
}

async function openHeard(
  publish: (channel: string) => JsonObject,
  about: Partial<RedisStageAbout> = {},
): Promise<Heard> {
  const channel = `stages:${randomBytes(6).toString("hex")}:told`;
  const ear: Ear = await listenTo(environmentRedis(), channel);
  const it = await openRedisStage({ config: { ...HASH, publish: publish(channel) }, ...about });
  return {
    ...it,
    heard: async () => (await ear.heard()).map((text) => JSON.parse(text) as Json),
    [Symbol.asyncDispose]: async () => {
      await it.db.del(channel);
      await ear[Symbol.asyncDispose]();
      await it[Symbol.asyncDispose]();
    },
  };
}

const toChannel = (channel: string): JsonObject => ({ channel, payload: PAYLOAD });

describe("PUBLISH", () => {
  test("[R55] tells once per operation, and with the previous version once more when it is undone", async () => {
    await using it = await openHeard(toChannel);
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.run({ seq: 11 });
    expect(await it.heard()).toEqual([told(42)]);
    await it.stage.undo({ seq: 20, base: 11 });
    await it.stage.undo({ seq: 22, base: 21 });
    expect(await it.heard()).toEqual([told(42), told(41)]);
  });

  test("tells the text of a payload that is text, and undo tells its own", async () => {
    await using it = await openHeard((channel) => ({
      channel,
      payload: '"to ${target.deployUnit.name}"',
      undo: { back: "${target.deployUnit.name}" },
    }));
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.undo({ seq: 20, base: 10 });
    expect(await it.heard()).toEqual(["to green", { back: "blue" }]);
  });

  test("a first placement is undone with what the stage itself says", async () => {
    await using it = await openHeard((channel) => ({ channel, payload: PAYLOAD, undo: { gone: "${tenantId}" } }), {
      previous: null,
    });
    await it.stage.run({ seq: 10, base: 1 });
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await it.heard()).toEqual([told(42), { gone: "acme" }]);
    expect(await it.image()).toBe("absent");
  });

  test("the data stands when subscribers hear of it", async () => {
    await using it = await openHeard(toChannel);
    const { promise, resolve } = Promise.withResolvers<string | null>();
    const subscriber = it.db.duplicate();
    const reader = it.db.duplicate();
    const config = it.stage.call("Forward", null, { seq: 10 }).inputs as { publish: { channel: string } };
    await subscriber.subscribe(config.publish.channel);
    subscriber.on("message", () => void reader.hget(it.key, "unit").then(resolve));
    await it.stage.run({ seq: 10, base: 1 });
    expect(await promise).toBe("green");
    subscriber.disconnect();
    reader.disconnect();
  });

  test("nothing is told by what is refused", async () => {
    await using it = await openHeard(toChannel);
    await it.stage.undo({ seq: 20, base: 1 });
    expect(await it.heard()).toEqual([told(41)]);
    expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject({ is: "fenced" });
    expect(await it.stage.undoPart("publish", { seq: 19, base: 1 })).toMatchObject({ is: "fenced" });
    expect(await it.heard()).toEqual([told(41)]);
  });

  test("nothing is told of a tenant whose record is another's", async () => {
    await using theirs = await openRedisStage({ config: HASH, tenantId: "other" });
    await theirs.stage.run({ seq: 5, base: 1 });
    await using it = await openHeard(toChannel, { key: theirs.key });
    expect(await it.stage.undoPart("publish", { seq: 20 })).toMatchObject({ fault: { code: "ForeignRecord" } });
    expect(await it.heard()).toEqual([]);
  });

  test("[S8] the undo's telling leaves its own fence", async () => {
    await using it = await openHeard(toChannel);
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.undo({ seq: 20, base: 10 });
    expect((await it.record()).fence).toBe(fenceOf(21));
  });

  test("what could not be told is not called done, and is told once it can be", async () => {
    await using admin = await openRedisStage({ config: HASH });
    const name = `narrow-${randomBytes(4).toString("hex")}`;
    await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "+@all", "~*", "resetchannels");
    try {
      await using it = await openHeard(toChannel, { as: { username: name, password: "narrow" } });
      await it.db.hset(it.key, { unit: "blue" });
      const denied = { is: "terminal", fault: { code: "RedisDenied" } };
      expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject(denied);
      expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
      expect(await it.stage.run({ seq: 11 })).toMatchObject(denied);
      await admin.db.call("ACL", "SETUSER", name, "allchannels");
      expect(await it.stage.run({ seq: 12 })).toMatchObject(done);
      expect(await it.stage.run({ seq: 13 })).toMatchObject(done);
      expect(await it.heard()).toEqual([told(42)]);
      expect(await it.stage.probe({ seq: 14 })).toMatchObject({ is: "in-force" });
      expect(await it.stage.undo({ seq: 20, base: 14 })).toMatchObject(done);
      expect(await it.image()).toBe("hash unit=blue expires -1");
    } finally {
      await admin.db.call("ACL", "DELUSER", name);
    }
  });

  test("what could not be told is undone all the same", async () => {
    await using admin = await openRedisStage({ config: HASH });
    const name = `narrow-${randomBytes(4).toString("hex")}`;
    await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "+@all", "~*", "resetchannels");
    try {
      await using it = await openHeard(toChannel, { as: { username: name, password: "narrow" } });
      await it.db.hset(it.key, { unit: "blue" });
      await it.stage.run({ seq: 10, base: 1 });
      expect(await it.stage.undoPart("write", { seq: 20, base: 10 })).toMatchObject(done);
      expect(await it.image()).toBe("hash unit=blue expires -1");
      expect(await it.stage.undoPart("publish", { seq: 21 })).toMatchObject({ fault: { code: "RedisDenied" } });
      await admin.db.call("ACL", "SETUSER", name, "allchannels");
      expect(await it.stage.undoPart("publish", { seq: 22 })).toMatchObject(done);
      expect(await it.heard()).toEqual([told(41)]);
    } finally {
      await admin.db.call("ACL", "DELUSER", name);
    }
  });
});

describe("XADD", () => {
  const entries = async ({ db }: RedisStage, stream: string): Promise<readonly (readonly string[])[]> =>
    (await db.xrange(stream, "-", "+")).map(([, fields]) => fields);
  const streamOf = (it: RedisStage): string =>
    (it.stage.call("Forward", null, { seq: 10 }).inputs as { publish: { stream: string } }).publish.stream;

  test("appends one flat entry per operation, and one when it is undone", async () => {
    await using it = await openHeard((stream) => ({ stream, payload: { ...PAYLOAD, unit: "${target.deployUnit}" } }));
    const stream = streamOf(it);
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.run({ seq: 11 });
    await it.stage.undo({ seq: 20, base: 11 });
    await it.stage.undo({ seq: 22, base: 21 });
    const entry = (unit: object, version: number): readonly string[] =>
      Object.entries<unknown>({ ...told(version), unit: JSON.stringify(unit) })
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([name, value]) => [name, String(value)]);
    expect(await entries(it, stream)).toEqual([
      entry({ id: 2, name: "green", version: 7 }, 42),
      entry({ id: 1, name: "blue", version: 6 }, 41),
    ]);
  });

  test("text and lists are one field, payload", async () => {
    await using it = await openHeard((stream) => ({ stream, payload: "${tenantId}", undo: ["${plan.version}"] }));
    await it.stage.run({ seq: 10, base: 1 });
    await it.stage.undo({ seq: 20, base: 10 });
    expect(await entries(it, streamOf(it))).toEqual([
      ["payload", "acme"],
      ["payload", "[41]"],
    ]);
  });

  test("a stream that is something else is a Conflict before anything is written", async () => {
    await using it = await openHeard((stream) => ({ stream, payload: PAYLOAD }));
    await it.db.set(streamOf(it), "x");
    expect(await it.stage.run({ seq: 10, base: 1 })).toMatchObject({ fault: { code: "RedisWrongType" } });
    expect(await it.image()).toBe("absent");
    expect(await it.record()).toEqual({});
  });
});
