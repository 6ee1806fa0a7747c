import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import type { RedisCommand, RedisConnection, RedisReply, RunOptions } from "../../src/infra/cache/redis.ts";
import type { SecretReference } from "../../src/infra/config/setting-fields.ts";
import type { Boundary, Clock, Point } from "../../src/lib/seams.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { never, openRig, redisEndpoint, type Rig } from "../support/egress/rig.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";

const { REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const PREFIX = `redis-connection:${process.pid}:${Date.now()}:`;
const key = (name: string): string => `${PREFIX}${name}`;
const options = (about: Partial<RunOptions> = {}): RunOptions => ({
  signal: never,
  timeout: seconds(5),
  point: null,
  ...about,
});

interface Open extends AsyncDisposable {
  readonly rig: Rig;
  readonly redis: RedisConnection;
  run(...command: RedisCommand): Promise<RedisReply>;
}

interface About {
  readonly password?: SecretReference;
  readonly username?: SecretReference;
  readonly env?: Readonly<Record<string, string>>;
  readonly secretRoots?: readonly string[];
  readonly clock?: Clock;
  readonly boundary?: Boundary;
}

function open({ password = { env: "TURNOUT_SECRET_P" }, username, env = {}, ...rest }: About = {}): Open {
  const port = Number(REDIS_ADDRESS.split(":").at(-1));
  const credentials = username === undefined ? { password } : { username, password };
  const endpoint = redisEndpoint({ ports: [port], addresses: [REDIS_ADDRESS], credentials, allow: { keys: [PREFIX] } });
  const rig = openRig({ endpoints: [endpoint], env: { TURNOUT_SECRET_P: REDIS_PASSWORD, ...env }, ...rest });
  const redis = rig.redis();
  return {
    rig,
    redis,
    run: (...command) => redis.run(command, options()),
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
}

const value = (reply: RedisReply): unknown => (reply.kind === "reply" ? reply.value : reply);

/** A user of the server for one test. */
async function aUser(admin: Open, name: string, rules: readonly string[]): Promise<AsyncDisposable> {
  await admin.run("ACL", "SETUSER", name, "reset", "on", ...rules);
  return { [Symbol.asyncDispose]: async () => void (await admin.run("ACL", "DELUSER", name)) };
}

describe("replies", () => {
  test("come as they are: text, number, nothing, list", async () => {
    await using db = open();
    expect(await db.run("SET", key("a"), "grüße")).toEqual({ kind: "reply", value: "OK" });
    expect(await db.run("get", key("a"))).toEqual({ kind: "reply", value: "grüße" });
    expect(await db.run("GET", key("absent"))).toEqual({ kind: "reply", value: null });
    expect(await db.run("STRLEN", key("a"))).toEqual({ kind: "reply", value: 7 });
    await db.run("HSET", key("h"), "unit", "green", "version", 7);
    expect(await db.run("hgetall", key("h"))).toEqual({ kind: "reply", value: ["unit", "green", "version", "7"] });
    expect(await db.run("HGETALL", key("absent"))).toEqual({ kind: "reply", value: [] });
  });

  test("an error is its first word", async () => {
    await using db = open();
    await db.run("SET", key("text"), "x");
    expect(await db.run("HSET", key("text"), "a", "b")).toEqual({ kind: "error", code: "WRONGTYPE" });
    expect(await db.run("NOSUCHCOMMAND")).toEqual({ kind: "error", code: "ERR" });
    expect(await db.run("EVALSHA", "f".repeat(40), 0)).toEqual({ kind: "error", code: "NOSCRIPT" });
  });

  test("200 callers at once get their own replies over one connection", async () => {
    await using db = open();
    const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => db.run("ECHO", `${i}`)));
    expect(replies.map(value)).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`));
    expect(db.rig.connected).toHaveLength(1);
  });
});

describe("scripts", () => {
  const LUA = "redis.call('INCRBY', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), ARGV[2], false, {1, {2}}}";

  test("run by their digest, are loaded once, and again where the server forgot them", async () => {
    await using db = open();
    const script = db.redis.script(LUA);
    expect(value(await script.run([key("n")], [2, "é"], options()))).toEqual(["2", "é", null, [1, [2]]]);
    expect(value(await script.run([key("n")], [3, "b"], options()))).toEqual(["5", "b", null, [1, [2]]]);
    await db.run("SCRIPT", "FLUSH");
    expect(value(await script.run([key("n")], [1, "c"], options()))).toEqual(["6", "c", null, [1, [2]]]);
  });

  test("what a script refuses with a code of its own is that code", async () => {
    await using db = open();
    const script = db.redis.script("return redis.error_reply('FENCED 0000000009-00000001')");
    expect(await script.run([key("n")], [], options())).toEqual({ kind: "error", code: "FENCED" });
    const broken = db.redis.script("return this is not lua");
    expect(await broken.run([], [], options())).toEqual({ kind: "error", code: "ERR" });
  });
});

describe("[SEC-28] credentials", () => {
  test("[redis/denied] a wrong password and a missing right are errors of the server", async () => {
    await using admin = open();
    const name = `narrow-${process.pid}`;
    await using _user = await aUser(admin, name, [">narrow", "+get", `~${PREFIX}*`]);
    const as = (password: string): Open =>
      open({
        username: { env: "TURNOUT_SECRET_U" },
        password: { env: "TURNOUT_SECRET_W" },
        env: { TURNOUT_SECRET_U: name, TURNOUT_SECRET_W: password },
      });
    await using wrong = as("other");
    await using narrow = as("narrow");
    expect(await wrong.run("GET", key("a"))).toEqual({ kind: "error", code: "WRONGPASS" });
    expect(await narrow.run("SET", key("a"), "x")).toEqual({ kind: "error", code: "NOPERM" });
    expect(await narrow.run("GET", "other:key")).toEqual({ kind: "error", code: "NOPERM" });
  });

  test("[SEC-29] a changed password file is used within 60 s, on a new connection", async () => {
    await using admin = open();
    const name = `rotates-${process.pid}`;
    await using _user = await aUser(admin, name, [">first", ">second", "+@all", "~*"]);
    const folder = await mkdtemp(join(tmpdir(), "turnout-redis-"));
    try {
      await writeFile(join(folder, "password"), "first\n");
      const clock = new ManualClock();
      await using db = open({
        username: { env: "TURNOUT_SECRET_U" },
        password: { file: join(folder, "password") },
        env: { TURNOUT_SECRET_U: name },
        secretRoots: [folder],
        clock,
      });
      expect(value(await db.run("PING"))).toBe("PONG");
      await writeFile(join(folder, "password"), "second\n");
      await admin.run("ACL", "SETUSER", name, "<first");
      await clock.advance(seconds(59));
      expect(value(await db.run("ACL", "WHOAMI"))).toBe(name);
      expect(db.rig.connected).toHaveLength(2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe("connections", () => {
  test("[redis/lost] a command in flight when its connection is cut is lost; the next one has a new connection", async () => {
    await using admin = open();
    await using db = open();
    const id = String(value(await db.run("CLIENT", "ID")));
    const waiting = db.redis.run(["BLPOP", key("never"), 10], options());
    await until(
      () => admin.run("CLIENT", "LIST", "ID", id),
      (reply) => String(value(reply)).includes("cmd=blpop"),
    );
    await admin.run("CLIENT", "KILL", "ID", id);
    expect(await waiting).toMatchObject({ kind: "lost", fault: { code: "AnswerLost" } });
    expect(value(await db.run("PING"))).toBe("PONG");
  });

  test("one that is cut while idle is opened anew before the next command", async () => {
    await using admin = open();
    await using db = open();
    const id = String(value(await db.run("CLIENT", "ID")));
    await admin.run("CLIENT", "KILL", "ID", id);
    await until(
      () => admin.run("CLIENT", "LIST", "ID", id),
      (reply) => value(reply) === "",
    );
    expect(value(await db.run("PING"))).toBe("PONG");
  });

  test("[SEC-19] guard 6: a cancelled command takes its connection with it, and what waited was not sent", async () => {
    await using admin = open();
    await using db = open();
    const id = String(value(await db.run("CLIENT", "ID")));
    const end = new AbortController();
    const waiting = db.redis.run(["BLPOP", key("never"), 10], options({ signal: end.signal }));
    const behind = db.redis.run(["SET", key("behind"), "x"], options({ timeout: millisOf(50) }));
    expect(await behind).toMatchObject({ kind: "notSent", fault: { code: "ConnectTimeout" } });
    end.abort();
    expect(await waiting).toMatchObject({ kind: "lost" });
    await until(
      () => admin.run("CLIENT", "LIST", "ID", id),
      (reply) => value(reply) === "",
    );
    expect(await admin.run("EXISTS", key("behind"))).toEqual({ kind: "reply", value: 0 });
  });
});

test("[redis/down] health says whether the server answers, and what it says instead", async () => {
  await using db = open();
  expect(await db.redis.check(never)).toEqual({ status: "healthy", message: "answers" });
  await using denied = open({ env: { TURNOUT_SECRET_P: "wrong" } });
  expect(await denied.redis.check(never)).toEqual({ status: "unhealthy", message: "answers WRONGPASS" });
  await db.redis.close();
  expect(await db.redis.check(never)).toMatchObject({
    status: "unhealthy",
    message: expect.stringContaining("no connection") as unknown,
  });
});

test("the boundary stands round what changes something, once per command", async () => {
  const passed: Point[] = [];
  const boundary: Boundary = {
    around: (point, send) => {
      passed.push(point);
      return send();
    },
  };
  await using db = open({ boundary });
  const point: Point = { class: "effect/redis", subject: "prod/acme" };
  await db.redis.run(["SET", key("b"), "x"], options({ point }));
  await db.redis.run(["GET", key("b")], options());
  await db.redis.script("return 1").run([], [], options({ point }));
  await db.redis.run(["SET", key("b"), "x".repeat(300_000)], options({ point }));
  expect(passed).toEqual([point, point]);
});

test("[SEC-25] keys outside the listed prefixes, and every record of ours, are refused", async () => {
  await using db = open();
  expect(db.redis.keyRefusal(key("a"))).toBeNull();
  for (const other of ["tenant:a", "", "turnout:{a}:a", `turnout:{${PREFIX}}:${PREFIX}`, PREFIX.slice(0, -1)]) {
    expect(db.redis.keyRefusal(other)).toMatchObject({ code: "EgressDenied" });
  }
});
