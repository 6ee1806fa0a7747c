import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

import { describe, expect, test } from "vitest";

import { seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { get, http, kindOf, put, tcp, transportTo } from "./kube-transport-rig.ts";

describe("a stream", () => {
  const read = async (chunks: AsyncIterable<Uint8Array>, most = Number.POSITIVE_INFINITY): Promise<string> => {
    let text = "";
    for await (const chunk of chunks) {
      text += Buffer.from(chunk).toString();
      if (text.length >= most) break;
    }
    return text;
  };

  test("gives status, headers and the bytes as they come, on a connection of its own that ends with it", async () => {
    const server = await http((response) => {
      response.writeHead(200, { date: "today" }).write("one\n");
      setImmediate(() => response.end("two\n"));
    });
    const dates: string[] = [];
    const transport = transportTo(server.port, { onServerDate: (date) => dates.push(date) });
    const { status, headers, chunks } = await transport.stream({ ...get, query: { watch: "true" } });
    expect([status, headers.date, dates, server.requests[0]?.url]).toEqual([200, "today", ["today"], "/x?watch=true"]);
    expect(await read(chunks)).toBe("one\ntwo\n");
    await until(
      () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
      (n) => n === 0,
    );
  });

  test("whose reader leaves is closed", async () => {
    const server = await http((response) => void response.writeHead(200).write("x".repeat(100)));
    const transport = transportTo(server.port);
    const { chunks } = await transport.stream(get);
    await read(chunks, 1);
    expect(
      await until(
        () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
        (n) => n === 0,
      ),
    ).toBe(0);
  });

  test("ends with its signal, before and while it is read", async () => {
    const server = await http((response) => void response.writeHead(200).write("x"));
    const transport = transportTo(server.port);
    const stop = new AbortController();
    const [unread, reading] = [
      await transport.stream({ ...get, signal: stop.signal }),
      await transport.stream({ ...get, signal: stop.signal }),
    ];
    const ended = read(reading.chunks);
    stop.abort();
    const broken = await Promise.all([kindOf(ended), kindOf(read(unread.chunks))]);
    expect(broken.filter((kind) => /^Ambiguous .*abort/i.test(kind))).toHaveLength(2);
    expect(await kindOf(transport.stream({ ...get, signal: stop.signal }))).toBe("Ambiguous Aborted");
    await until(
      () => [...server.sockets].filter((socket) => !(socket as Socket).destroyed).length,
      (n) => n === 0,
    );
  });

  test("that is not answered in time is given up; one that was may be silent for as long as it likes", async () => {
    const clock = new ManualClock();
    const silent = await tcp(() => undefined);
    const given = kindOf(transportTo(silent.port, { clock }).stream({ ...get, timeout: seconds(15) }));
    await until(silent.received, (text) => text.includes("GET /x"));
    await clock.advance(seconds(15));
    expect(await given).toBe("Ambiguous Timeout");
    const answers: ServerResponse[] = [];
    const slow = await http((response) => {
      response.writeHead(200).write("a");
      answers.push(response);
    });
    const { chunks } = await transportTo(slow.port, { clock }).stream({ ...get, timeout: seconds(15) });
    await clock.advance(seconds(3600));
    answers[0]?.end("b");
    expect(await read(chunks)).toBe("ab");
  });

  test("breaks off where the connection does", async () => {
    const server = await tcp((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
      setTimeout(() => socket.resetAndDestroy(), 30);
    });
    const { chunks } = await transportTo(server.port).stream(get);
    expect(await kindOf(read(chunks))).toMatch(/^Ambiguous (ECONNRESET|UND_ERR_SOCKET)$/);
  });

  test("and every request end when the transport is closed", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http(
      (response, n) => void (n === 1 ? response.writeHead(200).write("x") : waiting.push(response)),
    );
    const transport = transportTo(server.port);
    const { chunks } = await transport.stream(get);
    const [stream, request] = [read(chunks).catch(() => "broken"), kindOf(transport.request(put))];
    await until(
      () => waiting.length,
      (n) => n === 1,
    );
    await transport.close();
    expect([await stream, (await request).split(" ")[0]]).toEqual(["broken", "Ambiguous"]);
  });
});
