import { randomBytes } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { until } from "../support/egress/until.ts";
import type { RedisStage } from "../support/stage-rig-redis.ts";
import { openRedisServer } from "../support/stage-rig-redis-server.ts";
import { HASH, open } from "./redis-fenced-stage.ts";

const done = { is: "done" };
const FIRST = { seq: 10, base: 1 } as const;
const terminal = (code: string): object => ({ is: "terminal", fault: { code } });
const unknown = (code: string): object => ({ is: "unknown", fault: { code } });

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
