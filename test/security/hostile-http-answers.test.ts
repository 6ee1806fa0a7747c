import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { LARGEST_ANSWER } from "../../src/infra/egress/http-answer.ts";
import { seconds } from "../../src/lib/time.ts";
import { answer, onRequest } from "../support/egress/answers.ts";
import { until } from "../support/egress/until.ts";
import { ask } from "./hostile-server.ts";

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
