import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { HttpResult } from "../../src/infra/egress/http.ts";
import { LARGEST_ANSWER } from "../../src/infra/egress/http-answer.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { always, answer, onRequest } from "../support/egress/answers.ts";
import { aCall, httpEndpoint, never, openRig, type Rig } from "../support/egress/rig.ts";
import { countSockets, openTrap, type Trap } from "../support/egress/trap.ts";
import { until } from "../support/egress/until.ts";

const rigFor = (...servers: readonly Trap[]): Rig =>
  openRig({ endpoints: [httpEndpoint({ ports: servers.map(({ port }) => port) })] });

async function ask(serve: (socket: Socket, nth: number) => void, timeout = millisOf(400)): Promise<[HttpResult, Trap]> {
  await using server = await openTrap({ serve });
  await using rig = rigFor(server);
  return [await rig.http.send(aCall({ address: server.address, timeout }), never), server];
}

/** Writes until the other side has had enough; says how much it took. */
function flood(
  chunk: Buffer,
  limit: number,
): { readonly serve: (socket: Socket) => void; readonly sent: () => number } {
  let sent = 0;
  const pump = (socket: Socket): void => {
    while (!socket.destroyed && sent < limit) {
      sent += chunk.byteLength;
      if (!socket.write(chunk)) {
        socket.once("drain", () => pump(socket));
        return;
      }
    }
  };
  return { serve: pump, sent: () => sent };
}

