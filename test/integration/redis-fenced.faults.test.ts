import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import type { Boundary } from "../../src/lib/seams.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { fenceOf } from "../support/receiver-build.ts";
import { aGate } from "../support/stage-rig.ts";
import { openRedisStage, type RedisStage, type RedisStageAbout } from "../support/stage-rig-redis.ts";
import { openRedisServer, type RedisServer } from "../support/stage-rig-redis-server.ts";

const HASH: JsonObject = { hash: { fields: { unit: "${target.deployUnit.name}" } }, versionField: "version" };
const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;

const open = (about: Partial<RedisStageAbout> = {}): Promise<RedisStage> => openRedisStage({ config: HASH, ...about });
const retryable = (code: string): object => ({ is: "retryable", fault: { code } });
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });
const unknown = (code: string): object => ({ is: "unknown", fault: { code } });

/** Acts before the next mutating command is sent, or after its answer came. */
function around(hooks: { before?: () => Promise<unknown>; after?: () => Promise<unknown> }): Boundary {
  let spent = false;
  return {
    around: async (_point, send) => {
      if (spent) return send();
      spent = true;
      await hooks.before?.();
      const result = await send();
      await hooks.after?.();
      return result;
    },
  };
}

describe("a Redis that is down", () => {
  test("[redis/down] is tried again, and takes the write once it is there", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at, direct: true });
    await server.kill();
    expect(await it.stage.run({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "retryable" });
    expect(await it.stage.undo({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "retryable" });
    expect(await it.stage.probe({ ...FIRST, timeout: seconds(1) })).toMatchObject({ is: "unreadable" });
    await server.restart([]);
    await until(
      () => it.stage.run({ seq: 11 }),
      ({ is }) => is === "done",
    );
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/down] at an address where nobody listens is refused, and nothing was sent", async () => {
    await using it = await open();
    await it.proxy[Symbol.asyncDispose]();
    expect(await it.stage.run(FIRST)).toMatchObject(retryable("ConnectRefused"));
    expect(await it.stage.undo(FIRST)).toMatchObject(retryable("ConnectRefused"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "ConnectRefused" } });
  });
});

describe("a Redis that is silent", () => {
  test("[redis/silent] before the log-in is through, nothing was sent", async () => {
    await using it = await open();
    it.proxy.hold("toServer", "toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "retryable" });
    expect(await it.image()).toBe("absent");
  });

  test("[redis/silent] after that nobody knows, and the probe finds out", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at });
    await it.warmUp();
    server.freeze();
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject(unknown("HttpTimeout"));
    expect(await it.stage.probe({ seq: 11, timeout: millisOf(300) })).toMatchObject({ is: "unreadable" });
    server.thaw();
    // What was on its way arrives; the outcome is what the probe finds, not what we suppose.
    await until(it.image, (image) => image !== "absent");
    expect(await it.stage.probe({ seq: 12 })).toMatchObject({ is: "in-force" });
  });
});

describe("a lost answer", () => {
  test("[redis/lost] of a write that was carried out: our operation is in the record, so it is Completed", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.swallow("toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force", outputs: { key: it.key } });
  });

  test("[redis/lost] of a write that never arrived: not in force, so it is done under the next claim", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.swallow("toServer");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/lost] cut in the middle of the answer is not an answer", async () => {
    await using it = await open();
    await it.warmUp();
    it.proxy.cutAfter(3, "toClient");
    expect(await it.stage.run(FIRST)).toMatchObject(unknown("AnswerLost"));
    it.proxy.clear();
    expect(await it.stage.probe({ seq: 11 })).toMatchObject({ is: "in-force" });
  });

  test("[redis/lost] of the reading back leaves it open whether it stands", async () => {
    const cut = { now: () => undefined as void };
    await using it = await open({ boundary: around({ after: async () => cut.now() }) });
    cut.now = () => it.proxy.swallow("toClient");
    expect(await it.stage.run({ ...FIRST, timeout: millisOf(400) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/lost] of an undo: undone again without harm", async () => {
    await using it = await open();
    await it.db.hset(it.key, { unit: "blue", version: "41" });
    const before = await it.image();
    await it.warmUp();
    await it.stage.run(FIRST);
    it.proxy.swallow("toClient");
    expect(await it.stage.undo({ seq: 20, base: 10, timeout: millisOf(300) })).toMatchObject({ is: "unknown" });
    it.proxy.clear();
    expect(await it.stage.undo({ seq: 21 })).toEqual({ is: "done", outputs: {} });
    expect(await it.image()).toBe(before);
  });
});

