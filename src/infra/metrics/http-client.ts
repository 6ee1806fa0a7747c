import type { Clock } from "../../lib/seams.ts";
import type { Metrics } from "./metrics.ts";
import type { Tracer } from "./tracer.ts";

export interface OutgoingCall {
  /** Who calls: a component of the kit or of the service. */
  readonly component: string;
  readonly method: string;
}

export interface OutgoingDeps {
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** Makes the request a span of the present trace; left out, none is. */
  readonly tracer?: Tracer;
}

/** What the request has to carry, so that the other side goes on with the trace. */
export type TraceHeaders = { readonly traceparent?: string };

/** Counts, times and traces a request made over HTTP. One that got no answer counts under the code `none`, and rejects as it did. */
export async function measuredCall<T extends { readonly status: number }>(
  { component, method }: OutgoingCall,
  { metrics, clock, tracer }: OutgoingDeps,
  call: (headers: TraceHeaders) => Promise<T>,
): Promise<T> {
  const since = clock.monotonic();
  let code = "none";
  const asked = async (): Promise<T> => {
    const header = tracer?.header() ?? null;
    const answer = await call(header === null ? {} : { traceparent: header });
    code = String(answer.status);
    return answer;
  };
  try {
    if (tracer === undefined) return await asked();
    const attributes = { component, "http.request.method": method };
    return await tracer.call(`${component} ${method}`, { kind: "client", attributes }, asked);
  } finally {
    metrics.count("infra_http_client_requests_total", { component, method, code });
    metrics.observe("infra_http_client_duration_seconds", { component, method }, (clock.monotonic() - since) / 1000);
  }
}
