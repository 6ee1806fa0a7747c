import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";

import { describe, expect, test } from "vitest";

import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { failure, get, http, kindOf, put, tcp, transportTo } from "./kube-transport-rig.ts";

describe("nothing was sent: Refused", () => {
  test("nobody listens", async () => {
    const server = await http();
    await new Promise((resolve) => server.server.close(resolve));
    expect(await kindOf(transportTo(server.port).request(put))).toBe("Refused ECONNREFUSED");
  });

  test("the connection does not come about in time", async () => {
    const connect = () => () => undefined;
    const transport = transportTo(1, { connect });
    expect(await kindOf(transport.request({ ...put, timeout: millisOf(50) }))).toBe("Refused Timeout");
  });

  test("the time was over, or the caller gave up, before its turn on a connection", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    const first = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 1,
    );
    const stop = new AbortController();
    const second = kindOf(transport.request({ ...put, timeout: millisOf(50) }));
    const third = kindOf(transport.request({ ...put, signal: stop.signal }));
    stop.abort();
    expect([await second, await third]).toEqual(["Refused Timeout", "Refused Aborted"]);
    waiting[0]?.end("{}");
    await first;
    const fourth = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 2,
    );
    waiting[1]?.end("{}");
    await fourth;
    expect(server.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("the caller had given up before asking", async () => {
    const server = await http();
    expect(await kindOf(transportTo(server.port).request({ ...put, signal: AbortSignal.abort() }))).toBe(
      "Refused Aborted",
    );
    expect(server.requests).toEqual([]);
  });

  test("[SEC-41] the body is too large to be sent", async () => {
    const server = await http();
    expect(await kindOf(transportTo(server.port).request({ ...put, body: "ä".repeat(1.6 * 1024 * 1024) }))).toBe(
      "TooLarge RequestTooLarge",
    );
    expect(server.requests).toEqual([]);
  });

  test("the transport is closed", async () => {
    const server = await http();
    const transport = transportTo(server.port);
    await transport.request(get);
    await transport.close();
    expect(await kindOf(transport.request(put))).toBe("Refused Closed");
    await transport.close();
  });
});

describe("[S26] sent, and no usable answer: Ambiguous, and never sent again", () => {
  const whole = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n";
  test.each<readonly [string, (socket: Socket) => void, string]>([
    ["reset after the request", (socket) => socket.resetAndDestroy(), "Ambiguous ECONNRESET"],
    ["closed after the request", (socket) => socket.end(), "Ambiguous UND_ERR_SOCKET"],
    ["cut in the head", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-le"), "Ambiguous"],
    ["cut in the body", (socket) => socket.end(`${whole}{"a":`), "Ambiguous"],
    ["silence", () => undefined, "Ambiguous Timeout"],
    ["a body that never ends", (socket) => void socket.write(`${whole}{"a":`), "Ambiguous Timeout"],
    [
      "a body that is no JSON",
      (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n}{}"),
      "Ambiguous NotJson",
    ],
    ["no HTTP at all", (socket) => void socket.write("SSH-2.0-OpenSSH\r\n\r\n"), "Ambiguous"],
  ])("%s", async (_what, script, expected) => {
    const server = await tcp(script);
    const timeout = expected.endsWith("Timeout") ? millisOf(200) : seconds(30);
    const error = await failure(transportTo(server.port).request({ ...put, timeout }));
    expect(`${error.kind} ${error.reason}`).toContain(expected);
    expect(server.received().split("PUT /x").length - 1).toBe(1);
    expect(error.message).not.toContain("secret");
  });

  test("the caller gives up while the answer is awaited: the connection is destroyed, no late answer reaches the next", async () => {
    const server = await tcp((socket, n) => {
      if (n > 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":2}');
    });
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    const stop = new AbortController();
    const first = kindOf(transport.request({ ...put, signal: stop.signal }));
    await until(server.received, (text) => text.includes('{"a":1}'));
    stop.abort();
    expect(await first).toBe("Ambiguous Aborted");
    server.connections[0]?.write('HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{"n":1}');
    expect((await transport.request(get)).body).toEqual({ n: 2 });
  });

  test("a kept connection that dies under the next request does not make that request go out twice", async () => {
    const server = await tcp((socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
    const transport = transportTo(server.port, { limits: { connections: { bulk: 1, user: 1, lease: 1, event: 1 } } });
    await transport.request(get);
    server.connections[0]?.on("data", () => server.connections[0]?.resetAndDestroy());
    expect((await failure(transport.request(put))).kind).toBe("Ambiguous");
    await transport.request(get);
    expect(server.received().split("PUT /x").length - 1).toBe(1);
  });
});

describe("[SEC-41] [kube-apiserver/hostile] hostile answers to a read are bad answers, bounded", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  test.each<readonly [string, (socket: Socket) => void, string]>([
    [
      "a body beyond the limit",
      (socket) => void socket.write(`${head}content-length: 9999999\r\n\r\n${"x".repeat(5000)}`),
      "BadAnswer AnswerTooLarge",
    ],
    [
      "an endless head",
      (socket) => void socket.write(`${head}${`x-filler: ${"y".repeat(500)}\r\n`.repeat(100)}`),
      "BadAnswer",
    ],
    [
      "a body that is no JSON",
      (socket) => void socket.write(`${head}content-length: 3\r\n\r\n}{}`),
      "BadAnswer NotJson",
    ],
    [
      "a body that is no text",
      (socket) =>
        void socket.write(
          Buffer.concat([Buffer.from(`${head}content-length: 4\r\n\r\n"`), Buffer.of(0xff, 0xfe), Buffer.from('"')]),
        ),
      "BadAnswer NotJson",
    ],
    ["garbage for a head", (socket) => void socket.write("}{}{}{\r\n\r\n"), "BadAnswer"],
  ])("%s", async (_what, script, expected) => {
    const server = await tcp(script);
    const transport = transportTo(server.port, { limits: { objectBytes: 1000 } });
    expect(await kindOf(transport.request({ ...get, timeout: seconds(30) }))).toContain(expected);
  });

  test("an encoding that was not asked for is not decoded", async () => {
    const server = await http(
      (response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(1_000_000))),
    );
    expect(await kindOf(transportTo(server.port).request(get))).toBe("BadAnswer NotJson");
  });

  test("a list may be larger than an object, and is decoded the same", async () => {
    const list = {
      metadata: { resourceVersion: "1" },
      items: Array.from({ length: 300 }, (_, i) => ({ i, text: "x".repeat(10) })),
    };
    const server = await http((response) => void response.end(JSON.stringify(list)));
    const transport = transportTo(server.port, { limits: { objectBytes: 1000, listBytes: 100_000 } });
    expect((await transport.request({ ...get, answer: "list" })).body).toEqual(list);
    expect(await kindOf(transport.request(get))).toBe("BadAnswer AnswerTooLarge");
    const small = transportTo(server.port, { limits: { listBytes: 1000 } });
    expect(await kindOf(small.request({ ...get, answer: "list" }))).toBe("BadAnswer AnswerTooLarge");
  });
});

test("[SEC-4] [SEC-23] a redirect is an answer like any other: not followed, and the token goes nowhere else", async () => {
  const elsewhere = await http();
  const server = await http(
    (response) =>
      void response
        .writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/x`, "alt-svc": `h2=":${elsewhere.port}"` })
        .end(),
  );
  const transport = transportTo(server.port);
  expect((await transport.request(put)).status).toBe(307);
  expect((await transport.request(get)).status).toBe(307);
  expect(elsewhere.requests).toEqual([]);
});
