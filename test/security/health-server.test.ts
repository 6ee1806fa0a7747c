import { connect, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { type Health, type HealthBoard, openHealth } from "../../src/infra/health/health.ts";
import { type HealthServer, openHealthServer } from "../../src/infra/health/health-server.ts";
import { type Metrics, openMetrics } from "../../src/infra/metrics/metrics.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";

interface Rig extends AsyncDisposable {
  readonly server: HealthServer;
  readonly health: HealthBoard;
  readonly metrics: Metrics;
  readonly clock: ManualClock;
  get(
    path: string,
    method?: string,
  ): Promise<{ readonly status: number; readonly body: string; readonly type: string }>;
}

async function openRig(host = "127.0.0.1"): Promise<Rig> {
  const clock = new ManualClock();
  const metrics = openMetrics();
  const health = openHealth({ clock, metrics });
  const server = await openHealthServer({ listen: { host, port: 0 }, health, metrics });
  const base = `http://127.0.0.1:${server.address.port}`;
  return {
    server,
    health,
    metrics,
    clock,
    get: async (path, method = "GET") => {
      const response = await fetch(base + path, { method, headers: { connection: "close" } });
      return { status: response.status, body: await response.text(), type: response.headers.get("content-type") ?? "" };
    },
    [Symbol.asyncDispose]: () => server.close(),
  };
}

const says = (status: Health["status"]) => (): Promise<Health> => Promise.resolve({ status, message: "secret detail" });

describe("[SEC-51] probes", () => {
  test("say yes or no and nothing else", async () => {
    await using rig = await openRig();
    const all = async (): Promise<string[]> =>
      Promise.all(
        ["/livez", "/startupz", "/readyz"].map(async (path) =>
          Object.values(await rig.get(path))
            .slice(0, 2)
            .join(" "),
        ),
      );
    expect(await all()).toEqual(["200 ok", "503 not ok", "503 not ok"]);
    rig.health.markStarted();
    expect(await all()).toEqual(["200 ok", "200 ok", "200 ok"]);
    rig.health.add({ component: "cache", critical: false, check: says("unhealthy") });
    await rig.clock.advance(1000 as never);
    expect(await all()).toEqual(["200 ok", "200 ok", "200 ok"]);
    rig.health.add({ component: "kube", critical: true, check: says("unhealthy") });
    await rig.clock.advance(1000 as never);
    expect(await all()).toEqual(["200 ok", "200 ok", "503 not ok"]);
  });

  test("on loopback, numbers and details are shown", async () => {
    await using rig = await openRig();
    rig.health.add({ component: "cache", critical: true, check: says("degraded") });
    rig.metrics.count("turnout_fenced_total", {}, 3);
    const details = await rig.get("/health");
    expect(JSON.parse(details.body)).toEqual({
      status: "degraded",
      message: "not healthy: cache",
      components: { cache: { status: "degraded", message: "secret detail" } },
    });
    const numbers = await rig.get("/metrics");
    expect(numbers).toMatchObject({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8" });
    expect(numbers.body).toContain("turnout_fenced_total 3");
    expect(numbers.body).toContain('turnout_health{component="cache"} 0.5');
  });

  test("beyond loopback they are not there at all", async () => {
    await using rig = await openRig("0.0.0.0");
    rig.health.add({ component: "cache", critical: true, check: says("healthy") });
    rig.health.markStarted();
    expect(await rig.get("/readyz")).toMatchObject({ status: 200 });
    for (const path of ["/health", "/metrics", "/metrics?x", "//metrics", "/METRICS"]) {
      expect(await rig.get(path)).toMatchObject({ status: 404, body: "not found" });
    }
  });

  test.each([
    ["POST", "/livez", 405],
    ["PUT", "/metrics", 405],
    ["GET", "/", 404],
    ["GET", "/livez/", 404],
    ["GET", "/__proto__", 404],
    ["GET", "/toString", 404],
    ["HEAD", "/livez", 200],
  ])("%s %s answers %i", async (method, path, status) => {
    await using rig = await openRig();
    expect(await rig.get(path, method)).toMatchObject({ status });
  });
});

describe("[SEC-51] slow and greedy clients", () => {
  const dial = (rig: Rig, text: string): { readonly socket: Socket; readonly answer: () => string } => {
    let answer = "";
    const socket = connect(rig.server.address.port, "127.0.0.1", () => void socket.write(text));
    socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    return { socket, answer: () => answer };
  };

  test("a header beyond 8 KiB is refused", async () => {
    await using rig = await openRig();
    const { answer } = dial(rig, `GET /livez HTTP/1.1\r\nhost: x\r\nx-a: ${"y".repeat(9000)}\r\n\r\n`);
    expect(await until(answer, (text) => text.includes("\r\n"))).toContain("431");
  });

  test("who does not finish a request within 5 s is cut off", async () => {
    await using rig = await openRig();
    const { socket, answer } = dial(rig, "GET /livez HTTP/1.1\r\nhost: x\r\n");
    const began = performance.now();
    await until(
      () => socket.destroyed || answer().includes("408"),
      (over) => over,
      9000,
    );
    expect(performance.now() - began).toBeGreaterThan(3000);
  });

  test("beyond 64 connections none is taken, and the others go on", async () => {
    await using rig = await openRig();
    const held = Array.from({ length: 64 }, () => dial(rig, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"));
    await until(
      () => held.filter(({ answer }) => answer().includes("200 OK")).length,
      (count) => count === 64,
    );
    const late = dial(rig, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    await until(
      () => late.socket.destroyed,
      (gone) => gone,
    );
    expect(late.answer()).toBe("");
    for (const { socket } of held) socket.destroy();
    expect(
      await until(
        () => rig.get("/livez").catch(() => null),
        (answer) => answer !== null,
      ),
    ).toMatchObject({ status: 200 });
  });

  test("closing ends open connections and frees the port", async () => {
    const rig = await openRig();
    const { socket } = dial(rig, "GET /livez HTTP/1.1\r\n");
    await until(
      () => socket.readyState,
      (state) => state === "open",
    );
    await rig.server.close();
    await until(
      () => socket.destroyed,
      (gone) => gone,
    );
    const again = await openHealthServer({ listen: rig.server.address, health: rig.health, metrics: rig.metrics });
    expect(again.address.port).toBe(rig.server.address.port);
    await again.close();
  });

  test("where it cannot listen, it says what is in the way and what to change", async () => {
    await using rig = await openRig();
    const { health, metrics } = rig;
    const { host, port } = rig.server.address;
    await expect(openHealthServer({ listen: { host, port }, health, metrics })).rejects.toMatchObject({
      type: "UNAVAILABLE",
      message: `cannot listen on ${host}:${port}: another process has it; stop that one or change listen`,
    });
    await expect(openHealthServer({ listen: { host: "192.0.2.1", port: 0 }, health, metrics })).rejects.toMatchObject({
      type: "CONFIG",
      message: expect.stringContaining("cannot listen on 192.0.2.1:0: EADDRNOTAVAIL; change listen"),
    });
  });
});
