import { InfraError } from "../../lib/infra-error.ts";
import type { Rng } from "../../lib/seams.ts";
import { formatTrace, newTrace, parseTrace, presentTrace, type TraceContext, withTrace } from "./trace-context.ts";

export type SpanKind = "internal" | "server" | "client" | "producer" | "consumer";
/** Words of our own: names, codes, counts. Never what somebody stored, sent or asked for (S17). */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface SpanAbout {
  /** `internal` unless said otherwise. */
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  /** `traceparent` of who asked for it; null or unreadable: a trace of its own. Left out: the present trace goes on. */
  readonly from?: string | null;
}

export interface OpenSpan {
  readonly context: TraceContext;
  set(attributes: SpanAttributes): void;
  /** `failure`: a code; null where it went well. The first call counts. */
  end(failure: string | null): void;
}

/** Pieces of work, each a span of one trace through all processes. What is not sampled, or not configured, costs next to nothing. */
export interface Tracer {
  /** The present piece of work as a W3C `traceparent`; null outside of any trace. */
  header(): string | null;
  /** Does the work as a span: of the present trace, of the one that `from` names, or of a new one. */
  span<T>(name: string, about: SpanAbout, work: (span: OpenSpan) => Promise<T>): Promise<T>;
  /** A span where a trace is present, else just the work: what is asked for by nobody makes no traces. */
  call<T>(name: string, about: Omit<SpanAbout, "from">, work: () => Promise<T>): Promise<T>;
  /** For work that ends in a callback. Whoever opens it ends it. */
  open(name: string, about: SpanAbout): OpenSpan;
  /** As {@link call}, for work that ends in a callback; null where there is none to make. */
  openCall(name: string, about: Omit<SpanAbout, "from">): OpenSpan | null;
  /** Runs the work, and all that it begins, as part of the span. */
  within<T>(span: OpenSpan, work: () => T): T;
}

/** Begins one span below `parent`; null: a new trace. */
export type Begin = (
  name: string,
  about: { readonly kind: SpanKind; readonly attributes: SpanAttributes; readonly parent: TraceContext | null },
) => OpenSpan;

export interface TracerDeps {
  readonly begin: Begin;
  /** Whether a span is worth beginning for a call within this trace. */
  readonly records: (present: TraceContext) => boolean;
  /** Runs the work so that each line it logs carries the id of the trace. */
  readonly bind: Bind;
}
export type Bind = <T>(traceId: string, work: () => T) => T;

export function tracerOf({ begin, records, bind }: TracerDeps): Tracer {
  const open = (name: string, { kind = "internal", attributes = {}, from }: SpanAbout): OpenSpan => {
    const parent = from === undefined ? presentTrace() : from === null ? null : parseTrace(from);
    return begin(name, { kind, attributes, parent });
  };
  const within = <T>({ context }: OpenSpan, work: () => T): T => {
    const isSame = presentTrace()?.traceId === context.traceId;
    return withTrace(context, () => (isSame ? work() : bind(context.traceId, work)));
  };
  const openCall = (name: string, about: Omit<SpanAbout, "from">): OpenSpan | null => {
    const present = presentTrace();
    return present === null || !records(present) ? null : open(name, about);
  };
  const done = async <T>(opened: OpenSpan, work: (span: OpenSpan) => Promise<T>): Promise<T> => {
    try {
      const result = await within(opened, () => work(opened));
      opened.end(null);
      return result;
    } catch (error) {
      opened.end(failureOf(error));
      throw error;
    }
  };
  return {
    header: () => {
      const present = presentTrace();
      return present === null ? null : formatTrace(present);
    },
    span: (name, about, work) => done(open(name, about), work),
    call: (name, about, work) => {
      const opened = openCall(name, about);
      return opened === null ? work() : done(opened, work);
    },
    open,
    openCall,
    within,
  };
}

/** Makes no spans: takes over the ids of who asked, or draws new ones, so that logs and headers carry them all the same. */
export function passingTracer(rng: Rng, bind: Bind): Tracer {
  const begin: Begin = (_name, { parent }) => {
    const context = parent ?? newTrace(rng, null);
    return { context, set: () => undefined, end: () => undefined };
  };
  return tracerOf({ begin, records: () => false, bind });
}

export interface RelayTracer {
  /** Whoever holds it uses the present one. */
  readonly tracer: Tracer;
  to(next: Tracer): void;
  present(): Tracer;
}

/** What is opened before the settings are known is given this one. */
export function relayTracer(first: Tracer): RelayTracer {
  let present = first;
  return {
    tracer: {
      header: () => present.header(),
      span: (name, about, work) => present.span(name, about, work),
      call: (name, about, work) => present.call(name, about, work),
      open: (name, about) => present.open(name, about),
      openCall: (name, about) => present.openCall(name, about),
      within: (span, work) => present.within(span, work),
    },
    to: (next) => void (present = next),
    present: () => present,
  };
}

/** The code alone: messages may name keys and addresses. */
export const failureOf = (error: unknown): string => (error instanceof InfraError ? error.code : "Thrown");
