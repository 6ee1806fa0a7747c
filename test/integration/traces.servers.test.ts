import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { findCanaries } from "../support/canary.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { until } from "../support/egress/until.ts";
import { startKitChild } from "../support/kit-process.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";
import { aTopic, openMqRig } from "../support/mq-rig.ts";
import { type Collector, openCollector, type ReceivedSpan } from "../support/otlp-collector.ts";

// A service as a process of its own, on its real servers, that sends to a real receiver of OTLP.

const {
  COORD_ENDPOINTS = "",
  REDIS_ADDRESS = "",
  REDIS_PASSWORD = "",
  MYSQL_URL = "",
  KAFKA_BROKERS = "",
} = inject("env");
const [first = ""] = COORD_ENDPOINTS.split(",");
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const PATIENCE = 20_000;

let rig: KitRig;
let collector: Collector;
beforeEach(async () => {
  const stores = { redis: REDIS_ADDRESS, password: REDIS_PASSWORD, mysql: MYSQL_URL, kafka: KAFKA_BROKERS };
  rig = await openKitRig({ etcd: first, ...stores });
  collector = await openCollector();
});
afterEach(async () => {
  await collector[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

/** The rig's own settings, and these above them. */
async function put(component: string, value: Readonly<Record<string, unknown>>): Promise<void> {
  const text = await readFile(join(rig.files, "test", "im-repo", `${component}.json`), "utf8");
  await rig.put(component, { ...(JSON.parse(text) as object), ...value });
}

async function traceAll(metrics: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const collected = { otlpEndpoint: collector.address, otlpTls: "None", enableTracing: true };
  await put("metrics", { ...collected, ...metrics });
  for (const component of ["coord", "cache", "db", "mq"]) await put(component, { enableTracing: true });
}

/** The service, and how to hand it messages. */
async function serve() {
  await using mq = openMqRig(KAFKA_BROKERS);
  const topic = await aTopic(await mq.open());
  await using stack = new AsyncDisposableStack();
  const child = stack.use(await startKitChild(rig, { TRACED_TOPIC: topic.name }, "traced-child.ts"));
  await child.says(/^listens$/);
  const started = stack.move();
  const port = Number(child.said().find(({ message }) => message === "listens")?.port);
  const handled = (): number => child.said().filter(({ message }) => message === "handled").length;
  return {
    ...child,
    topic: topic.name,
    post: async (text: string, headers: Readonly<Record<string, string>> = {}, query = ""): Promise<number> => {
      const before = handled();
      const url = `http://127.0.0.1:${port}/messages${query}`;
      const answer = await fetch(url, { method: "POST", body: text, headers: { connection: "close", ...headers } });
      if (answer.status === 200) await until(handled, (count) => count > before, PATIENCE);
      return answer.status;
    },
    stop: async (): Promise<number | null> => {
      child.send("SIGTERM");
      const [code] = await child.ended;
      return code;
    },
    [Symbol.asyncDispose]: () => started.disposeAsync(),
  };
}

const byName = (name: string): ReceivedSpan => {
  const found = collector.spans.find((span) => span.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${collector.spans.map((span) => span.name).join(", ")}`);
  return found;
};

test("[R134] one trace goes from the caller through HTTP, cache, database, centre and queue to the consumer, and into every line", async () => {
  await traceAll({ serviceName: "repo-of-tests" });
  await using service = await serve();
  expect(await service.post("hello", { traceparent: `00-${TRACE}-${CALLER}-01` })).toBe(200);
  expect(await service.stop()).toBe(0);

  expect(new Set(collector.spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE]));
  const [http, send, handle] = [
    byName("POST /messages"),
    byName(`mq send ${service.topic}`),
    byName(`mq handle ${service.topic}`),
  ];
  expect(http).toMatchObject({
    kind: "server",
    parentSpanId: CALLER,
    failed: false,
    attributes: { "http.request.method": "POST", "http.route": "/messages", "http.response.status_code": 200 },
    resource: {
      "service.name": "repo-of-tests",
      "service.instance.id": "im-repo-0",
      "service.version": "1.2.3",
      "deployment.environment.name": "test",
    },
  });
  expect(send).toMatchObject({ kind: "producer", parentSpanId: http.spanId });
  expect(handle).toMatchObject({ kind: "consumer", parentSpanId: send.spanId });
  expect(byName("cache SET")).toMatchObject({ kind: "client", parentSpanId: http.spanId });
  expect(byName("cache GET")).toMatchObject({ kind: "client", parentSpanId: handle.spanId });
  expect(byName("coord /v3/kv/range")).toMatchObject({ kind: "client", parentSpanId: http.spanId });
  const statements = collector.spans.filter(({ name }) => name === "db SELECT");
  expect(statements.map(({ parentSpanId }) => parentSpanId)).toEqual([http.spanId, http.spanId]);
  expect(statements.map(({ attributes }) => attributes["db.query.text"])).toEqual([
    "select upper(?) as loud",
    "select * from `messages` where `text` = ?",
  ]);
  for (const { since, until: end } of collector.spans) expect(end).toBeGreaterThanOrEqual(since);
  expect(send.since).toBeGreaterThanOrEqual(http.since);

  const lines = service.said().filter(({ message }) => message === "taken" || message === "handled");
  expect(lines.map(({ trace_id }) => trace_id)).toEqual([TRACE, TRACE]);
}, 60_000);

test("[S17][SEC-36] what is stored, asked for or proved stands in no span, series or header to the collector", async () => {
  // Within what a key of etcd, a topic's key and a header take.
  const canary = `canary${randomBytes(18).toString("hex")}`;
  const [asBody, asHeader, asQuery] = [`${canary}-body`, `${canary}-header`, `${canary}-query`];
  await traceAll({ exporterType: "otlp" });
  await using service = await serve();
  const headers = { authorization: `Bearer ${asHeader}`, cookie: `s=${asHeader}`, baggage: `k=${asHeader}` };
  expect(await service.post(asBody, headers, `?token=${asQuery}`)).toBe(200);
  expect(await service.stop()).toBe(0);
  expect(collector.spans.length).toBeGreaterThanOrEqual(7);
  expect(collector.points.length).toBeGreaterThan(20);
  const password = new URL(MYSQL_URL).password;
  const secrets = [canary, REDIS_PASSWORD, password];
  for (const { headers: sent, body } of collector.requests) {
    expect(findCanaries(sent, secrets)).toEqual([]);
    expect(findCanaries(body.toString("latin1"), secrets)).toEqual([]);
  }
}, 60_000);

test("[R109] series are pushed as they are shown, and once more at the end", async () => {
  await put("metrics", { otlpEndpoint: collector.address, otlpTls: "None", exporterType: "otlp" });
  await using service = await serve();
  await service.post("one");
  await service.post("two");
  const shown = (await rig.page("/metrics")).body;
  expect(shown).toContain('infra_http_requests_total{method="POST",route="/messages",code="200"} 2');
  expect(await service.stop()).toBe(0);

  const pointOf = (name: string) => collector.points.find((point) => point.name === name);
  expect(pointOf("infra_http_requests_total")).toMatchObject({
    kind: "sum",
    value: 2,
    attributes: { method: "POST", route: "/messages", code: "200" },
    resource: { "service.name": "im-repo" },
  });
  const limits = collector.points.filter(({ name }) => name === "infra_pool_limit");
  expect(limits.find(({ attributes }) => attributes["component"] === "cache")).toMatchObject({
    kind: "gauge",
    value: 10,
  });
  const took = pointOf("infra_http_request_duration_seconds");
  expect(took?.bounds).toEqual([0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10]);
  expect(took?.counts).toHaveLength(11);
  expect(took?.counts.reduce((all, count) => all + count, 0)).toBe(2);
  // Nothing asked for traces.
  expect(collector.spans).toEqual([]);
}, 60_000);

test("[R109] the sampler is followed live: none at all, then all, without a restart", async () => {
  await traceAll({ samplerType: "const", samplerRatio: 0 });
  await using service = await serve();
  await using coord = coordAt({ endpoints: addressesOf(first) });
  const key = "/config/test/im-repo/metrics";
  expect(await service.post("unseen", { traceparent: `00-${TRACE}-${CALLER}-01` })).toBe(200);
  try {
    await coord.centre.put(key, JSON.stringify({ samplerRatio: 1 }));
    await until(
      async () => {
        await service.post("seen");
        return collector.spans.length;
      },
      (count) => count > 0,
      PATIENCE,
    );
  } finally {
    await coord.centre.delete(key);
  }
  expect(await service.stop()).toBe(0);
  expect(collector.spans.map(({ traceId }) => traceId)).not.toContain(TRACE);
}, 60_000);

test("[R135] without its collector the service starts, answers, says once and in its health what it lacks, and ends in time", async () => {
  await traceAll({ exporterType: "otlp" });
  await collector[Symbol.asyncDispose]();
  await using service = await serve();
  for (const text of ["a", "b", "c"]) expect(await service.post(text)).toBe(200);
  const health = async () => JSON.parse((await rig.page("/health")).body) as Report;
  const report = await until(health, ({ components }) => components["otlp"]?.status !== "healthy", PATIENCE);
  expect(report).toMatchObject({
    status: "degraded",
    components: {
      otlp: { status: "degraded", message: expect.stringContaining("start the collector or correct otlpEndpoint") },
    },
  });
  expect((await rig.page("/readyz")).status).toBe(200);
  expect((await rig.page("/metrics")).body).toMatch(/infra_errors_total\{component="otlp",type="CONNECTION"\} \d/);
  const since = performance.now();
  expect(await service.stop()).toBe(0);
  expect(performance.now() - since).toBeLessThan(15_000);
  const said = service.said().filter(({ module, level }) => module === "otlp" && level === "warn");
  expect(said).toEqual([expect.objectContaining({ code: "ConnectFailed" })]);
}, 60_000);

interface Report {
  readonly components: Readonly<Record<string, { readonly status: string } | undefined>>;
}

test("components that ask for spans which nobody makes are named, and ids go on all the same", async () => {
  for (const component of ["coord", "cache", "mq"]) await put(component, { enableTracing: true });
  await using service = await serve();
  expect(await service.post("hello", { traceparent: `00-${TRACE}-${CALLER}-01` })).toBe(200);
  expect(await service.stop()).toBe(0);
  const said = service.said();
  expect(said).toContainEqual(
    expect.objectContaining({
      level: "warn",
      components: ["coord", "cache", "mq"],
      message: expect.stringContaining("has no effect"),
    }),
  );
  const lines = said.filter(({ message }) => message === "taken" || message === "handled");
  expect(lines.map(({ trace_id }) => trace_id)).toEqual([TRACE, TRACE]);
  expect(collector.requests).toEqual([]);
}, 60_000);
