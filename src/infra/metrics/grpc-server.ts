import {
  type Metadata,
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from "@grpc/grpc-js";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import { countInFlight, requestIdOf } from "./call-counts.ts";
import type { Metrics } from "./metrics.ts";
import type { OpenSpan, Tracer } from "./tracer.ts";

export interface GrpcServerDeps {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Runs the work so that every line it logs carries the ids: `withLogContext` of clog. */
  readonly within: (context: { readonly trace_id: string; readonly request_id: string }, work: () => void) => void;
  /** Asked at each call, so that it can change. */
  readonly slow: () => Millis;
  readonly tracer: Tracer;
}

/**
 * Counts, times and traces the calls that a gRPC server answers; those that take long are logged. For the server's `interceptors`.
 * Calls of methods that the server does not have never come here.
 */
export function measuredGrpc(deps: GrpcServerDeps): ServerInterceptor {
  const { metrics, clock } = deps;
  const show = countInFlight(metrics, "infra_grpc_in_flight", {});
  return ({ path }, call) => {
    const since = clock.monotonic();
    const work = new CallWork(path, deps);
    show(1);
    const end = (code: status): void => {
      if (!work.end(status[code] ?? "UNKNOWN", millisOf(clock.monotonic() - since))) return;
      show(-1);
    };
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        work.begin(metadata);
        work.run(() => next(metadata));
      })
      .withOnReceiveMessage((message, next) => work.run(() => next(message)))
      .withOnReceiveHalfClose((next) => work.run(next))
      .withOnCancel(() => end(isOverdue(call, clock) ? status.DEADLINE_EXCEEDED : status.CANCELLED))
      .build();
    const responder = new ResponderBuilder()
      .withStart((next) => next(listener))
      .withSendStatus((answer, next) => {
        end(answer.code ?? status.UNKNOWN);
        next(answer);
      })
      .build();
    return new ServerInterceptingCall(call, responder);
  };
}

/** One call: its span, its ids, and what is said of it at the end. */
class CallWork {
  readonly #method: string;
  readonly #deps: GrpcServerDeps;
  #span: OpenSpan | null = null;
  #requestId = "";
  #ended = false;

  constructor(method: string, deps: GrpcServerDeps) {
    this.#method = method;
    this.#deps = deps;
  }

  begin(metadata: Metadata): void {
    const { tracer, rng } = this.#deps;
    this.#requestId = requestIdOf(textOf(metadata, "x-request-id"), rng);
    const attributes = { "rpc.system": "grpc", "rpc.method": this.#method };
    this.#span = tracer.open(this.#method, { kind: "server", attributes, from: textOf(metadata, "traceparent") });
  }

  run(work: () => void): void {
    const [span, request_id] = [this.#span, this.#requestId];
    if (span === null) work();
    else this.#deps.within({ trace_id: span.context.traceId, request_id }, () => this.#deps.tracer.within(span, work));
  }

  /** False where it has ended already. */
  end(code: string, took: Millis): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    const { metrics, log, slow } = this.#deps;
    const method = this.#method;
    metrics.count("infra_grpc_requests_total", { method, code });
    metrics.observe("infra_grpc_request_duration_seconds", { method }, took / 1000);
    this.#span?.set({ "rpc.response.status_code": code });
    this.#span?.end(code === "OK" ? null : code);
    if (took >= slow()) {
      metrics.count("infra_slow_total", { component: "grpc" });
      this.run(() => log.warn({ method, code, millis: Math.round(took) }, "slow call"));
    }
    return true;
  }
}

function textOf(metadata: Metadata, name: string): string | null {
  const [value] = metadata.get(name);
  return typeof value === "string" ? value : null;
}

const isOverdue = (call: ServerInterceptingCallInterface, clock: Clock): boolean =>
  Number(call.getDeadline()) <= clock.now();
