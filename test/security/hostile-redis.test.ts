import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import type { RunOptions } from "../../src/infra/cache/redis.ts";
import { LARGEST_REPLY, type Violation } from "../../src/infra/cache/resp-gate.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { never, openRig, redisEndpoint, type Rig } from "../support/egress/rig.ts";
import { openTrap, type Trap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

const options = (timeout = seconds(1)): RunOptions => ({ signal: never, timeout, point: null });

const rigFor = (server: Trap): Rig =>
  openRig({ endpoints: [redisEndpoint({ ports: [server.port], addresses: [server.address] })] });

/** Answers the first command with these bytes, later ones with PONG. */
const first =
  (bytes: string | Buffer) =>
  (socket: Socket, nth: number): void =>
    void socket.on("data", () => socket.write(nth === 1 ? bytes : "+PONG\r\n"));

describe("[SEC-41] [SEC-42] whatever a server sends ends its connection, never the process, and reaches no other command", () => {
  const nested = (depth: number): string => "*1\r\n".repeat(depth);
  test.each<readonly [title: string, violation: Violation, bytes: string | Buffer]>([
    ["a text of 1 GiB", "size", "$1073741824\r\nxxxx"],
    ["a text beyond 64 KiB", "size", `$${LARGEST_REPLY + 1}\r\n${"x".repeat(LARGEST_REPLY + 1)}\r\n`],
    ["many texts beyond 64 KiB", "size", `*100\r\n${`$1000\r\n${"x".repeat(1000)}\r\n`.repeat(100)}`],
    ["an endless line", "size", `+${"x".repeat(200_000)}`],
    ["an array of 4 thousand million", "size", "*4294967295\r\n"],
    ["an array of ten thousand", "size", `*10000\r\n${":1\r\n".repeat(10_000)}`],
    ["100 levels", "size", `${nested(100)}:1\r\n`],
    ["20,000 levels", "size", nested(20_000)],
    ["a push of nothing", "form", ">1\r\n_\r\n"],
    ["an empty push", "form", ">0\r\n"],
    ["a map", "form", "%1\r\n+a\r\n+b\r\n"],
    ["an attribute", "form", "|1\r\n+a\r\n+b\r\n"],
    ["a big number", "form", "(123\r\n"],
    ["a streamed text", "form", "$?\r\n;1\r\nx\r\n;0\r\n"],
    ["a negative length", "form", "$-5\r\n"],
    ["a length with a sign", "form", "$+5\r\nhello\r\n"],
    ["a length in hex", "form", "$0x5\r\nhello\r\n"],
    ["a number that is none", "form", ":1e9\r\n"],
    ["a line feed alone", "form", "+OK\n"],
    ["a carriage return inside a line", "form", "+a\rX>1\r\n"],
    ["HTTP", "form", "HTTP/1.1 200 OK\r\n\r\n"],
    ["zeros", "form", Buffer.alloc(64)],
    ["two replies to one command", "unasked", "+PONG\r\n+SMUGGLED\r\n"],
    ["a message that nobody subscribed to", "unasked", "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n+SMUGGLED\r\n"],
  ])("%s (%s)", async (_title, violation, bytes) => {
    await using server = await openTrap({ serve: first(bytes) });
    await using rig = rigFor(server);
    const redis = rig.redis();
    const result = await redis.run(["PING"], options());
    expect(result).toMatchObject({
      kind: "lost",
      fault: { code: violation === "size" ? "AnswerTooLarge" : "AnswerLost" },
    });
    expect(rig.lines.join("")).toContain(`"violation":"${violation}"`);
    expect(await redis.run(["PING"], options())).toEqual({ kind: "reply", value: "PONG" });
    expect(server.connections).toBe(2);
    expect(
      await until(
        () => server.open,
        (open) => open === 1,
      ),
    ).toBe(1);
  });

  test("bytes while nothing is asked end the connection", async () => {
    const sockets: Socket[] = [];
    const serve = (socket: Socket): void => {
      sockets.push(socket);
      socket.on("data", () => socket.write("+PONG\r\n"));
    };
    await using server = await openTrap({ serve });
    await using rig = rigFor(server);
    const redis = rig.redis();
    await redis.run(["PING"], options());
    sockets[0]?.write("+SMUGGLED\r\n");
    await until(
      () => server.open,
      (open) => open === 0,
    );
    expect(await redis.run(["PING"], options())).toEqual({ kind: "reply", value: "PONG" });
    expect(server.connections).toBe(2);
  });

  test("the largest reply that fits is read, byte by byte if need be", async () => {
    const whole = Buffer.from(`*2\r\n$${LARGEST_REPLY - 100}\r\n${"x".repeat(LARGEST_REPLY - 100)}\r\n:7\r\n`);
    const serve = (socket: Socket): void =>
      void socket.once("data", () => {
        for (const byte of whole.subarray(0, 20)) socket.write(Buffer.of(byte));
        socket.write(whole.subarray(20));
      });
    await using server = await openTrap({ serve });
    await using rig = rigFor(server);
    expect(await rig.redis().run(["GET", "k"], options())).toEqual({
      kind: "reply",
      value: ["x".repeat(LARGEST_REPLY - 100), 7],
    });
  });
});

describe("[SEC-19] guard 6: the reply of a cancelled command reaches nobody", () => {
  test("after a timeout the next command has a connection of its own", async () => {
    const held: Socket[] = [];
    await using server = await openTrap({
      serve: (socket, nth) =>
        void socket.on("data", () => (nth === 1 ? held.push(socket) : socket.write("+SECOND\r\n"))),
    });
    await using rig = rigFor(server);
    const redis = rig.redis();
    const lost = redis.run(["GET", "first"], options(millisOf(150)));
    const next = redis.run(["GET", "second"], options());
    expect(await lost).toMatchObject({ kind: "lost", fault: { code: "HttpTimeout" } });
    held[0]?.write("+FIRST\r\n");
    expect(await next).toEqual({ kind: "reply", value: "SECOND" });
    expect(server.text.match(/first/g)).toHaveLength(1);
  });

  test("cancelling one command leaves the outcome of the others known", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    const redis = rig.redis();
    const end = new AbortController();
    const running = redis.run(["SET", "a", 1], { ...options(), signal: end.signal });
    const waiting = Array.from({ length: 5 }, () => redis.run(["SET", "b", 1], options(millisOf(100))));
    await until(
      () => server.bytes,
      (bytes) => bytes > 0,
    );
    expect((await Promise.all(waiting)).map(({ kind }) => kind)).toEqual(Array.from({ length: 5 }, () => "notSent"));
    end.abort();
    expect(await running).toMatchObject({ kind: "lost" });
    expect(server.text).not.toContain("$1\r\nb");
  });
});

