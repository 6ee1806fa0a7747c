import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/kube/clock.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type Behaviour, openCollector } from "../support/otlp-collector.ts";
import { openTraced, settingsFor, type Traced } from "../support/traced.ts";

const work = (traced: Traced, count: number): void => {
  for (let i = 0; i < count; i += 1) traced.tracer.open("work", { from: null }).end(null);
};
const itemsOf = async ({ metrics }: Traced, result: string): Promise<number> => {
  const text = await metrics.text();
  return Number(
    new RegExp(`infra_otlp_items_total\\{signal="traces",result="${result}"\\} (\\d+)`).exec(text)?.[1] ?? 0,
  );
};

test("spans go out in batches: when there are 512, or 5 s after the first", async () => {
  await using collector = await openCollector();
  const clock = new ManualClock();
  await using traced = await openTraced(settingsFor(collector.address), clock);
  work(traced, 3);
  await clock.advance(millisOf(4999));
  expect(collector.spans).toHaveLength(0);
  await clock.advance(millisOf(1));
  await until(
    () => collector.spans.length,
    (count) => count === 3,
  );
  work(traced, 512);
  await until(
    () => collector.spans.length,
    (count) => count === 515,
  );
  expect(collector.requests.map(({ path }) => path)).toEqual(["/v1/traces", "/v1/traces"]);
});