describe("[SEC-41] an answer is read up to its bound", () => {
  const MIB = 1024 * 1024;
  const GIB = 1024 * MIB;

  test("1 GiB announced is not read", async () => {
    const { serve, sent } = flood(Buffer.alloc(64 * 1024, "x"), GIB);
    const head = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${GIB}\r\n\r\n`);
    const [result] = await ask(
      onRequest((socket) => {
        socket.write(head);
        serve(socket);
      }),
    );
    expect(result).toMatchObject({ kind: "answer", status: 200, json: { ok: false, reason: "too large" } });
    expect(sent()).toBeLessThan(16 * MIB);
  });

  test("1 GiB in chunks is not read", async () => {
    const { serve, sent } = flood(
      Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536, "x"), Buffer.from("\r\n")]),
      GIB,
    );
    const [result] = await ask(
      onRequest((socket) => {
        socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        serve(socket);
      }),
    );
    expect(result).toMatchObject({ kind: "answer", status: 200, json: { ok: false, reason: "too large" } });
    expect(sent()).toBeLessThan(16 * MIB);
  });

  test("64 KiB are read, one byte more is not", async () => {
    const text = (bytes: number): string => JSON.stringify("x".repeat(bytes - 2));
    const [whole] = await ask(onRequest((socket) => void socket.write(answer(200, text(LARGEST_ANSWER)))));
    const [cut] = await ask(onRequest((socket) => void socket.write(answer(200, text(LARGEST_ANSWER + 1)))));
    expect(whole).toMatchObject({ kind: "answer", json: { ok: true }, bytes: LARGEST_ANSWER });
    expect(cut).toMatchObject({ kind: "answer", json: { ok: false, reason: "too large" } });
  });

  test("a header beyond 16 KiB ends the exchange", async () => {
    const { serve } = flood(Buffer.from(`x-filler: ${"y".repeat(1000)}\r\n`), 64 * MIB);
    const [result, server] = await ask(
      onRequest((socket) => {
        socket.write("HTTP/1.1 200 OK\r\n");
        serve(socket);
      }),
      seconds(5),
    );
    expect(result).toMatchObject({ kind: "lost", fault: { code: "AnswerLost" } });
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
  });

  test("a gzip bomb stays packed", async () => {
    const bomb = gzipSync(Buffer.alloc(32 * MIB));
    expect(bomb.byteLength).toBeLessThan(LARGEST_ANSWER);
    const [result] = await ask(
      onRequest((socket) => void socket.write(answer(200, bomb, { "content-encoding": "gzip" }))),
    );
    expect(result).toMatchObject({ kind: "answer", json: { ok: false, reason: "encoded", bytes: bomb.byteLength } });
  });
});

describe("[SEC-41] time is bounded whatever the server does", () => {
  const drip = (text: string) =>
    onRequest((socket) => {
      let at = 0;
      const timer = setInterval(() => {
        if (socket.destroyed) clearInterval(timer);
        else socket.write(text[at++ % text.length] ?? "");
      }, 20);
      socket.on("close", () => clearInterval(timer));
    });
  test.each([
    ["says nothing", () => undefined],
    ["drips a header", drip("HTTP/1.1 200 OK\r\nx-a: 1\r\n")],
    [
      "drips a body",
      onRequest((socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        drip("{}")(socket);
        socket.emit("data", Buffer.of(0));
      }),
    ],
    [
      "sends only interim answers",
      onRequest((socket) => {
        const timer = setInterval(() => void (socket.destroyed || socket.write("HTTP/1.1 103 Early Hints\r\n\r\n")), 5);
        socket.on("close", () => clearInterval(timer));
      }),
    ],
    [
      "never ends a chunk",
      onRequest((socket) => void socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n{")),
    ],
  ])("a server that %s", async (_title, serve) => {
    const [result, server] = await ask(serve);
    expect(result).toEqual({
      kind: "lost",
      fault: expect.objectContaining({
        code: "HttpTimeout",
        message: `gateway: ${server.address} did not answer within 400ms`,
      }) as unknown,
    });
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
  });
});

describe("[SEC-33] [SEC-44] an answer is data, or refused before anything looks at it", () => {
  test.each([
    ["not JSON", "<html></html>", "not JSON"],
    ["cut JSON", '{"a":', "not JSON"],
    ["two documents", "{}{}", "not JSON"],
    ["__proto__", '{"__proto__":{"admin":true}}', "forbidden key"],
    ["escaped __proto__", '{"__pr\\u006fto__":{"admin":true}}', "forbidden key"],
    ["constructor", '{"a":{"constructor":{"prototype":{"admin":true}}}}', "forbidden key"],
    ["a key twice", '{"opId":"a","opId":"b"}', "a key stands twice"],
    ["17 levels", "[".repeat(17) + "]".repeat(17), "deeper than 16"],
    ["30,000 levels", "[".repeat(30_000), "deeper than 16"],
    [
      "1,001 keys",
      JSON.stringify(Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`k${i}`, 0]))),
      "more than 1000 keys",
    ],
    ["lone surrogate", '{"a":"\\ud800"}', "lone surrogate"],
    ["byte order mark of UTF-16", Buffer.from("fffe7b007d00", "hex"), "not UTF-8"],
    ["broken UTF-8", Buffer.from("22c328 22".replaceAll(" ", ""), "hex"), "not UTF-8"],
  ])("%s", async (_title, body, reason) => {
    const [result] = await ask(onRequest((socket) => void socket.write(answer(200, body))));
    expect(result).toMatchObject({ kind: "answer", status: 200, json: { ok: false } });
    expect(result.kind === "answer" && result.json !== null && !result.json.ok ? result.json.reason : "").toMatch(
      reason === "lone surrogate" ? /lone surrogate|not JSON/ : reason,
    );
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
  });

  test("an empty answer has no JSON, and 16 levels pass", async () => {
    const [empty] = await ask(onRequest((socket) => void socket.write(answer(204, ""))));
    const [deep] = await ask(onRequest((socket) => void socket.write(answer(200, "[".repeat(16) + "]".repeat(16)))));
    expect(empty).toMatchObject({ kind: "answer", status: 204, json: null, bytes: 0 });
    expect(deep).toMatchObject({ kind: "answer", json: { ok: true } });
  });
});

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

describe("[SEC-19] guard 6: one connection, one caller", () => {
  test("the answer to a cancelled exchange reaches nobody", async () => {
    const held: Socket[] = [];
    await using server = await openTrap({
      serve: (socket, nth) =>
        void socket.on("data", () => (nth === 1 ? held.push(socket) : socket.write(answer(200, '{"for":"second"}')))),
    });
    await using rig = rigFor(server);
    const first = await rig.http.send(aCall({ address: server.address, timeout: millisOf(100) }), never);
    expect(first).toMatchObject({ kind: "lost" });
    held[0]?.write(answer(200, '{"for":"first"}'));
    const second = await rig.http.send(aCall({ address: server.address }), never);
    expect(second).toMatchObject({ kind: "answer", json: { value: { for: "second" } } });
    expect(server.connections).toBe(2);
  });

  test("a second answer to one request reaches nobody", async () => {
    await using server = await openTrap({
      serve: (socket, nth) =>
        void socket.on("data", () => {
          const whole = answer(200, `{"connection":${nth}}`);
          socket.write(nth === 1 ? Buffer.concat([whole, answer(200, '{"smuggled":true}')]) : whole);
        }),
    });
    await using rig = rigFor(server);
    const results = [];
    for (let i = 0; i < 3; i += 1) results.push(await rig.http.send(aCall({ address: server.address }), never));
    expect(JSON.stringify(results)).not.toContain("smuggled");
  });

  test("a connection is used again only after a whole answer", async () => {
    await using server = await openTrap({ serve: always(answer(200, '{"a":1}')) });
    await using rig = rigFor(server);
    for (let i = 0; i < 5; i += 1) await rig.http.send(aCall({ address: server.address }), never);
    expect(server.connections).toBe(1);
    await using large = await openTrap({ serve: always(answer(200, "x".repeat(LARGEST_ANSWER + 1))) });
    await using other = rigFor(large);
    for (let i = 0; i < 3; i += 1) await other.http.send(aCall({ address: large.address }), never);
    expect(large.connections).toBe(3);
  });

  test("a connection that the server closed while it idled is not used", async () => {
    await using server = await openTrap({ serve: (socket) => void socket.on("data", () => socket.end(answer(200))) });
    await using rig = rigFor(server);
    for (let i = 0; i < 3; i += 1) {
      expect(await rig.http.send(aCall({ address: server.address }), never)).toMatchObject({ kind: "answer" });
      await until(
        () => server.open,
        (open) => open === 0,
      );
    }
    expect(server.connections).toBe(3);
  });
});

describe("[SEC-40] sockets are counted per namespace", () => {
  function busyServer(): { serve: (socket: Socket) => void; most: () => number; release: () => void } {
    let now = 0;
    let most = 0;
    let waiting: Socket[] = [];
    let open = false;
    const reply = (socket: Socket): void => {
      now -= 1;
      socket.write(answer(200));
    };
    return {
      serve: (socket) =>
        void socket.on("data", () => {
          now += 1;
          most = Math.max(most, now);
          if (open) setImmediate(() => reply(socket));
          else waiting.push(socket);
        }),
      most: () => most,
      release: () => {
        open = true;
        for (const socket of waiting) reply(socket);
        waiting = [];
      },
    };
  }

  test("four at once to one address, the others wait their turn and are all served", async () => {
    const busy = busyServer();
    await using server = await openTrap({ serve: busy.serve });
    await using rig = rigFor(server);
    const all = Promise.all(Array.from({ length: 40 }, () => rig.http.send(aCall({ address: server.address }), never)));
    await until(busy.most, (most) => most === 4);
    busy.release();
    expect((await all).every(({ kind }) => kind === "answer")).toBe(true);
    expect({ most: busy.most(), connections: server.connections }).toEqual({ most: 4, connections: 4 });
  });

  test("a namespace that holds all of its sockets leaves another one its own", async () => {
    const busy = busyServer();
    await using server = await openTrap({ serve: busy.serve });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port], allowedNamespaces: ["prod", "dev"] })],
    });
    const hog = Promise.all(Array.from({ length: 20 }, () => rig.http.send(aCall({ address: server.address }), never)));
    await until(busy.most, (most) => most === 4);
    const other = rig.http.send(aCall({ address: server.address, namespace: "dev" }), never);
    expect(await until(busy.most, (most) => most === 5)).toBe(5);
    busy.release();
    expect(await other).toMatchObject({ kind: "answer" });
    await hog;
  });

  test("who waits in vain was sent nothing", async () => {
    await using server = await openTrap();
    await using rig = rigFor(server);
    const calls = Array.from({ length: 6 }, () =>
      rig.http.send(aCall({ address: server.address, timeout: millisOf(300) }), never),
    );
    const kinds = (await Promise.all(calls)).map(({ kind }) => kind);
    expect(kinds.toSorted()).toEqual(["lost", "lost", "lost", "lost", "notSent", "notSent"]);
    expect(server.connections).toBe(4);
  });

  test("idle connections of one endpoint give way to another endpoint of the same address", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    await using rig = openRig({
      endpoints: [httpEndpoint({ ports: [server.port] }), httpEndpoint({ name: "legacy", ports: [server.port] })],
    });
    const all = (endpoint: string): Promise<HttpResult[]> =>
      Promise.all(Array.from({ length: 8 }, () => rig.http.send(aCall({ address: server.address, endpoint }), never)));
    for (const endpoint of ["gateway", "legacy", "gateway"]) {
      expect((await all(endpoint)).every(({ kind }) => kind === "answer")).toBe(true);
      expect(server.open).toBeLessThanOrEqual(4);
    }
  });

  test("all addresses together stay below the namespace's bound", async () => {
    const busy = busyServer();
    await using one = await openTrap({ serve: busy.serve });
    await using two = await openTrap({ serve: busy.serve });
    await using rig = openRig({ endpoints: [httpEndpoint({ ports: [one.port, two.port] })], perNamespace: 5 });
    const all = Promise.all(
      [one, two].flatMap(({ address }) => Array.from({ length: 4 }, () => rig.http.send(aCall({ address }), never))),
    );
    await until(busy.most, (most) => most === 5);
    busy.release();
    expect((await all).every(({ kind }) => kind === "answer")).toBe(true);
    expect(busy.most()).toBe(5);
  });

  test("closing leaves no connection", async () => {
    await using server = await openTrap({ serve: always(answer(200)) });
    const rig = rigFor(server);
    await Promise.all(Array.from({ length: 3 }, () => rig.http.send(aCall({ address: server.address }), never)));
    using sockets = countSockets();
    await rig[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    expect(
      await until(
        () => server.open,
        (open) => open === 0,
      ),
    ).toBe(0);
    expect(sockets.count).toBe(0);
  });
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}
