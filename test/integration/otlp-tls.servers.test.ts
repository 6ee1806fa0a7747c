import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import { openAuthority } from "../support/egress/certificate.ts";
import { until } from "../support/egress/until.ts";
import { startKitChild } from "../support/kit-process.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";
import { type Collector, openCollector } from "../support/otlp-collector.ts";

const { COORD_ENDPOINTS = "", REDIS_ADDRESS = "", REDIS_PASSWORD = "" } = inject("env");
const [first = ""] = COORD_ENDPOINTS.split(",");

const ours = openAuthority("our authority");
let rig: KitRig;
let collector: Collector;
beforeEach(async () => {
  rig = await openKitRig({ etcd: first, redis: REDIS_ADDRESS, password: REDIS_PASSWORD });
  collector = await openCollector(ours.issue({ names: ["collector.internal"] }));
});
afterEach(async () => {
  await collector[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

/** The service as a process of its own, told to push what it measures. */
async function start(otlpTls: unknown, env: Readonly<Record<string, string>> = {}) {
  const listenAddr = `127.0.0.1:${rig.port}`;
  await rig.put("metrics", { listenAddr, exporterType: "otlp", otlpEndpoint: collector.address, otlpTls });
  await using stack = new AsyncDisposableStack();
  const child = stack.use(await startKitChild(rig, env));
  await child.says(/^started in /);
  const started = stack.move();
  return { ...child, [Symbol.asyncDispose]: () => started.disposeAsync() };
}
const CA = { ca: { env: "TURNOUT_SECRET_CA" }, serverName: "collector.internal" };

describe("a collector behind TLS", () => {
  test("[SEC-18] is sent to where its certificate carries the name and comes from the authority of the settings", async () => {
    await using child = await start(CA, { TURNOUT_SECRET_CA: ours.cert });
    child.send("SIGTERM");
    expect(await child.ended).toEqual([0, null]);
    expect(collector.points.map(({ name }) => name)).toContain("infra_pool_limit");
    expect(child.said().filter(({ module }) => module === "otlp")).toEqual([]);
  });

  test.each([
    ["is another authority's", CA, openAuthority("somebody else's").cert],
    ["carries another name", { ...CA, serverName: "other.internal" }, ours.cert],
    ["is nobody's that is known", {}, ours.cert],
  ])("gets nothing where its certificate %s, and the message says what to mend", async (_title, otlpTls, ca) => {
    await using child = await start(otlpTls, { TURNOUT_SECRET_CA: ca });
    child.send("SIGTERM");
    expect(await child.ended).toEqual([0, null]);
    expect(collector.requests).toEqual([]);
    expect(child.said().filter(({ module }) => module === "otlp")).toEqual([
      expect.objectContaining({
        level: "warn",
        code: "TlsFailed",
        message: expect.stringContaining("correct otlpTls in the metrics settings"),
      }),
    ]);
  });

  test("whose authority cannot be read keeps no service from starting, which then says what it lacks", async () => {
    await using child = await start(CA);
    const health = async () => JSON.parse((await rig.page("/health")).body) as { readonly components: object };
    const report = await until(health, ({ components }) => "otlp" in components);
    expect(report).toMatchObject({
      status: "degraded",
      components: {
        otlp: { status: "unhealthy", message: expect.stringContaining("TURNOUT_SECRET_CA cannot be read") },
      },
    });
    expect((await rig.page("/readyz")).status).toBe(200);
    child.send("SIGTERM");
    expect(await child.ended).toEqual([0, null]);
  });
});
