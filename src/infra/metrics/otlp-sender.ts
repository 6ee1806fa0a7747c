import { type buildConnector, Pool } from "undici";
import { backoffAfter, type Backoff } from "../../lib/backoff.ts";
import { withDeadline } from "../../lib/deadline.ts";
import type { InfraError } from "../../lib/infra-error.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Connection } from "../egress/connect.ts";
import type { Health } from "../health/health.ts";
import type { Metrics } from "./metrics.ts";
import { isOtlpError, otlpError } from "./otlp-failures.ts";

/** Opens one guarded socket to the collector, secured where the settings say so. */
export type DialCollector = (signal: AbortSignal) => Promise<Connection>;

export interface SenderDeps {
  /** `host:port`; shown in messages and sent as Host. */
  readonly address: string;
  readonly dial: DialCollector;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly metrics: Metrics;
  readonly log: Log;
}

export type OtlpSignal = "traces" | "metrics";
export interface Batch {
  readonly signal: OtlpSignal;
  /** Spans or points in it. */
  readonly items: number;
  readonly body: Uint8Array;
  /** How many of them the answer says were not taken. */
  readonly rejected: (answer: Uint8Array) => number;
}

/** Bound of one batch, all its tries included. */
export const BATCH_TIMEOUT: Millis = seconds(10);
const MOST_TRIES = 3;
const AGAIN: Backoff = { initial: millisOf(500), factor: 2, max: seconds(2) };
/** An answer of the protocol has a few bytes. */
const LARGEST_ANSWER = 64 * 1024;
const IDLE = 30_000;
const CONTENT = { "content-type": "application/x-protobuf", "user-agent": "turnout-kit" } as const;

/**
 * OTLP as protobuf over HTTP. What the collector does not take within the bound is given up and counted: nobody waits for it, and
 * the first failure of a row is logged, not each.
 */
export class OtlpSender {
  readonly #deps: SenderDeps;
  readonly #pool: Pool;
  readonly #closed = new AbortController();
  #trouble: InfraError | null = null;
  #sent = 0;
  #lost = 0;

  constructor(deps: SenderDeps) {
    this.#deps = deps;
    this.#pool = new Pool(`http://${deps.address}`, {
      allowH2: false,
      pipelining: 1,
      connections: 2,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: IDLE,
      maxHeaderSize: 8 * 1024,
      connect: (_options, opened) => {
        void this.#open(opened);
      },
    });
  }

  /** Whether it was taken. Never rejects; `ended` gives it up at once. */
  async send(batch: Batch, ended: AbortSignal): Promise<boolean> {
    const { clock } = this.#deps;
    const either = AbortSignal.any([ended, this.#closed.signal]);
    try {
      const answer = await withDeadline({ clock, timeout: BATCH_TIMEOUT, signal: either }, (late) =>
        this.#tries(batch, late),
      );
      const rejected = Math.min(batch.items, rejectedOf(batch, answer));
      this.#count(batch, batch.items - rejected, "sent");
      this.lost(batch.signal, rejected, "refused");
      this.#well();
      return true;
    } catch (error) {
      const known = isOtlpError(error, ...CODES) ? error : otlpError("TimedOut", this.#deps.address, error);
      this.lost(batch.signal, batch.items, known.code === "Refused" ? "refused" : "unreached");
      this.#ill(known);
      return false;
    }
  }

  /** Spans or points that will never be sent, and why. */
  lost(signal: OtlpSignal, items: number, result: "queue" | "refused" | "unreached"): void {
    this.#lost += items;
    if (items > 0) this.#deps.metrics.count("infra_otlp_items_total", { signal, result }, items);
  }

  check(): Health {
    const details = { address: this.#deps.address, sent: this.#sent, lost: this.#lost };
    return this.#trouble === null
      ? { status: "healthy", message: "the collector takes what is sent", details }
      : { status: "degraded", message: this.#trouble.message, details };
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#pool.destroy();
  }

  async #tries(batch: Batch, ended: AbortSignal): Promise<Uint8Array> {
    const { clock, rng } = this.#deps;
    for (let failures = 1; ; failures += 1) {
      try {
        return await this.#once(batch, ended);
      } catch (error) {
        const isWorthAnother = isOtlpError(error, "ConnectFailed", "Busy") && failures < MOST_TRIES;
        if (!isWorthAnother || ended.aborted) throw error;
        await clock.sleep(backoffAfter(failures, AGAIN, rng.float()), ended).catch(() => undefined);
        if (ended.aborted) throw error;
      }
    }
  }

  async #once({ signal, body }: Batch, ended: AbortSignal): Promise<Uint8Array> {
    const { address } = this.#deps;
    try {
      const path = `/v1/${signal}`;
      const response = await this.#pool.request({ method: "POST", path, headers: CONTENT, body, signal: ended });
      const answer = await bytesOf(response.body, address);
      const { statusCode } = response;
      if (statusCode >= 200 && statusCode < 300) return answer;
      throw otlpError(BUSY.has(statusCode) ? "Busy" : "Refused", `${address} (${statusCode})`);
    } catch (error) {
      if (isOtlpError(error, ...CODES)) throw error;
      throw otlpError(ended.aborted ? "TimedOut" : "ConnectFailed", address, error);
    }
  }

  async #open(opened: Parameters<buildConnector.connector>[1]): Promise<void> {
    const { dial, address } = this.#deps;
    try {
      const dialled = await dial(this.#closed.signal);
      if (dialled.ok) opened(null, dialled.socket);
      else opened(otlpError(CODE_OF_FAULT[dialled.fault.code] ?? "ConnectFailed", address), null);
    } catch (error) {
      opened(isOtlpError(error, ...CODES) ? error : otlpError("ConnectFailed", address, error), null);
    }
  }

  #count({ signal }: Batch, items: number, result: "sent"): void {
    this.#sent += items;
    this.#deps.metrics.count("infra_otlp_items_total", { signal, result }, items);
  }

  #well(): void {
    if (this.#trouble !== null) this.#deps.log.info({ address: this.#deps.address }, "the collector takes again");
    this.#trouble = null;
  }

  #ill(trouble: InfraError): void {
    if (this.#closed.signal.aborted) return;
    const { metrics, log } = this.#deps;
    metrics.infraFailed(trouble);
    if (this.#trouble === null) log.warn({ code: trouble.code }, `${trouble.message}; traces and series are given up`);
    this.#trouble = trouble;
  }
}

const CODES = ["ConnectFailed", "TlsFailed", "Denied", "TimedOut", "Busy", "Refused"] as const;
const CODE_OF_FAULT: Readonly<Record<string, "TlsFailed" | "Denied">> = {
  TlsFailed: "TlsFailed",
  EgressDenied: "Denied",
};
/** What the protocol (OTLP 1.x, "Failures") calls worth another try. */
const BUSY: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** An answer that is none says nothing about what was taken. */
function rejectedOf({ rejected }: Batch, answer: Uint8Array): number {
  try {
    const count = rejected(answer);
    return Number.isSafeInteger(count) && count > 0 ? count : 0;
  } catch {
    return 0;
  }
}

async function bytesOf(body: AsyncIterable<Uint8Array>, address: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > LARGEST_ANSWER) throw otlpError("Refused", address);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
