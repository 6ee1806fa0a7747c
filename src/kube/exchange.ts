import type { Dispatcher } from "undici";

import { NoAnswer } from "./errors.ts";

export interface ExchangeOptions {
  readonly isRead: boolean;
  /** Most bytes of the answer's body. */
  readonly limit: number;
  readonly signal: AbortSignal | undefined;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly bytes: Uint8Array;
}

/**
 * One request and its answer, on the level where it is known whether a byte left. A broken exchange destroys its connection, so
 * that no late answer reaches the next caller.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  /** @throws NoAnswer */
  readonly answer: Promise<RawAnswer>;
  readonly #options: ExchangeOptions;
  readonly #resolve: (answer: RawAnswer) => void;
  readonly #reject: (error: NoAnswer) => void;
  readonly #onAbort = (): void => this.abandon("Aborted");
  readonly #chunks: Uint8Array[] = [];
  #controller: Dispatcher.DispatchController | null = null;
  #isOver = false;
  #size = 0;
  #status = 0;
  #headers: RawAnswer["headers"] = {};

  constructor(options: ExchangeOptions) {
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
    [this.answer, this.#resolve, this.#reject] = [promise, resolve, reject];
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (options.signal?.aborted) this.abandon("Aborted");
  }

  /** Ends the exchange without an answer: `Refused` if it had not begun. */
  abandon(reason: "Timeout" | "Aborted"): void {
    this.#fail(new NoAnswer(this.#controller === null ? "Refused" : "Ambiguous", reason));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Begun a second time, it would be a request sent twice: one claim, one attempt.
    if (this.#isOver || this.#controller !== null) controller.abort(new Error("over"));
    else this.#controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) return;
    this.#status = status;
    this.#headers = flattenHeaders(headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#size += chunk.length;
    if (this.#size > this.#options.limit)
      this.#fail(new NoAnswer(this.#options.isRead ? "BadAnswer" : "Ambiguous", "AnswerTooLarge"));
    else if (!this.#isOver) this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (!this.#end()) return;
    const [first] = this.#chunks;
    const bytes = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#resolve({ status: this.#status, headers: this.#headers, bytes });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    const sent = this.#controller !== null;
    this.#fail(noAnswerOf(error, { sent, isRead: this.#options.isRead, timedOut: false }));
  }

  #fail(error: NoAnswer): void {
    if (!this.#end()) return;
    this.#reject(error);
    this.#controller?.abort(error);
  }

  #end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** The headers that anybody here reads; of a repeated one the first. */
const READ_HEADERS = ["date", "retry-after", "content-encoding"] as const;

export function flattenHeaders(headers: Headers): Readonly<Record<string, string | undefined>> {
  const flat: Record<string, string> = {};
  for (const name of READ_HEADERS) {
    const value = headers[name];
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) flat[name] = first;
  }
  return flat;
}

/** Codes of undici for an answer that breaks the protocol or a bound. */
const BROKEN_ANSWER: ReadonlySet<string> = new Set(["UND_ERR_HEADERS_OVERFLOW", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"]);

interface Moment {
  /** Whether a byte of the request may have left. */
  readonly sent: boolean;
  readonly isRead: boolean;
  readonly timedOut: boolean;
}

/** Errors of sockets, TLS and undici → what they mean; only their codes are repeated. */
export function noAnswerOf(error: unknown, { sent, isRead, timedOut }: Moment): NoAnswer {
  if (error instanceof NoAnswer) return error;
  const { code, name } = error as { readonly code?: unknown; readonly name?: unknown };
  if (timedOut) return new NoAnswer(sent ? "Ambiguous" : "Refused", "Timeout", error);
  if (!sent || code === "ECONNREFUSED") return new NoAnswer("Refused", reasonOf(code, name), error);
  const isBroken = name === "HTTPParserError" || BROKEN_ANSWER.has(String(code));
  return new NoAnswer(isBroken && isRead ? "BadAnswer" : "Ambiguous", reasonOf(code, name), error);
}

function reasonOf(code: unknown, name: unknown): string {
  if (typeof code === "string" && /^[A-Z_0-9]{1,64}$/.test(code)) return code;
  return name === "AbortError" ? "Aborted" : "ConnectionFailed";
}