describe("what was sent, and what nobody knows", () => {
  test.each([
    ["reset", (socket: Socket) => void socket.resetAndDestroy()],
    ["closed", (socket: Socket) => void socket.end()],
    ["cut inside a reply", (socket: Socket) => void socket.end("$100\r\nxx")],
  ])("[redis/lost] a command whose connection is %s is lost, and sent once", async (_title, act) => {
    await using server = await openTrap({ serve: (socket) => void socket.once("data", () => act(socket)) });
    await using rig = rigFor(server);
    expect(await rig.redis().run(["SET", "key-x", 1], options())).toMatchObject({
      kind: "lost",
      fault: { code: "AnswerLost" },
    });
    expect(server.text.match(/key-x/g)).toHaveLength(1);
    expect(server.connections).toBe(1);
  });

  test("[redis/down] nothing listens: not sent, and the next attempt waits its back-off", async () => {
    const server = await openTrap();
    await server[Symbol.asyncDispose]();
    await using rig = rigFor(server);
    const redis = rig.redis();
    for (let i = 0; i < 3; i += 1) {
      expect(await redis.run(["PING"], options())).toMatchObject({
        kind: "notSent",
        fault: { code: "ConnectRefused" },
      });
    }
    const before = rig.lines.length;
    expect(await redis.run(["PING"], options(millisOf(20)))).toMatchObject({
      kind: "notSent",
      fault: { code: "ConnectTimeout" },
    });
    expect(rig.lines.length).toBe(before);
  });

  test("[redis/silent] a server that takes the connection and says nothing: lost after the timeout", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    expect(await rig.redis().run(["SET", "a", 1], options(millisOf(100)))).toMatchObject({
      kind: "lost",
      fault: { code: "HttpTimeout" },
    });
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
  });

  test("[SEC-22] MOVED and ASK are errors; nobody goes there", async () => {
    await using trap = await openTrap();
    for (const reply of [`-MOVED 3999 ${trap.address}\r\n`, `-ASK 3999 ${trap.address}\r\n`]) {
      await using server = await openTrap({ serve: (socket) => void socket.on("data", () => socket.write(reply)) });
      await using rig = openRig({
        endpoints: [redisEndpoint({ ports: [server.port, trap.port], addresses: [server.address] })],
      });
      expect(await rig.redis().run(["GET", "a"], options())).toEqual({
        kind: "error",
        code: reply.slice(1).split(" ")[0],
      });
    }
    expect(trap.connections).toBe(0);
  });

  test("[SEC-41] a command beyond 256 KiB is not sent", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    expect(await rig.redis().run(["SET", "a", "x".repeat(256 * 1024)], options())).toMatchObject({
      kind: "notSent",
      fault: { code: "RequestTooLarge" },
    });
    expect(server.connections).toBe(0);
  });

  test("closing ends the connection and answers later commands", async () => {
    await using server = await openTrap({ serve: first("+PONG\r\n") });
    await using rig = rigFor(server);
    const redis = rig.redis();
    await redis.run(["PING"], options());
    await redis.close();
    await redis.close();
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
    expect(await redis.run(["PING"], options())).toMatchObject({ kind: "notSent" });
    expect(server.connections).toBe(1);
  });
});