test("[S17] what spans say is bounded: 32 attributes of 512 characters", async () => {
  await using collector = await openCollector();
  const traced = await openTraced(settingsFor(collector.address));
  const attributes = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a${i}`, "x".repeat(10_000)]));
  await traced.tracer.span("n".repeat(10_000), { attributes }, async (span) => span.set({ ...attributes, b: "y" }));
  await traced.telemetry.close();
  const [span] = collector.spans;
  expect(span?.name).toBe("n".repeat(128));
  expect(Object.values(span?.attributes ?? {}).map((value) => String(value).length)).toEqual(Array(32).fill(512));
});

const HOSTILE: readonly (readonly [title: string, code: string, lost: string, behaviour: Behaviour])[] = [
  ["refuses", "Refused", "refused", (response) => void response.writeHead(400).end("no")],
  [
    "sends elsewhere",
    "Refused",
    "refused",
    (response) => void response.writeHead(307, { location: "http://127.0.0.1:1/" }).end(),
  ],
  [
    "is overloaded for good",
    "Busy",
    "unreached",
    (response) => void response.writeHead(503, { "retry-after": "86400" }).end(),
  ],
  ["hangs up", "ConnectFailed", "unreached", (_response, request) => void request.socket.destroy()],
  ["answers more than an answer has", "Refused", "refused", (response) => void response.end("x".repeat(1_000_000))],
  ["speaks no HTTP", "ConnectFailed", "unreached", (_response, request) => void request.socket.end("garbage\r\n\r\n")],
];
test.each(HOSTILE)(
  "a collector that %s: %s, counted, said once, degraded; the next that takes mends it",
  async (_title, code, lost, behaviour) => {
    await using collector = await openCollector();
    await using traced = await openTraced(settingsFor(collector.address));
    collector.behave(behaviour);
    for (const round of [1, 2]) {
      work(traced, 512);
      await until(
        () => itemsOf(traced, lost),
        (count) => count === 512 * round,
        15_000,
      );
    }
    expect(traced.telemetry.check()).toMatchObject({ status: "degraded", details: { lost: 1024 } });
    const warned = traced.said().filter(({ level }) => level === "warn");
    expect(warned).toEqual([expect.objectContaining({ module: "otlp", code })]);
    collector.behave(null);
    work(traced, 512);
    await until(
      () => itemsOf(traced, "sent"),
      (count) => count === 512,
    );
    expect(traced.telemetry.check()).toMatchObject({ status: "healthy", details: { sent: 512, lost: 1024 } });
    expect(traced.said().at(-1)).toMatchObject({ level: "info", message: "the collector takes again" });
  },
  40_000,
);

test("what was not taken at the first try is sent again, within the bound", async () => {
  await using collector = await openCollector();
  await using traced = await openTraced(settingsFor(collector.address));
  collector.behave((response) => {
    response.writeHead(503).end();
    collector.behave(null);
  });
  work(traced, 512);
  await until(
    () => collector.spans.length,
    (count) => count === 512,
  );
  await until(
    () => itemsOf(traced, "sent"),
    (count) => count === 512,
  );
  expect(traced.telemetry.check().status).toBe("healthy");
});

test("what a collector says it did not take is counted as refused", async () => {
  await using collector = await openCollector();
  await using traced = await openTraced(settingsFor(collector.address));
  // ExportTracePartialSuccess { rejected_spans: 12 }
  collector.behave((response) => void response.writeHead(200).end(Buffer.from([0x0a, 0x02, 0x08, 12])));
  work(traced, 512);
  await until(
    () => itemsOf(traced, "sent"),
    (count) => count === 500,
  );
  expect(await itemsOf(traced, "refused")).toBe(12);
  collector.behave((response) => void response.writeHead(200).end(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff])));
  work(traced, 512);
  await until(
    () => itemsOf(traced, "sent"),
    (count) => count === 1012,
  );
});

test("a collector that never answers holds up nobody: spans beyond 2,048 are lost, each batch is given up after 10 s", async () => {
  await using collector = await openCollector();
  const held: ServerResponse[] = [];
  collector.behave((response) => void held.push(response));
  const clock = new ManualClock();
  await using traced = await openTraced(settingsFor(collector.address), clock);
  work(traced, 512);
  await until(
    () => held.length,
    (count) => count === 1,
  );
  const since = performance.now();
  work(traced, 5000);
  expect(performance.now() - since).toBeLessThan(2000);
  expect(await itemsOf(traced, "queue")).toBe(5000 - 2048);
  await clock.advance(millisOf(9999));
  expect(await itemsOf(traced, "unreached")).toBe(0);
  await clock.advance(millisOf(1));
  await until(
    () => itemsOf(traced, "unreached"),
    (count) => count === 512,
  );
  expect(traced.telemetry.check().message).toContain("no whole answer in time");
  const closing = traced.telemetry.close();
  await clock.advance(seconds(3));
  await closing;
});

test("closing flushes what a slow collector takes in time, gives the rest up, and leaves no socket", async () => {
  await using collector = await openCollector();
  const traced = await openTraced(settingsFor(collector.address));
  collector.behave(() => undefined);
  work(traced, 600);
  const since = performance.now();
  await traced.telemetry.close();
  await traced.telemetry.close();
  expect(performance.now() - since).toBeLessThan(5000);
  expect(performance.now() - since).toBeGreaterThan(2500);
  expect((await itemsOf(traced, "unreached")) + (await itemsOf(traced, "queue"))).toBe(600);
  work(traced, 1);
  expect((await itemsOf(traced, "unreached")) + (await itemsOf(traced, "queue"))).toBe(601);
  expect(collector.open).toBe(0);
});

test("series are pushed at intervals; a collector that takes none for a while gets the next ones", async () => {
  await using collector = await openCollector();
  collector.behave((response) => void response.writeHead(400).end());
  const settings = settingsFor(collector.address, { enableTracing: false, exporterType: "otlp" });
  await using traced = await openTraced(settings, systemClock, { pushEvery: millisOf(50) });
  traced.metrics.count("infra_slow_total", { component: "cache" });
  await until(
    () => collector.requests.length,
    (count) => count >= 3,
  );
  expect(traced.telemetry.check().status).toBe("degraded");
  collector.behave(null);
  const countOf = (): number => collector.points.find(({ name }) => name === "infra_slow_total")?.value ?? 0;
  await until(countOf, (count) => count === 1);
  traced.metrics.count("infra_slow_total", { component: "cache" });
  await until(countOf, (count) => count === 2);
  expect(traced.telemetry.check().status).toBe("healthy");
});

test("a histogram is pushed with its buckets apart, under its labels", async () => {
  await using collector = await openCollector();
  await using traced = await openTraced(settingsFor(collector.address, { enableTracing: false, exporterType: "otlp" }));
  traced.metrics.count("infra_slow_total", { component: "cache" }, 3);
  traced.metrics.observe("infra_command_duration_seconds", { component: "cache", outcome: "ok" }, 0.003);
  traced.metrics.observe("infra_command_duration_seconds", { component: "cache", outcome: "ok" }, 99);
  await traced.telemetry.close();
  const pointOf = (name: string) => collector.points.find((point) => point.name === name);
  expect(pointOf("infra_slow_total")).toMatchObject({ kind: "sum", value: 3, attributes: { component: "cache" } });
  expect(pointOf("infra_command_duration_seconds")).toMatchObject({
    kind: "histogram",
    attributes: { component: "cache", outcome: "ok" },
    bounds: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5],
    counts: [0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
    sum: 99.003,
  });
});

test("[SEC-18] an address that the guard does not let pass is never connected to, and that is said", async () => {
  await using traced = await openTraced(settingsFor("169.254.169.254:4318"));
  work(traced, 512);
  await until(
    () => traced.telemetry.check().status,
    (status) => status === "degraded",
  );
  expect(traced.said().filter(({ level }) => level === "warn")).toEqual([expect.objectContaining({ code: "Denied" })]);
});

describe("which traces are kept", () => {
  const begun = (traced: Traced, count: number): void => {
    for (let i = 0; i < count; i += 1) traced.tracer.open("begun", { from: null }).end(null);
  };
  const continued = (traced: Traced, flags: string): string => {
    const from = `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${flags}`;
    const span = traced.tracer.open("continued", { from });
    span.end(null);
    return `${flags} → ${span.context.sampled ? "01" : "00"}`;
  };

  test.each<
    readonly [
      sampling: Readonly<Record<string, unknown>>,
      kept: readonly [least: number, most: number],
      flags: readonly string[],
    ]
  >([
    [{ samplerType: "const", samplerRatio: 1 }, [1000, 1000], ["00 → 00", "01 → 01"]],
    [{ samplerType: "const", samplerRatio: 0 }, [0, 0], ["00 → 00", "01 → 00"]],
    [{ samplerType: "ratio", samplerRatio: 0 }, [0, 0], ["00 → 00", "01 → 00"]],
    [{ samplerType: "ratio", samplerRatio: 0.2 }, [130, 270], ["00 → 00", "01 → 01"]],
    [{ samplerType: "ratio", samplerRatio: 1 }, [1000, 1000], ["00 → 00", "01 → 01"]],
  ])("[R109] %j", async (sampling, [least, most], flags) => {
    await using collector = await openCollector();
    const traced = await openTraced(settingsFor(collector.address, sampling));
    begun(traced, 1000);
    expect([continued(traced, "00"), continued(traced, "01")]).toEqual(flags);
    await traced.telemetry.close();
    const kept = collector.spans.filter(({ name }) => name === "begun").length;
    expect(kept).toBeGreaterThanOrEqual(least);
    expect(kept).toBeLessThanOrEqual(most);
  });

  test("[R109] the sampler changes while it runs; what else changed needs a restart, and is named", async () => {
    await using collector = await openCollector();
    await using traced = await openTraced(settingsFor(collector.address, { samplerRatio: 0 }));
    const sampled = (): boolean => traced.tracer.open("work", { from: null }).context.sampled;
    expect(sampled()).toBe(false);
    const next = settingsFor("127.0.0.1:1", { samplerRatio: 1, slowRequestThreshold: "1s" });
    expect(traced.telemetry.reload(next)).toEqual({
      applied: ["slowRequestThreshold", "samplerRatio"],
      needsRestart: ["otlpEndpoint"],
    });
    expect(sampled()).toBe(true);
    expect(traced.telemetry.reload(next).applied).toEqual([]);
  });
});
