import type { Clock } from "../../lib/seams.ts";
import type { Metrics } from "./metrics.ts";

export interface OutgoingCall {
  /** Who calls: a component of the kit or of the service. */
  readonly component: string;
  readonly method: string;
}

/** Counts and times a request made over HTTP. One that got no answer counts under the code `none`, and rejects as it did. */
export async function measuredCall<T extends { readonly status: number }>(
  { component, method }: OutgoingCall,
  { metrics, clock }: { readonly metrics: Metrics; readonly clock: Clock },
  call: () => Promise<T>,
): Promise<T> {
  const since = clock.monotonic();
  let code = "none";
  try {
    const answer = await call();
    code = String(answer.status);
    return answer;
  } finally {
    metrics.count("infra_http_client_requests_total", { component, method, code });
    metrics.observe("infra_http_client_duration_seconds", { component, method }, (clock.monotonic() - since) / 1000);
  }
}
