/** Seconds. A command to a store beside us. */
const COMMAND = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5] as const;
/** Seconds. A request of a person or another service. */
const REQUEST = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10] as const;

/** What the components of the kit show, in whichever process they run. `component`: `cache`, `db`, `mq`, … */
export const KIT_METRICS = {
  infra_errors_total: { kind: "counter", labels: ["component", "type"], help: "Failures of components by type." },
  infra_command_duration_seconds: {
    kind: "histogram",
    labels: ["component", "outcome"],
    buckets: COMMAND,
    help: "Time of a command to a store, waits for a connection and further tries included.",
  },
  infra_slow_total: {
    kind: "counter",
    labels: ["component"],
    help: "Commands and requests that took longer than the settings call slow.",
  },
  infra_pool_limit: { kind: "gauge", labels: ["component"], help: "Connections that a pool may hold." },
  infra_pool_connections: {
    kind: "gauge",
    labels: ["component", "state"],
    help: "Connections that a pool holds, used or idle.",
  },
  infra_pool_waiting: { kind: "gauge", labels: ["component"], help: "Callers that wait for a connection." },
  infra_breaker_open: {
    kind: "gauge",
    labels: ["component"],
    help: "1 while calls are held back after a row of failures.",
  },
  infra_cache_reads_total: {
    kind: "counter",
    labels: ["layer", "result"],
    help: "Reads of values by the layer that was asked, and whether it had one.",
  },
  infra_mq_messages_total: {
    kind: "counter",
    labels: ["topic", "result"],
    help: "Messages by what became of them: sent, handled, setAside.",
  },
  infra_mq_lag: { kind: "gauge", labels: ["topic"], help: "Messages of our partitions that are not yet committed." },
  infra_http_requests_total: {
    kind: "counter",
    labels: ["method", "route", "code"],
    help: "Requests that an HTTP server answered; the route is the pattern, never the path.",
  },
  infra_http_request_duration_seconds: {
    kind: "histogram",
    labels: ["method", "route"],
    buckets: REQUEST,
    help: "Time from the request to the end of its answer.",
  },
  infra_http_in_flight: { kind: "gauge", labels: [], help: "Requests that an HTTP server is answering." },
  infra_http_client_requests_total: {
    kind: "counter",
    labels: ["component", "method", "code"],
    help: "Requests made over HTTP by their answers.",
  },
  infra_http_client_duration_seconds: {
    kind: "histogram",
    labels: ["component", "method"],
    buckets: REQUEST,
    help: "Time from a request made over HTTP to its answer.",
  },
  infra_grpc_requests_total: {
    kind: "counter",
    labels: ["method", "code"],
    help: "Calls that a gRPC server answered, by full name of the method and status.",
  },
  infra_grpc_request_duration_seconds: {
    kind: "histogram",
    labels: ["method"],
    buckets: REQUEST,
    help: "Time from the call to its status.",
  },
  infra_grpc_in_flight: { kind: "gauge", labels: [], help: "Calls that a gRPC server is answering." },
  infra_grpc_client_requests_total: {
    kind: "counter",
    labels: ["component", "method", "code"],
    help: "Calls made over gRPC by their status.",
  },
  infra_grpc_client_duration_seconds: {
    kind: "histogram",
    labels: ["component", "method"],
    buckets: REQUEST,
    help: "Time from a call made over gRPC to its status.",
  },
  infra_grpc_client_in_flight: {
    kind: "gauge",
    labels: ["component"],
    help: "Calls made over gRPC that wait for their status.",
  },
  infra_otlp_items_total: {
    kind: "counter",
    labels: ["signal", "result"],
    help: "Spans and points for the collector: sent, or lost in the queue, refused, unreached.",
  },
} as const;
