import { AsyncLocalStorage } from "node:async_hooks";
import type { Rng } from "../../lib/seams.ts";

/** W3C Trace Context, level 1: what one process tells the next. */
export interface TraceContext {
  /** 32 hex digits, the same through all processes. */
  readonly traceId: string;
  /** 16 hex digits: this piece of work. */
  readonly spanId: string;
  readonly sampled: boolean;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** `00-{trace}-{span}-{flags}`; null for anything else, all zeroes included. */
export function parseTrace(header: string): TraceContext | null {
  const [, traceId = "", spanId = "", flags = ""] = TRACEPARENT.exec(header) ?? [];
  if (/^0*$/.test(traceId) || /^0*$/.test(spanId)) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export const formatTrace = ({ traceId, spanId, sampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;

/** A new piece of work: of the parent's trace, or of a trace of its own. */
export function newTrace(rng: Rng, parent: TraceContext | null): TraceContext {
  const spanId = hex(rng, 16);
  return parent === null ? { traceId: hex(rng, 32), spanId, sampled: true } : { ...parent, spanId };
}

/** Bound to the call chain, hence safe to share: two works never see each other's. */
const present = new AsyncLocalStorage<TraceContext>();

/** The piece of work that is being done; null outside of any trace. */
export const presentTrace = (): TraceContext | null => present.getStore() ?? null;

/** Runs `work` as a piece of that trace, also after an await. */
export const withTrace = <T>(context: TraceContext, work: () => T): T => present.run(context, work);

/** Hex digits, not all zeroes. */
export function hex(rng: Rng, digits: number): string {
  let text = "";
  while (text.length < digits)
    text += Math.floor(rng.float() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, "0");
  const cut = text.slice(0, digits);
  return /^0*$/.test(cut) ? `${cut.slice(1)}1` : cut;
}
