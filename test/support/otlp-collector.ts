import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import protobuf from "protobufjs";
import type { Identity } from "./egress/certificate.ts";

export type Attributes = Readonly<Record<string, string | number | boolean>>;
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty where it has none. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: string;
  readonly attributes: Attributes;
  readonly failed: boolean;
  /** Nanoseconds since the epoch. */
  readonly since: bigint;
  readonly until: bigint;
  readonly resource: Attributes;
}
export interface ReceivedPoint {
  readonly name: string;
  readonly kind: "gauge" | "sum" | "histogram";
  readonly attributes: Attributes;
  readonly value: number | null;
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number | null;
  readonly resource: Attributes;
}

/** What it does with a request once it has it whole. */
export type Behaviour = (response: ServerResponse, request: IncomingMessage) => void;

export interface Collector extends AsyncDisposable {
  readonly address: string;
  readonly spans: readonly ReceivedSpan[];
  /** Of the last push. */
  readonly points: readonly ReceivedPoint[];
  /** Requests as they came, the bytes of their headers and bodies. */
  readonly requests: readonly { readonly path: string; readonly headers: string; readonly body: Buffer }[];
  /** Connections that are open now. */
  readonly open: number;
  /** From the next request on; null: takes everything. */
  behave(behaviour: Behaviour | null): void;
}

/** As OTLP 1.x defines them (opentelemetry-proto), as far as we send them. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message Status { string message = 2; int32 code = 3; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
  }
  message ScopeSpans { repeated Span spans = 2; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Traces { repeated ResourceSpans resource_spans = 1; }
  message NumberPoint { oneof value { double as_double = 4; sfixed64 as_int = 6; } repeated KeyValue attributes = 7; }
  message HistogramPoint {
    fixed64 count = 4; optional double sum = 5; repeated fixed64 bucket_counts = 6; repeated double explicit_bounds = 7;
    repeated KeyValue attributes = 9;
  }
  message Gauge { repeated NumberPoint data_points = 1; }
  message Sum { repeated NumberPoint data_points = 1; int32 aggregation_temporality = 2; bool is_monotonic = 3; }
  message Histogram { repeated HistogramPoint data_points = 1; int32 aggregation_temporality = 2; }
  message Metric { string name = 1; oneof data { Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9; } }
  message ScopeMetrics { repeated Metric metrics = 2; }
  message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
  message Pushed { repeated ResourceMetrics resource_metrics = 1; }
`);
const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];

interface Raw {
  readonly [name: string]: unknown;
}
const listOf = (holder: Raw | undefined, name: string): readonly Raw[] => (holder?.[name] ?? []) as readonly Raw[];
const decode = (type: string, bytes: Buffer): Raw =>
  root.lookupType(type).toObject(root.lookupType(type).decode(bytes), { longs: String });
const hexOf = (value: unknown): string => (value === undefined ? "" : Buffer.from(value as Uint8Array).toString("hex"));

function attributesOf(holder: Raw | undefined): Attributes {
  return Object.fromEntries(
    listOf(holder, "attributes").map(({ key, value }) => {
      const [[kind, held] = ["", ""]] = Object.entries(value as Raw);
      return [String(key), kind === "intValue" ? Number(held) : (held as string)];
    }),
  );
}

function spansOf(bytes: Buffer): readonly ReceivedSpan[] {
  return listOf(decode("Traces", bytes), "resourceSpans").flatMap((of) =>
    listOf(of, "scopeSpans").flatMap((scope) =>
      listOf(scope, "spans").map((span) => ({
        traceId: hexOf(span.traceId),
        spanId: hexOf(span.spanId),
        parentSpanId: hexOf(span.parentSpanId),
        name: String(span.name),
        kind: KINDS[Number(span.kind)] ?? "",
        attributes: attributesOf(span),
        failed: (span.status as Raw | undefined)?.code === 2,
        since: BigInt(String(span.startTimeUnixNano)),
        until: BigInt(String(span.endTimeUnixNano)),
        resource: attributesOf(of.resource as Raw),
      })),
    ),
  );
}

function pointsOf(bytes: Buffer): readonly ReceivedPoint[] {
  return listOf(decode("Pushed", bytes), "resourceMetrics").flatMap((of) =>
    listOf(of, "scopeMetrics").flatMap((scope) =>
      listOf(scope, "metrics").flatMap((metric) =>
        (["gauge", "sum", "histogram"] as const).flatMap((kind) =>
          listOf(metric[kind] as Raw | undefined, "dataPoints").map((point) => ({
            name: String(metric.name),
            kind,
            attributes: attributesOf(point),
            value: point.asDouble === undefined ? null : Number(point.asDouble),
            bounds: ((point.explicitBounds ?? []) as readonly number[]).map(Number),
            counts: ((point.bucketCounts ?? []) as readonly string[]).map(Number),
            sum: point.sum === undefined ? null : Number(point.sum),
            resource: attributesOf(of.resource as Raw),
          })),
        ),
      ),
    ),
  );
}

/** An OTLP receiver on loopback that keeps what it is sent, over TLS where it has a certificate; or does whatever a test says. */
export async function openCollector(identity: Identity | null = null): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const requests: { path: string; headers: string; body: Buffer }[] = [];
  const sockets = new Set<Socket>();
  let points: readonly ReceivedPoint[] = [];
  let behaviour: Behaviour | null = null;
  const take = (path: string, body: Buffer): void => {
    if (path === "/v1/traces") spans.push(...spansOf(body));
    else if (path === "/v1/metrics") points = pointsOf(body);
    else throw new Error(`no such path: ${path}`);
  };
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const [path, body] = [request.url ?? "", Buffer.concat(chunks)];
      requests.push({ path, headers: request.rawHeaders.join("\n"), body });
      if (behaviour !== null) {
        behaviour(response, request);
        return;
      }
      take(path, body);
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  };
  const server = identity === null ? createServer(listener) : createTlsServer({ ...identity }, listener);
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    requests,
    get points() {
      return points;
    },
    get open() {
      return sockets.size;
    },
    behave: (next) => void (behaviour = next),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
