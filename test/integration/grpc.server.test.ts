import { Metadata } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { withLogContext } from "../../src/infra/clog/log-context.ts";
import { measuredGrpcCalls } from "../../src/infra/metrics/grpc-client.ts";
import { measuredGrpc } from "../../src/infra/metrics/grpc-server.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import type { Clock } from "../../src/lib/seams.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { until } from "../support/egress/until.ts";
import { COUNT, echoClient, openEcho, SAY } from "../support/grpc-echo.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { openCollector } from "../support/otlp-collector.ts";
import { openTraced, settingsFor } from "../support/traced.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";

/** A server and a client, both measured and traced, in one process. */
async function openBoth({
  clock = systemClock,
  onCall = (_text: string): unknown => undefined,
}: { readonly clock?: Clock; readonly onCall?: (text: string) => unknown } = {}) {
  const stack = new AsyncDisposableStack();
  const collector = stack.use(await openCollector());
  const traced = stack.use(await openTraced(settingsFor(collector.address)));
  const { metrics, log, tracer } = traced;
  const common = { metrics, clock, rng: systemRng, slow: () => millisOf(5000), tracer };
  const taken: Metadata[] = [];
  const server = measuredGrpc({ ...common, log: log.module("grpc"), within: withLogContext });
  const echo = stack.use(
    await openEcho([server], (text, metadata) => {
      taken.push(metadata);
      log.info({ text }, "called");
      return onCall(text);
    }),
  );
  const calls = measuredGrpcCalls({ ...common, component: "gateway", log: log.module("client") });
  const client = stack.use(echoClient(echo, { interceptors: [calls] }));
  const plain = stack.use(echoClient(echo));
  const shows = (line: string): Promise<string> =>
    until(
      () => metrics.text(),
      (text) => text.includes(line),
    );
  return {
    collector,
    traced,
    tracer,
    client,
    plain,
    taken,
    shows,
    said: () => traced.said(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test("[R130] calls are counted by method and status on both sides, timed, and shown while in flight", async () => {
  const gate = Promise.withResolvers<void>();
  await using rig = await openBoth({ onCall: (text) => (text === "held" ? gate.promise : undefined) });
  for (const text of ["a", "b", "fail"]) await rig.client.say(text);
  expect(await rig.client.count()).toBe("123");
  const held = rig.client.say("held");
  expect(await rig.shows("infra_grpc_in_flight 1")).toContain('infra_grpc_client_in_flight{component="gateway"} 1');
  gate.resolve();
  expect(await held).toBe("held");
  const text = await rig.shows("infra_grpc_in_flight 0");
  for (const line of [
    `infra_grpc_requests_total{method="${SAY}",code="OK"} 3`,
    `infra_grpc_requests_total{method="${SAY}",code="FAILED_PRECONDITION"} 1`,
    `infra_grpc_requests_total{method="${COUNT}",code="OK"} 1`,
    `infra_grpc_request_duration_seconds_count{method="${SAY}"} 4`,
    `infra_grpc_client_requests_total{component="gateway",method="${SAY}",code="OK"} 3`,
    `infra_grpc_client_requests_total{component="gateway",method="${SAY}",code="FAILED_PRECONDITION"} 1`,
    `infra_grpc_client_duration_seconds_count{component="gateway",method="${SAY}"} 4`,
    'infra_grpc_client_in_flight{component="gateway"} 0',
  ])
    expect(text).toContain(line);
});

test("[R130] who gives up is counted by why, once, and a method that nobody has is no label", async () => {
  await using rig = await openBoth();
  expect(await rig.client.say("hang", { patience: 300 })).toBe("DEADLINE_EXCEEDED");
  expect(await rig.client.say("x", { path: "/test.Echo/Unheard" })).toBe("UNIMPLEMENTED");
  const text = await rig.shows(`infra_grpc_requests_total{method="${SAY}",code="DEADLINE_EXCEEDED"} 1`);
  expect(text).toContain("infra_grpc_in_flight 0");
  expect(text).toContain(
    `infra_grpc_client_requests_total{component="gateway",method="${SAY}",code="DEADLINE_EXCEEDED"} 1`,
  );
  expect(text).not.toContain('infra_grpc_requests_total{method="/test.Echo/Unheard"');
});

test("[R130] slow calls are logged and counted on both sides, others are not", async () => {
  const clock = new ManualClock();
  const took = new Map([
    ["quick", 4999],
    ["slow", 5000],
  ]);
  await using rig = await openBoth({ clock, onCall: (text) => clock.advance(millisOf(took.get(text) ?? 0)) });
  await rig.client.say("quick");
  await rig.client.say("slow");
  const text = await rig.shows('infra_slow_total{component="grpc"} 1');
  expect(text).toContain('infra_slow_total{component="gateway"} 1');
  const slow = rig.said().filter(({ message }) => message === "slow call");
  expect(new Set(slow.map(({ module }) => module))).toEqual(new Set(["client", "grpc"]));
  expect(slow).toHaveLength(2);
  expect(slow).toContainEqual(
    expect.objectContaining({ level: "warn", method: SAY, code: "OK", component: "gateway" }),
  );
});

test("[R134] the trace goes on through the metadata, into every line and span of the other side", async () => {
  await using rig = await openBoth();
  const metadata = new Metadata();
  await rig.tracer.span("a request", { from: `00-${TRACE}-${CALLER}-01` }, async () => {
    expect(await rig.client.say("hello", { metadata })).toBe("hello");
    expect(await rig.client.say("fail")).toBe("FAILED_PRECONDITION");
    expect(await rig.client.count()).toBe("123");
  });
  await rig.traced.telemetry.close();
  const { spans } = rig.collector;
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE]));
  const root = spans.find(({ name }) => name === "a request");
  const calls = spans.filter(({ kind }) => kind === "client");
  const served = spans.filter(({ kind }) => kind === "server");
  expect(calls.map(({ parentSpanId }) => parentSpanId)).toEqual(calls.map(() => root?.spanId));
  expect(served.map(({ parentSpanId }) => parentSpanId).toSorted()).toEqual(
    calls.map(({ spanId }) => spanId).toSorted(),
  );
  expect(calls.filter(({ failed }) => failed).map(({ name, attributes }) => [name, attributes["error.type"]])).toEqual([
    [SAY, "FAILED_PRECONDITION"],
  ]);
  const called = rig.said().filter(({ message }) => message === "called");
  expect(called.map(({ trace_id }) => trace_id)).toEqual([TRACE, TRACE, TRACE]);
  // The caller's own metadata stay theirs.
  expect(metadata.get("traceparent")).toEqual([]);
});

test(
  "[R134] request ids are taken over where they are plain words; without a trace each call has one of its own",
  async () => {
    await using rig = await openBoth();
    const [named, hostile] = [new Metadata(), new Metadata()];
    named.set("x-request-id", "r-1");
    named.set("traceparent", "nonsense");
    hostile.set("x-request-id", "two words");
    await rig.plain.say("a", { metadata: named });
    await rig.plain.say("b", { metadata: hostile });
    const [first, second] = rig.said().filter(({ message }) => message === "called");
    expect(first).toMatchObject({ request_id: "r-1", trace_id: expect.stringMatching(/^[0-9a-f]{32}$/) });
    expect(second).toMatchObject({ request_id: expect.stringMatching(/^[a-z0-9]{26}$/) });
    expect(second?.trace_id).not.toBe(first?.trace_id);
  },
  seconds(20),
);
