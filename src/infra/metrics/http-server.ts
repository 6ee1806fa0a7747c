import type { EventEmitter } from "node:events";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import { countInFlight, requestIdOf } from "./call-counts.ts";
import type { Metrics } from "./metrics.ts";
import type { TraceContext } from "./trace-context.ts";
import { type OpenSpan, passingTracer, type Tracer } from "./tracer.ts";

export interface RequestIds {
  readonly trace: TraceContext;
  /** Of this request alone: the caller's, where it is a plain word, else a new one. */
  readonly requestId: string;
}

/** Answers one request; the ids go into the log's context and on to whoever is called next. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse, ids: RequestIds) => void;

export interface HttpServerDeps {
  readonly metrics: Metrics;
  readonly log: Log;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Runs the work so that every line it logs carries the ids: `withLogContext` of clog. */
  readonly within: (context: { readonly trace_id: string; readonly request_id: string }, work: () => void) => void;
  /** Pattern of the route, such as `/tenants/:id`; never the path itself. Null: none of ours. */
  readonly routeOf: (request: IncomingMessage) => string | null;
  /** Asked at each request, so that it can change. */
  readonly slow: () => Millis;
  /** Makes each request a span; left out, the ids go on all the same. */
  readonly tracer?: Tracer;
}

/** As RFC 9110 and PATCH of RFC 5789 name them; anything else would be a label that callers choose. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Counts, times and traces what the handler answers; requests that take long are logged. */
export function measured(handler: RequestHandler, deps: HttpServerDeps): RequestListener {
  const { metrics, clock, rng, within, tracer = passingTracer(rng, (_traceId, work) => work()) } = deps;
  const show = countInFlight(metrics, "infra_http_in_flight", {});
  return (request, response) => {
    const since = clock.monotonic();
    const span = tracer.open(nameOf(request, deps), { kind: "server", from: traceparentOf(request) });
    const ids = { trace: span.context, requestId: requestIdOf(request.headers["x-request-id"], rng) };
    const context = { trace_id: ids.trace.traceId, request_id: ids.requestId };
    show(1);
    // `close` comes once, after the answer or the caller's end, whichever is first.
    response.once("close", () => {
      show(-1);
      within(context, () => measure(request, response, { deps, span, took: millisOf(clock.monotonic() - since) }));
    });
    response.setHeader("x-request-id", ids.requestId);
    const asPart = (work: () => void): void => within(context, () => tracer.within(span, work));
    for (const emitter of [request, response]) heardWithin(emitter, asPart);
    asPart(() => handler(request, response, ids));
  };
}

/** Listeners hear in the context of whoever emits, and for a request that is the socket: a body's `end` would have lost the ids. */
function heardWithin(emitter: EventEmitter, asPart: (work: () => void) => void): void {
  const emit = emitter.emit.bind(emitter);
  emitter.emit = (name: string | symbol, ...facts: readonly unknown[]): boolean => {
    let isHeard = false;
    asPart(() => void (isHeard = emit(name, ...facts)));
    return isHeard;
  };
}

function measure(
  request: IncomingMessage,
  response: ServerResponse,
  { deps, span, took }: { readonly deps: HttpServerDeps; readonly span: OpenSpan; readonly took: Millis },
): void {
  const { metrics, log, routeOf, slow } = deps;
  const method = methodOf(request);
  const route = routeOf(request) ?? "none";
  // nginx' word for a caller who left before the answer.
  const code = response.writableFinished ? String(response.statusCode) : "499";
  metrics.count("infra_http_requests_total", { method, route, code });
  metrics.observe("infra_http_request_duration_seconds", { method, route }, took / 1000);
  span.set({ "http.request.method": method, "http.route": route, "http.response.status_code": Number(code) });
  span.end(code === "499" || code >= "500" ? code : null);
  if (took < slow()) return;
  metrics.count("infra_slow_total", { component: "http" });
  log.warn({ method, route, code, millis: Math.round(took) }, "slow request");
}

const methodOf = ({ method = "" }: IncomingMessage): string => (METHODS.has(method) ? method : "other");
const nameOf = (request: IncomingMessage, { routeOf }: HttpServerDeps): string =>
  `${methodOf(request)} ${routeOf(request) ?? "none"}`;

const traceparentOf = ({ headers: { traceparent } }: IncomingMessage): string | null =>
  typeof traceparent === "string" ? traceparent : null;
