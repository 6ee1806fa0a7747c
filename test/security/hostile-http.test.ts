import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { always, answer, onRequest } from "../support/egress/answers.ts";
import { aCall, never } from "../support/egress/rig.ts";
import { openTrap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";
import { ask, rigFor } from "./hostile-server.ts";

describe("[S16] [SEC-23] nothing leads elsewhere", () => {
  test.each([301, 302, 303, 307, 308])("a redirect (%i) is an answer and nothing more", async (status) => {
    await using trap = await openTrap();
    await using server = await openTrap({
      serve: always(answer(status, "", { location: `http://${trap.address}/x` })),
    });
    await using rig = rigFor(server, trap);
    expect(await rig.http.send(aCall({ address: server.address }), never)).toMatchObject({ kind: "answer", status });
    expect({ connections: trap.connections, asked: server.connections }).toEqual({ connections: 0, asked: 1 });
  });

  test.each(["alt-svc", "link", "refresh", "content-location"])("the field %s is not followed", async (name) => {
    await using trap = await openTrap();
    const value = name === "alt-svc" ? `h2="${trap.address}"; ma=3600` : `0; url=http://${trap.address}/`;
    await using server = await openTrap({ serve: always(answer(200, "{}", { [name]: value })) });
    await using rig = rigFor(server, trap);
    for (let i = 0; i < 2; i += 1) await rig.http.send(aCall({ address: server.address }), never);
    expect({ connections: trap.connections, asked: server.connections }).toEqual({ connections: 0, asked: 1 });
  });

  test.each(
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "npm_config_proxy"].flatMap((name) => [
      name,
      name.toUpperCase(),
    ]),
  )("the variable %s is not read", async (name) => {
    await using trap = await openTrap();
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = rigFor(server, trap);
    const before = { value: process.env[name], use: process.env.NODE_USE_ENV_PROXY };
    process.env[name] = name.toLowerCase() === "no_proxy" ? "" : `http://${trap.address}`;
    process.env.NODE_USE_ENV_PROXY = "1";
    try {
      expect(await rig.http.send(aCall({ address: server.address }), never)).toMatchObject({
        kind: "answer",
        status: 200,
      });
    } finally {
      restore(name, before.value);
      restore("NODE_USE_ENV_PROXY", before.use);
    }
    expect({ connections: trap.connections, asked: server.connections }).toEqual({ connections: 0, asked: 1 });
  });

  test("an upgrade that nobody asked for is no answer", async () => {
    const [result] = await ask(
      onRequest((socket) => void socket.write("HTTP/1.1 101 x\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")),
    );
    expect(result.kind).toBe("lost");
  });
});

describe("[SEC-19] what was sent, and what nobody knows", () => {
  test.each([
    ["reset before a byte of the answer", (socket: Socket) => void socket.resetAndDestroy()],
    ["closed before a byte of the answer", (socket: Socket) => void socket.end()],
    ["cut inside the header", (socket: Socket) => void socket.end("HTTP/1.1 200 OK\r\nconte")],
    ["cut inside the body", (socket: Socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")],
    ["garbage", (socket: Socket) => void socket.end("\0\0\0\0SSH-2.0\r\n\r\n")],
    [
      "two lengths",
      (socket: Socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x"),
    ],
    [
      "length and chunks",
      (socket: Socket) =>
        void socket.end(
          "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ),
    ],
  ])("a request whose answer is %s is lost, and sent once", async (_title, act) => {
    const [result, server] = await ask(onRequest(act));
    expect(result).toMatchObject({ kind: "lost", fault: { code: "AnswerLost" } });
    expect(server.connections).toBe(1);
    expect(server.text.match(/GET /g)).toHaveLength(1);
  });

  test("nothing listens: not sent", async () => {
    const server = await openTrap();
    await server[Symbol.asyncDispose]();
    await using rig = rigFor(server);
    const result = await rig.http.send(aCall({ address: server.address }), never);
    expect(result).toMatchObject({ kind: "notSent", fault: { code: "ConnectRefused" } });
  });

  test("the caller's own end: before the connection not sent, after the request lost", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    const early = new AbortController();
    early.abort();
    expect(await rig.http.send(aCall({ address: server.address }), early.signal)).toMatchObject({ kind: "notSent" });
    expect(server.connections).toBe(0);
    const late = new AbortController();
    const sending = rig.http.send(aCall({ address: server.address }), late.signal);
    await until(
      () => server.bytes,
      (bytes) => bytes > 0,
    );
    late.abort();
    expect(await sending).toMatchObject({ kind: "lost" });
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
  });
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