describe("a write that arrives late", () => {
  test.each([
    ["the undo", async (it: RedisStage) => it.stage.undo({ seq: 20, base: 10 })],
    ["its own successor", async (it: RedisStage) => it.stage.run({ seq: 11 })],
  ])("[redis/late] is Fenced by the script after %s", async (_what, later) => {
    const gate = aGate();
    await using it = await open();
    await using paused = await open({ key: it.key, boundary: gate });
    const original = paused.stage.run(FIRST);
    await gate.reached;
    expect(await later(it)).toMatchObject(done);
    const image = await it.image();
    gate.open();
    expect(await original).toMatchObject({ is: "fenced" });
    expect(await it.image()).toBe(image);
  });

  test("[redis/late] an undo that comes after a later switch is Fenced too", async () => {
    const gate = aGate();
    await using it = await open({ uid: "first" });
    await it.stage.run(FIRST);
    await using paused = await open({ uid: "first", key: it.key, boundary: gate });
    const undoing = paused.stage.undo({ seq: 20, base: 10 });
    await gate.reached;
    await using later = await open({ uid: "later", key: it.key, planVersion: 43 });
    await later.stage.run({ seq: 30, base: 10 });
    gate.open();
    expect(await undoing).toMatchObject({ is: "fenced", fault: { code: "Fenced" } });
    expect(await it.image()).toBe("hash unit=green version=43 expires -1");
  });
});

describe("a Redis that is busy is tried again:", () => {
  test("[redis/busy] LOADING", async () => {
    await using server = await openRedisServer();
    const fill = server.db.pipeline();
    for (let i = 0; i < 150; i += 1) fill.set(`filler:${i}`, randomBytes(512).toString("hex"));
    await fill.exec();
    await server.db.save();
    await using it = await open({ server: server.at });
    // Slow enough to be met, and it answers between keys.
    await server.restart(["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"]);
    const seen = await until(
      () => it.stage.run(FIRST),
      (outcome) => "fault" in outcome && outcome.fault.code === "RedisBusy",
    );
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("LOADING");
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable", fault: { code: "RedisBusy" } });
  });

  test("[redis/busy] BUSY with a script", async () => {
    await using server = await openRedisServer(["--lua-time-limit", "1"]);
    await using it = await open({ server: server.at });
    await it.warmUp();
    const endless = server.db.duplicate();
    const running = endless.eval("while true do end", 0).catch(String);
    const seen = await until(
      () => it.stage.run(FIRST),
      (outcome) => outcome.is === "retryable",
    );
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("BUSY");
    await server.db.script("KILL");
    await running;
    endless.disconnect();
    expect(
      await until(
        () => it.stage.run({ seq: 11 }),
        ({ is }) => is === "done",
      ),
    ).toMatchObject(done);
  });

  test("[redis/busy] READONLY and MASTERDOWN at a replica", async () => {
    await using server = await openRedisServer(["--replicaof", "127.0.0.1 1"]);
    await using it = await open({ server: server.at });
    expect(await it.stage.run(FIRST)).toMatchObject(retryable("RedisBusy"));
    await server.db.config("SET", "replica-serve-stale-data", "no");
    const seen = await it.stage.run({ seq: 11 });
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("MASTERDOWN");
    await server.db.replicaof("NO", "ONE");
    expect(await it.stage.run({ seq: 12 })).toMatchObject(done);
  });

  test("[redis/busy] NOREPLICAS", async () => {
    await using server = await openRedisServer(["--min-replicas-to-write", "1"]);
    await using it = await open({ server: server.at });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("NOREPLICAS");
    expect(await it.image()).toBe("absent");
    await server.db.config("SET", "min-replicas-to-write", "0");
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
  });

  test("[redis/busy] out of memory, and nothing is half written", async () => {
    await using server = await openRedisServer();
    await using it = await open({ server: server.at });
    await it.db.hset(it.key, { unit: "blue" });
    const image = await it.image();
    await it.warmUp();
    await server.db.config("SET", "maxmemory", "1");
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("OOM");
    expect(await it.image()).toBe(image);
    await server.db.config("SET", "maxmemory", "0");
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await it.stage.undo({ seq: 20, base: 11 })).toMatchObject(done);
    expect(await it.image()).toBe(image);
  });

  test("[redis/busy] CLUSTERDOWN", async () => {
    await using server = await openRedisServer(["--cluster-enabled", "yes"]);
    await using it = await open({ server: server.at });
    const seen = await it.stage.run(FIRST);
    expect(seen).toMatchObject(retryable("RedisBusy"));
    expect(JSON.stringify(seen)).toContain("CLUSTERDOWN");
  });
});

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

