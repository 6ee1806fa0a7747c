import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind as OtelKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import type { MetricsSettings } from "../config/metrics-settings.ts";
import { type EpochTime, epochTimeOf } from "./epoch-time.ts";
import { resourceOf } from "./otel-resource.ts";
import type { OtlpSender } from "./otlp-sender.ts";
import { PushQueue } from "./push-queue.ts";
import { hex, type TraceContext } from "./trace-context.ts";
import { type Begin, type Bind, type OpenSpan, type SpanKind, type Tracer, tracerOf } from "./tracer.ts";

export type Sampling = Pick<MetricsSettings, "samplerType" | "samplerRatio">;

export interface SpansDeps {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly sender: OtlpSender;
  readonly bind: Bind;
  /** Of the resource: who makes the spans. */
  readonly about: Readonly<Record<string, string>>;
}

export interface Spans {
  readonly tracer: Tracer;
  sample(sampling: Sampling): void;
  /** Sends what waits within `timeout`. */
  close(timeout: Millis): Promise<void>;
}

/** About a megabyte of spans; at 512 each 5 s and at once when full, 400 a second and more get through. */
const QUEUE = { most: 2048, batch: 512, linger: seconds(5) } as const;
const LIMITS = {
  attributeCountLimit: 32,
  attributeValueLengthLimit: 512,
  eventCountLimit: 0,
  linkCountLimit: 0,
} as const;
const LONGEST_NAME = 128;

/**
 * The SDK makes the spans, with our ids and our times; queue, timers and sockets are ours, for its own take none of the seams.
 * Nothing is registered as global.
 */
export function openSpans(sampling: Sampling, { clock, rng, sender, bind, about }: SpansDeps): Spans {
  const queue = new PushQueue<ReadableSpan>({
    clock,
    limits: QUEUE,
    send: (spans, ended) => sender.send(batchOf(spans), ended),
    onLost: (count) => sender.lost("traces", count, "queue"),
  });
  let sampler = samplerOf(sampling);
  const provider = new TracerProvider({
    resource: resourceOf(about),
    idGenerator: { generateTraceId: () => hex(rng, 32), generateSpanId: () => hex(rng, 16) },
    sampler: { shouldSample: (...asked) => sampler.shouldSample(...asked), toString: () => String(sampler) },
    spanLimits: LIMITS,
    spanProcessors: [intoQueue(queue)],
  });
  const begin = beginWith(provider, epochTimeOf(clock));
  return {
    tracer: tracerOf({ begin, records: ({ sampled }) => sampled, bind }),
    sample: (next) => void (sampler = samplerOf(next)),
    close: (timeout) => queue.close(timeout),
  };
}

/** none (const, 0) is none at all; else whoever begins a trace decides for all of it. */
function samplerOf({ samplerType, samplerRatio }: Sampling): Sampler {
  if (samplerRatio === 0) return new AlwaysOffSampler();
  const root = samplerType === "const" ? new AlwaysOnSampler() : new TraceIdRatioBasedSampler(samplerRatio);
  return new ParentBasedSampler({ root });
}

const KINDS: Readonly<Record<SpanKind, OtelKind>> = {
  internal: OtelKind.INTERNAL,
  server: OtelKind.SERVER,
  client: OtelKind.CLIENT,
  producer: OtelKind.PRODUCER,
  consumer: OtelKind.CONSUMER,
};

function beginWith(provider: TracerProvider, now: EpochTime): Begin {
  const tracer = provider.getTracer("turnout-kit");
  return (name, { kind, attributes, parent }) => {
    const options = { kind: KINDS[kind], attributes: { ...attributes } satisfies Attributes, startTime: now() };
    const span = tracer.startSpan(name.slice(0, LONGEST_NAME), options, contextOf(parent));
    return opened(span, now);
  };
}

function opened(span: Span, now: EpochTime): OpenSpan {
  const { traceId, spanId, traceFlags } = span.spanContext();
  let isOpen = true;
  return {
    context: { traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 },
    set: (attributes) => void (isOpen && span.setAttributes({ ...attributes })),
    end: (failure) => {
      if (!isOpen) return;
      isOpen = false;
      if (failure !== null) span.setAttribute("error.type", failure).setStatus({ code: SpanStatusCode.ERROR });
      span.end(now());
    },
  };
}

function contextOf(parent: TraceContext | null): Context {
  if (parent === null) return ROOT_CONTEXT;
  const { traceId, spanId, sampled } = parent;
  const traceFlags = sampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags });
}

const intoQueue = (queue: PushQueue<ReadableSpan>): SpanProcessor => ({
  onStart: () => undefined,
  onEnd: (span) => {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) queue.add(span);
  },
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve(),
});

const batchOf = (spans: readonly ReadableSpan[]) => ({
  signal: "traces" as const,
  items: spans.length,
  body: ProtobufTraceSerializer.serializeRequest([...spans]) ?? new Uint8Array(),
  rejected: (answer: Uint8Array): number =>
    ProtobufTraceSerializer.deserializeResponse(answer).partialSuccess?.rejectedSpans ?? 0,
});
