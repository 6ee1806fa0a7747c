import { expect, test } from "vitest";
import { measuredCall } from "../../../src/infra/metrics/http-client.ts";
import { openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { seconds } from "../../../src/lib/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

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
