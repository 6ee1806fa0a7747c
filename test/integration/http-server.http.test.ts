import { createServer, type IncomingMessage, request as send } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { withLogContext } from "../../src/infra/clog/log-context.ts";
import { openLog } from "../../src/infra/clog/log.ts";
import { measured, type RequestHandler } from "../../src/infra/metrics/http-server.ts";
import { openMetrics } from "../../src/infra/metrics/metrics.ts";
import { millisOf } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock, seededRng } from "../support/manual-clock.ts";

/** Time passes only where the handler says so. */
async function serve(handler: RequestHandler, clock = new ManualClock()) {
  const lines: string[] = [];
  const log = openLog({ level: "debug", clock, destination: { write: (line) => void lines.push(line) } });
  const metrics = openMetrics();
  const server = createServer(
    measured(
      (request, response, ids) => {
        log.info({ path: request.url }, "handled");
        handler(request, response, ids);
      },
      {
        metrics,
        log: log.module("http"),
        clock,
        rng: seededRng(),
        within: withLogContext,
        routeOf: ({ url = "" }) => (url.startsWith("/tenants/") ? "/tenants/:id" : null),
        slow: () => millisOf(100),
      },
    ),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    metrics,
    server,
    said: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>),
    ask: async (path: string, method = "GET", headers: Readonly<Record<string, string>> = {}) => {
      const asked = send({ host: "127.0.0.1", port, path, method, headers }).end();
      const [response] = (await once(asked, "response")) as [IncomingMessage];
      response.resume();
      await once(response, "end");
      return response;
    },
    leave: (path: string) => {
      const asked = send({ host: "127.0.0.1", port, path }).on("error", () => undefined);
      asked.end();
      return () => asked.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("[R130] requests are counted by method, route pattern and code, timed, and shown while in flight", async () => {
  const gate = Promise.withResolvers<void>();
  await using rig = await serve((request, response) => {
    void (request.url === "/tenants/held" ? gate.promise : Promise.resolve()).then(() => {
      response.statusCode = request.url === "/none" ? 404 : 200;
      response.end("x");
    });
  });
  for (const id of ["a", "b", "c"]) await rig.ask(`/tenants/${id}`);
  await rig.ask("/none");
  await rig.ask("/tenants/a", "PROPFIND");
  const held = rig.ask("/tenants/held", "POST");
  const shows = (line: string): Promise<string> =>
    until(
      () => rig.metrics.text(),
      (text) => text.includes(line),
    );
  expect(await shows("infra_http_in_flight 1")).not.toContain('method="POST"');
  gate.resolve();
  await held;
  const text = await shows("infra_http_in_flight 0");
  for (const line of [
    'infra_http_requests_total{method="GET",route="/tenants/:id",code="200"} 3',
    'infra_http_requests_total{method="POST",route="/tenants/:id",code="200"} 1',
    'infra_http_requests_total{method="other",route="/tenants/:id",code="200"} 1',
    'infra_http_requests_total{method="GET",route="none",code="404"} 1',
    'infra_http_request_duration_seconds_count{method="GET",route="/tenants/:id"} 3',
  ])
    expect(text).toContain(line);
});

test("[R130] slow requests are logged and counted, others are not; a caller that leaves is 499", async () => {
  const clock = new ManualClock();
  await using rig = await serve((request, response) => {
    const took = { "/tenants/quick": 99, "/tenants/slow": 100 }[request.url ?? ""];
    if (took !== undefined) void clock.advance(millisOf(took)).then(() => response.end());
  }, clock);
  await rig.ask("/tenants/quick");
  await rig.ask("/tenants/slow");
  const leave = rig.leave("/tenants/left");
  await until(
    () => rig.said().map(({ path }) => path),
    (paths) => paths.includes("/tenants/left"),
  );
  leave();
  const text = await until(
    () => rig.metrics.text(),
    (seen) => seen.includes('code="499"'),
  );
  expect(text).toContain('infra_slow_total{component="http"} 1');
  const slow = rig.said().filter(({ message }) => message === "slow request");
  expect(slow).toEqual([
    expect.objectContaining({
      level: "warn",
      module: "http",
      method: "GET",
      route: "/tenants/:id",
      code: "200",
      millis: 100,
    }),
  ]);
});

test("[R134] every line of a request carries its trace and request id, taken over where they are well formed", async () => {
  await using rig = await serve((_request, response) => response.end());
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01`, "x-request-id": "r-1" };
  expect((await rig.ask("/a", "GET", headers)).headers["x-request-id"]).toBe("r-1");
  const own = (await rig.ask("/b", "GET", { traceparent: "nonsense", "x-request-id": "two words" })).headers[
    "x-request-id"
  ];
  expect(own).toMatch(/^[a-z0-9]{26}$/);
  const [first, second] = rig.said();
  expect(first).toMatchObject({ trace_id: trace, request_id: "r-1", path: "/a" });
  expect(second).toMatchObject({ trace_id: expect.stringMatching(/^[0-9a-f]{32}$/), request_id: own });
  expect(second?.trace_id).not.toBe(trace);
});
