import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { fenceOf } from "../support/receiver-build.ts";
import { openRedisServer } from "../support/stage-rig-redis-server.ts";
import { HASH, open } from "./redis-fenced-stage.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });

describe("a Redis that denies", () => {
  test("[redis/denied] NOAUTH is terminal, for the probe unreadable", async () => {
    await using it = await open({ as: null });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(terminal("RedisDenied"));
    expect(JSON.stringify(seen)).toContain("NOAUTH");
    expect(await it.stage.undo(FIRST)).toMatchObject(terminal("RedisDenied"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "RedisDenied" } });
  });

  test("[redis/denied] WRONGPASS is terminal, and the password is nowhere in it", async () => {
    await using it = await open({ as: { password: "canary-password" } });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(terminal("RedisDenied"));
    expect(JSON.stringify(seen)).toContain("WRONGPASS");
    expect(JSON.stringify([seen, it.rig.lines])).not.toContain("canary");
  });

  /** The rules of an account, and what may not be changed under them. */
  const NARROW: Readonly<Record<string, readonly string[]>> = {
    "no commands": ["~*", "+ping"],
    "no scripts": ["~*", "+@all", "-evalsha", "-eval", "-script"],
    "no data key": ["+@all", "~turnout:*"],
    "no record key": ["+@all", "~stages:*"],
    "no HSET": ["+@all", "-hset", "~*"],
    "no INFO": ["+@all", "-info", "~*"],
  };
  test.each(Object.entries(NARROW))(
    "[redis/denied] an account with %s is terminal and changes nothing",
    async (_what, rules) => {
      await using admin = await open();
      const name = `narrow-${randomBytes(4).toString("hex")}`;
      await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "allchannels", ...rules);
      try {
        await using it = await open({ as: { username: name, password: "narrow" } });
        await it.db.hset(it.key, { unit: "blue" });
        const image = await it.image();
        const seen = await it.stage.run(FIRST);
        expect(seen).toMatchObject(terminal("RedisDenied"));
        expect(JSON.stringify(seen)).toContain("NOPERM");
        expect(await it.image()).toBe(image);
      } finally {
        await admin.db.call("ACL", "DELUSER", name);
      }
    },
  );

  /** Commands that a write needs after it has begun, and an undo after it has. */
  test.each([
    ["SET", { string: { value: "green" } }],
    ["PEXPIRE", { string: { value: "green" }, ttl: "1h" }],
    ["HSTRLEN", HASH],
  ])(
    "[redis/denied] broken off at %s, it is done once the right is there, and undone exactly",
    async (command, config) => {
      await using admin = await open();
      const name = `narrow-${randomBytes(4).toString("hex")}`;
      await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "~*", "+@all", `-${command}`);
      try {
        await using it = await open({ config, as: { username: name, password: "narrow" } });
        if ("string" in config) await it.db.set(it.key, "blue", "PXAT", Date.now() + 3_600_000);
        else await it.db.hset(it.key, { unit: "blue", owner: "ops" });
        const before = await it.image();
        expect(await it.stage.run(FIRST)).toMatchObject(terminal("RedisDenied"));
        expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
        await admin.db.call("ACL", "SETUSER", name, `+${command}`);
        expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
        expect(await it.stage.undo({ seq: 20, base: 11 })).toEqual({ is: "done", outputs: {} });
        expect(await it.image()).toBe(before);
      } finally {
        await admin.db.call("ACL", "DELUSER", name);
      }
    },
  );

  test.each(["PEXPIREAT", "DEL"])(
    "[redis/denied] an undo broken off at %s is finished once the right is there",
    async (command) => {
      await using admin = await open();
      const name = `narrow-${randomBytes(4).toString("hex")}`;
      await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "~*", "+@all", `-${command}`);
      try {
        await using it = await open({
          config: { string: { value: "green" } },
          as: { username: name, password: "narrow" },
        });
        await it.db.set(it.key, "blue", "PXAT", Date.now() + 3_600_000);
        const before = await it.image();
        expect(await it.stage.run(FIRST)).toMatchObject(done);
        expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(terminal("RedisDenied"));
        expect((await it.record()).fence).toBe(fenceOf(20));
        await admin.db.call("ACL", "SETUSER", name, `+${command}`);
        expect(await it.stage.undo({ seq: 21 })).toEqual({ is: "done", outputs: {} });
        expect(await it.image()).toBe(before);
      } finally {
        await admin.db.call("ACL", "DELUSER", name);
      }
    },
  );

  test("a server without PEXPIRETIME still gets its expiry back, to a few milliseconds", async () => {
    await using admin = await open();
    const name = `narrow-${randomBytes(4).toString("hex")}`;
    await admin.db.call("ACL", "SETUSER", name, "reset", "on", ">narrow", "~*", "+@all", "-pexpiretime");
    try {
      await using it = await open({
        config: { string: { value: "green" } },
        as: { username: name, password: "narrow" },
      });
      const at = Date.now() + 3_600_000;
      await it.db.set(it.key, "blue", "PXAT", at);
      expect(await it.stage.run(FIRST)).toMatchObject(done);
      expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
      expect(await it.db.get(it.key)).toBe("blue");
      expect(Math.abs((await it.db.pexpiretime(it.key)) - at)).toBeLessThan(20);
    } finally {
      await admin.db.call("ACL", "DELUSER", name);
    }
  });

  test("[redis/denied] WRONGTYPE is terminal", async () => {
    await using it = await open();
    await it.db.sadd(it.key, "x");
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("RedisWrongType"));
  });
});

test.each(["allkeys-lru", "allkeys-lfu", "allkeys-random"])(
  "a server whose policy %s may evict the record is refused, and undo goes through all the same",
  async (policy) => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at });
    await it.stage.run(FIRST);
    await server.db.config("SET", "maxmemory-policy", policy);
    await using next = await open({ server: server.at });
    expect(await next.stage.run(FIRST)).toMatchObject({
      is: "terminal",
      fault: { code: "RedisEvicts", message: expect.stringContaining(policy) as string },
    });
    expect(await next.image()).toBe("absent");
    expect(await next.record()).toEqual({});
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await it.image()).toBe("absent");
  },
);

test.each(["noeviction", "volatile-lru", "volatile-ttl", "volatile-random", "volatile-lfu"])(
  "a server whose policy %s spares records is taken",
  async (policy) => {
    await using server = await openRedisServer(["--maxmemory-policy", policy]);
    await using it = await open({ server: server.at });
    expect(await it.stage.run(FIRST)).toMatchObject(done);
  },
);
