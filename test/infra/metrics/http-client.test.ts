import { expect, test } from "vitest";
import { measuredCall, type TraceHeaders } from "../../../src/infra/metrics/http-client.ts";
import { openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { passingTracer } from "../../../src/infra/metrics/tracer.ts";
import { seconds } from "../../../src/lib/time.ts";
import { ManualClock, seededRng } from "../../support/manual-clock.ts";

test("[R130] a call is counted by its answer and timed; one without an answer rejects and counts as none", async () => {
  const [clock, metrics] = [new ManualClock(), openMetrics()];
  const call = { component: "gateway", method: "GET" };
  const calling = measuredCall(call, { clock, metrics }, async () => {
    await clock.sleep(seconds(2));
    return { status: 503, body: "x" };
  });
  await clock.advance(seconds(2));
  expect(await calling).toEqual({ status: 503, body: "x" });
  await expect(measuredCall(call, { clock, metrics }, () => Promise.reject(new Error("cut")))).rejects.toThrow("cut");
  const text = await metrics.text();
  expect(text).toContain('infra_http_client_requests_total{component="gateway",method="GET",code="503"} 1');
  expect(text).toContain('infra_http_client_requests_total{component="gateway",method="GET",code="none"} 1');
  expect(text).toContain('infra_http_client_duration_seconds_sum{component="gateway",method="GET"} 2');
});

test("[R134] a call hands on the trace it is part of; outside of one there is nothing to hand on", async () => {
  const [clock, metrics] = [new ManualClock(), openMetrics()];
  const tracer = passingTracer(seededRng(), (_traceId, work) => work());
  const header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const ask = (): Promise<{ readonly status: number; readonly headers: TraceHeaders }> =>
    measuredCall({ component: "gateway", method: "GET" }, { clock, metrics, tracer }, async (headers) => ({
      status: 200,
      headers,
    }));
  expect((await ask()).headers).toEqual({});
  expect((await tracer.span("a request", { from: header }, ask)).headers).toEqual({ traceparent: header });
});