describe("a cluster", () => {
  test("[redis/hostile] MOVED is not followed, not even to a node that answers", async () => {
    await using other = await openRedisServer(["--cluster-enabled", "yes"]);
    await using server = await openRedisServer(["--cluster-enabled", "yes"]);
    await server.db.call("CLUSTER", "MEET", "127.0.0.1", `${other.at.port}`);
    const id = String(await other.db.call("CLUSTER", "MYID"));
    await until(
      async () => String(await server.db.call("CLUSTER", "NODES")),
      (nodes) => nodes.includes(id) && !nodes.includes("handshake"),
    );
    await server.db.config("SET", "cluster-require-full-coverage", "no");
    await other.db.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    await using it = await open({ server: server.at });
    const seen = await until(
      () => it.stage.run(FIRST),
      (outcome) => outcome.is === "terminal",
      20_000,
    );
    expect(seen).toMatchObject(terminal("RedisRefused"));
    expect(JSON.stringify(seen)).toContain("MOVED");
    expect(JSON.stringify(seen)).not.toContain(`${other.at.port}`);
    expect(it.rig.connected.map(({ port }) => port)).not.toContain(other.at.port);
    expect(await other.db.keys("*")).toEqual([]);
  });

  test("data, record and stream of one hash tag live in one slot", async () => {
    await using server = await openRedisServer(["--cluster-enabled", "yes"]);
    await server.db.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    const key = `{${randomBytes(4).toString("hex")}}:tenant`;
    const config = { ...HASH, publish: { stream: `${key}:told`, payload: { tenant: "${tenantId}" } } };
    await using it = await open({ server: server.at, key, config });
    await until(
      () => it.stage.run(FIRST),
      ({ is }) => is === "done",
    );
    expect(await it.stage.undo({ seq: 20, base: 10 })).toMatchObject(done);
    expect(await server.db.xlen(`${key}:told`)).toBe(2);
    await using plain = await open({ server: server.at });
    expect(await plain.stage.run(FIRST)).toMatchObject(done);
  });
});

