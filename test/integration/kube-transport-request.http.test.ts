import type { ServerResponse } from "node:http";

import { describe, expect, test } from "vitest";

import type { Point } from "../../src/lib/seams.ts";
import { seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { get, http, kindOf, POINT, put, transportTo } from "./kube-transport-rig.ts";

describe("a request", () => {
  test("carries credentials, asks for plain JSON, and says who writes", async () => {
    const server = await http();
    const transport = transportTo(server.port, { basePath: "/k8s/c1", userAgent: "turnout/1" });
    await transport.request({ ...get, query: { labelSelector: "a in (b, c)", limit: "5" } });
    await transport.request({ ...put, contentType: "application/merge-patch+json" });
    expect(server.requests).toMatchObject([
      {
        method: "GET",
        url: "/k8s/c1/x?labelSelector=a+in+%28b%2C+c%29&limit=5",
        headers: {
          authorization: "Bearer secret",
          accept: "application/json",
          "accept-encoding": "identity",
          "user-agent": "turnout/1",
        },
        body: "",
      },
      { method: "PUT", headers: { "content-type": "application/merge-patch+json" }, body: '{"a":1}' },
    ]);
    expect(server.requests[0]?.headers).not.toHaveProperty("content-type");
  });

  test("that writes must name its point, and passes the boundary; a read does not", async () => {
    const server = await http();
    const passed: (Point | string)[] = [];
    const boundary = {
      async around<T>(point: Point, send: () => Promise<T>): Promise<T> {
        passed.push(point, `before ${server.requests.length}`);
        const result = await send();
        passed.push(`after ${server.requests.length}`);
        return result;
      },
    };
    const transport = transportTo(server.port, { boundary });
    await transport.request(get);
    await transport.request(put);
    expect(passed).toEqual([POINT, "before 1", "after 2"]);
    const { point: _left, ...pointless } = put;
    await expect(transport.request(pointless)).rejects.toThrow("without a point");
    expect(server.requests).toHaveLength(2);
  });

  test("gives status, headers that matter and the decoded body; an empty body is null", async () => {
    const server = await http((response, n) => {
      if (n === 1) response.writeHead(201, { "retry-after": "7", "x-other": "1" }).end('{"a":"ä"}');
      else response.writeHead(n === 2 ? 200 : 502).end(n === 2 ? "" : "<html>");
    });
    const transport = transportTo(server.port);
    const first = await transport.request(get);
    expect([first.status, first.headers["retry-after"], first.headers["x-other"], first.body]).toEqual([
      201,
      "7",
      undefined,
      { a: "ä" },
    ]);
    expect(await transport.request(get)).toMatchObject({ status: 200, body: null });
    expect(await transport.request(get)).toMatchObject({ status: 502, body: null });
  });

  test("tells the Date of answers below 500, and when the request was sent", async () => {
    const server = await http(
      (response, n) => void response.writeHead(n === 2 ? 500 : 404, { date: `n${n}` }).end("{}"),
    );
    const clock = new ManualClock();
    await clock.advance(seconds(3));
    const dates: [string, number][] = [];
    const transport = transportTo(server.port, { clock, onServerDate: (date, sentAt) => dates.push([date, sentAt]) });
    for (let i = 0; i < 3; i += 1) await transport.request(get);
    expect(dates).toEqual([
      ["n1", 3000],
      ["n3", 3000],
    ]);
  });

  test("[kube-apiserver/busy] uses kept connections, no more than its lane has, and lanes do not wait for each other", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const limits = { connections: { bulk: 3, user: 1, lease: 1, event: 1 } };
    const transport = transportTo(server.port, { limits });
    const bulk = Array.from({ length: 10 }, () => transport.request(get));
    await until(
      () => waiting.length,
      (n) => n === 3,
    );
    const user = transport.request({ ...get, lane: "user" });
    const lease = transport.request({ ...put, lane: "lease" });
    await until(
      () => waiting.length,
      (n) => n === 5,
    );
    for (const response of waiting.splice(3)) response.end("{}");
    await Promise.all([user, lease]);
    const pump = setInterval(() => {
      for (const response of waiting.splice(0)) response.end("{}");
    }, 1);
    await Promise.all(bulk);
    clearInterval(pump);
    expect([server.requests.length, server.sockets.size]).toEqual([12, 5]);
  });

  test("beyond what may be in flight is refused, and room comes back", async () => {
    const waiting: ServerResponse[] = [];
    const server = await http((response) => void waiting.push(response));
    const transport = transportTo(server.port, { limits: { inFlight: 2 } });
    const two = [transport.request(get), transport.request(get)];
    expect(await kindOf(transport.request(get))).toBe("Refused TooManyInFlight");
    await until(
      () => waiting.length,
      (n) => n === 2,
    );
    for (const response of waiting) response.end("{}");
    await Promise.all(two);
    const third = transport.request(get);
    await until(
      () => waiting.length,
      (n) => n === 3,
    );
    waiting[2]?.end("{}");
    expect((await third).status).toBe(200);
  });
});
