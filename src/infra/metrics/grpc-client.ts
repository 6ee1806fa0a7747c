import { InterceptingCall, type Interceptor, type Metadata, status } from "@grpc/grpc-js";
import type { Clock } from "../../lib/seams.ts";
import { type Millis, millisOf } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import { countInFlight } from "./call-counts.ts";
import type { Metrics } from "./metrics.ts";
import { formatTrace } from "./trace-context.ts";
import type { OpenSpan, Tracer } from "./tracer.ts";

export interface GrpcClientDeps {
  /** Who calls: a component of the kit or of the service. */
  readonly component: string;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
  /** Asked at each call, so that it can change. */
  readonly slow: () => Millis;
  readonly tracer: Tracer;
}

/**
 * Counts, times and traces calls made over gRPC, and hands the trace on; those that take long are logged. For the client's
 * `interceptors`. Tries that the library makes by itself are one call.
 */
export function measuredGrpcCalls(deps: GrpcClientDeps): Interceptor {
  const { component, metrics, clock, tracer } = deps;
  const show = countInFlight(metrics, "infra_grpc_client_in_flight", { component });
  return (options, nextCall) => {
    const method = options.method_definition.path;
    return new InterceptingCall(nextCall(options), {
      start: (metadata, _listener, next) => {
        const since = clock.monotonic();
        const attributes = { component, "rpc.system": "grpc", "rpc.method": method };
        const span = tracer.openCall(method, { kind: "client", attributes });
        show(1);
        next(carrying(metadata, span, tracer), {
          onReceiveStatus: (answer, nextStatus) => {
            show(-1);
            measure(
              { method, code: status[answer.code] ?? "UNKNOWN", span, took: millisOf(clock.monotonic() - since) },
              deps,
            );
            nextStatus(answer);
          },
        });
      },
    });
  };
}

/** A copy: callers may use theirs for several calls. */
function carrying(metadata: Metadata, span: OpenSpan | null, tracer: Tracer): Metadata {
  const header = span === null ? tracer.header() : formatTrace(span.context);
  if (header === null) return metadata;
  const copy = metadata.clone();
  copy.set("traceparent", header);
  return copy;
}

interface Ended {
  readonly method: string;
  readonly code: string;
  readonly span: OpenSpan | null;
  readonly took: Millis;
}

function measure({ method, code, span, took }: Ended, { component, metrics, log, slow }: GrpcClientDeps): void {
  metrics.count("infra_grpc_client_requests_total", { component, method, code });
  metrics.observe("infra_grpc_client_duration_seconds", { component, method }, took / 1000);
  span?.set({ "rpc.response.status_code": code });
  span?.end(code === "OK" ? null : code);
  if (took < slow()) return;
  metrics.count("infra_slow_total", { component });
  log.warn({ component, method, code, millis: Math.round(took) }, "slow call");
}