describe("a Redis that lies", () => {
  /** The stage's bytes go to somebody else than the person's. */
  async function lying(serve: (socket: Socket) => void): Promise<RedisStage> {
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      serve(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const it = await open({ as: null });
    it.route.port = (server.address() as AddressInfo).port;
    const dispose = async (): Promise<void> => {
      server.close();
      await it[Symbol.asyncDispose]();
    };
    return { ...it, [Symbol.asyncDispose]: dispose };
  }

  test("[redis/hostile] a reply beyond 64 KiB ends the connection; what happened is unknown", async () => {
    await using it = await lying((socket) => socket.on("data", () => socket.write("$1000000000\r\nx")));
    expect(await it.stage.run(FIRST)).toMatchObject(unknown("AnswerTooLarge"));
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable" });
  });

  const DIGEST = `$40\r\n${"a".repeat(40)}\r\n`;
  test.each([
    ["a verdict that no script of ours gives", "*1\r\n$4\r\nfine\r\n"],
    ["an empty list", "*0\r\n"],
    ["a number", ":1\r\n"],
    ["text", "+written\r\n"],
    ["nothing", "$-1\r\n"],
  ])("[redis/hostile] [SEC-33] %s is no success", async (_what, reply) => {
    await using it = await lying((socket) =>
      socket.on("data", (chunk: Buffer) => socket.write(chunk.includes("LOAD") ? DIGEST : reply)),
    );
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown" });
    expect(await it.stage.undo(FIRST)).toMatchObject({ is: "unknown" });
    expect(await it.stage.probe(FIRST)).toMatchObject({ is: "unreadable" });
  });

  test("[redis/hostile] that it has written is not enough: it must be there when it is read", async () => {
    const written = "*1\r\n$7\r\nwritten\r\n";
    await using it = await lying((socket) =>
      socket.on("data", (chunk: Buffer) => socket.write(chunk.includes("LOAD") ? DIGEST : written)),
    );
    expect(await it.stage.run(FIRST)).toMatchObject({ is: "unknown" });
  });
});

/** What the other never got is gone: the master becomes its replica, then a master again, and connections stay. */
async function failOverTo(other: RedisServer, master: RedisServer): Promise<void> {
  await master.db.replicaof("127.0.0.1", other.at.port);
  await until(
    () => master.db.info("replication"),
    (info) => info.includes("master_link_status:up"),
    20_000,
  );
  await master.db.replicaof("NO", "ONE");
}

describe("a Redis that was reborn", () => {
  const AT_ONCE = ["--repl-diskless-sync-delay", "0"];

  test("[redis/reborn] a write lost on failover is found by reading back, and done again", async () => {
    await using other = await openRedisServer(AT_ONCE);
    await using master = await openRedisServer(AT_ONCE);
    await using it = await open({ boundary: around({ after: () => failOverTo(other, master) }), server: master.at });
    expect(await it.stage.run(FIRST)).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.stage.probe({ seq: 11 })).toEqual({ is: "not-in-force" });
    expect(await it.stage.run({ seq: 11 })).toMatchObject(done);
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/reborn] an undo lost on failover is found by reading back, and done again", async () => {
    await using other = await openRedisServer(AT_ONCE);
    await using master = await openRedisServer(AT_ONCE);
    let armed = false;
    const boundary: Boundary = {
      around: async (_point, send) => {
        const result = await send();
        if (armed) await failOverTo(other, master);
        armed = false;
        return result;
      },
    };
    const config = { ...HASH, publish: { channel: "told", payload: "x" } };
    await using it = await open({ boundary, config, server: master.at });
    await it.stage.run(FIRST);
    // The other has the write, and nothing after it.
    for (const key of [it.key, it.recordKey]) await other.db.restore(key, 0, (await it.db.dumpBuffer(key)) ?? "");
    armed = true;
    expect(await it.stage.undoPart("write", { seq: 20, base: 10 })).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
    expect(await it.stage.undoPart("write", { seq: 21 })).toMatchObject(done);
    expect(await it.image()).toBe("absent");
    armed = true;
    expect(await it.stage.undoPart("publish", { seq: 22 })).toMatchObject(unknown("ReadBackDiffers"));
    expect(await it.stage.undoPart("publish", { seq: 23 })).toMatchObject(done);
  });

  test("[redis/reborn] a companion record that is lost is a Conflict, and the data stays", async () => {
    await using server = await openRedisServer(["--appendonly", "yes"]);
    await using it = await open({ server: server.at });
    await it.stage.run(FIRST);
    await server.db.del(it.recordKey);
    await server.restart(["--appendonly", "yes"]);
    const found = await until(
      () => it.stage.probe({ seq: 11 }),
      ({ is }) => is !== "unreadable",
    );
    expect(found).toMatchObject({ is: "foreign", fault: { code: "RecordMissing" } });
    expect(await it.stage.undo({ seq: 20, base: 11, settled: true })).toMatchObject(terminal("RecordMissing"));
    expect(await it.image()).toBe("hash unit=green version=42 expires -1");
  });

  test("[redis/reborn] scripts that a restart forgot are loaded again", async () => {
    await using it = await open();
    await it.warmUp();
    await it.db.script("FLUSH");
    expect(await it.stage.run(FIRST)).toMatchObject(done);
  });

  test("somebody who writes between write and reading back is a Conflict", async () => {
    const others = { write: async (): Promise<unknown> => undefined };
    await using it = await open({ boundary: around({ after: () => others.write() }) });
    others.write = () => it.db.hset(it.key, { unit: "red" });
    expect(await it.stage.run(FIRST)).toMatchObject(terminal("ReadBackDiffers"));
  });
});
