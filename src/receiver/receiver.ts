// receiver: what a service embeds so that its tenants can be switched: fence check, deduplication, memory, conformance suite.
// Knows no Kubernetes, no vendor client and nothing of how an operator decides; imports src/lib only.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../lib/seams.ts";
import { millisOf } from "../lib/time.ts";
import { answerInForce, type Exchange, refuse } from "./answer.ts";
import { type Authenticate, onLoopbackOnly } from "./authenticate.ts";
import type { Apply } from "./carry-out.ts";
import { DEFAULT_LIMITS, type ReceiverLimits, WATCHED_TENANTS } from "./limits.ts";
import { nobodyElse, watchOthersTurns } from "./others-turns.ts";
import type { RefusalCode } from "./refusals.ts";
import { serve, type Served, type ServeDeps } from "./serve.ts";
import type { ReceiverStore } from "./store.ts";
import { openTurns } from "./turns.ts";
import type { Operation } from "./verdict.ts";
import { within } from "./within.ts";

/** How one request ended; for the service's own log. */
export interface ReceiverEvent {
  readonly verdict: "applied" | "repeated" | "read" | RefusalCode;
  /** Null where none was asked for, or the request was refused before it was understood. */
  readonly operation: Operation | null;
  /** The greatest fence remembered, where it decided. */
  readonly seen?: string;
  /** What was thrown; never part of an answer. */
  readonly cause?: unknown;
}

export type ReceiverOptions = {
  /** Opened and closed by the caller; closed after the receiver. */
  readonly store: ReceiverStore;
  readonly apply: Apply;
  readonly clock: Clock;
  readonly limits?: Partial<ReceiverLimits>;
  readonly report?: (event: ReceiverEvent) => void;
  /** To be set for a store that is not durable: to the operator, such a receiver is an endpoint with `fencing: None`. */
  readonly forgetsFences?: true;
} & (
  | { readonly authenticate: Authenticate }
  /** Callers on this machine only: other sockets are refused (SEC-30). */
  | { readonly allowUnauthenticated: true; readonly authenticate?: never }
);

/** A handler for `http.createServer`, or to be called for every path below `RECEIVER_PATH`. */
export interface Receiver {
  (request: IncomingMessage, response: ServerResponse): void;
  /** Takes nothing new, lets what is being applied end (at most `applyTimeout`), then resolves. */
  close(): Promise<void>;
}

/**
 * What a service embeds to be switched. Headers, time-outs and connection limits are the server's: docs/receiver-guide.md says
 * which to set.
 * @throws Error for a store that forgets fences, unless `forgetsFences` says that this is known.
 */
export function createReceiver(options: ReceiverOptions): Receiver {
  const { store, apply, clock } = options;
  if (!store.durable && options.forgetsFences !== true) {
    throw new Error(
      "this store forgets fences when it restarts: take a durable one, or set forgetsFences and fencing: None",
    );
  }
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const closing = new AbortController();
  const inHand = new Set<Promise<unknown>>();
  const track = (work: Promise<unknown>): void => {
    inHand.add(work);
    void Promise.allSettled([work]).then(() => inHand.delete(work));
  };
  const lease = millisOf(2 * limits.applyTimeout);
  const deps: ServeDeps = {
    store,
    apply,
    clock,
    limits,
    track,
    authenticate: options.authenticate ?? onLoopbackOnly,
    others: store.shared ? watchOthersTurns(lease, WATCHED_TENANTS, clock) : nobodyElse,
    turns: openTurns(limits, clock),
    closing: closing.signal,
    takeSeat: seats(limits.operations),
  };
  const report = (event: ReceiverEvent): void => {
    try {
      options.report?.(event);
    } catch {
      // A log that fails must not change what the caller is told.
    }
  };
  return Object.assign(
    (request: IncomingMessage, response: ServerResponse) => track(handle({ request, response, clock }, deps, report)),
    {
      close: async () => {
        closing.abort();
        await within(Promise.allSettled(inHand), { timeout: limits.applyTimeout, clock }, undefined);
      },
    },
  );
}

function seats(free: number): () => (() => void) | null {
  let left = free;
  return () => {
    if (left === 0) return null;
    left -= 1;
    return () => {
      left += 1;
    };
  };
}

/** One request, from its headers to its answer. Never throws. */
async function handle(exchange: Exchange, deps: ServeDeps, report: (event: ReceiverEvent) => void): Promise<void> {
  const { request, response } = exchange;
  try {
    const served = await serve(request, response, deps);
    report(eventOf(served));
    const { ending } = served;
    if (ending.is === "refused") await refuse(exchange, ending.code, ending.seen);
    else await answerInForce(exchange, ending.view);
  } catch (cause) {
    report({ verdict: "Internal", operation: null, cause });
    await refuse(exchange, "Internal").catch(() => response.destroy());
  }
}

function eventOf({ ending, operation }: Served): ReceiverEvent {
  if (ending.is !== "refused") return { verdict: ending.is, operation };
  const { code, seen, cause } = ending;
  return {
    verdict: code,
    operation,
    ...(seen === undefined ? {} : { seen }),
    ...(cause === undefined ? {} : { cause }),
  };
}
