import type { Dispatcher } from "undici";
import { ANSWER_LIMITS, decodeJson, type Json } from "../../lib/json.ts";
import { type Instant, millisOf, type Millis } from "../../lib/time.ts";

/** SEC-41: bytes of an answer, undecoded. */
export const LARGEST_ANSWER = 64 * 1024;
/** Nobody is told to stay away for longer than this. */
const LONGEST_RETRY_AFTER = 3_600_000;
const SECONDS = /^\d{1,9}$/;
const DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** A body that is there: decoded, or why not. Never the text itself (SEC-37). */
export type AnswerJson =
  { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly reason: string; readonly bytes: number };

export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  /** Null where the answer has no body. */
  readonly json: AnswerJson | null;
  readonly bytes: number;
  readonly retryAfter: Millis | null;
}

interface Read {
  readonly answer: Answer;
  /** Whether the connection may carry another exchange: the answer was read to its end. */
  readonly whole: boolean;
}

/** Reads an answer to its end or its limit. @throws the library's error where it is cut, and the signal's reason. */
export async function readAnswer(response: Dispatcher.ResponseData, now: Instant): Promise<Read> {
  const { statusCode: status, headers, body } = response;
  const about = { kind: "answer", status, retryAfter: retryAfterOf(one(headers["retry-after"]), now) } as const;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (Number(one(headers["content-length"]) ?? 0) <= LARGEST_ANSWER) {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > LARGEST_ANSWER) break;
      chunks.push(chunk);
    }
  } else {
    bytes = LARGEST_ANSWER + 1;
  }
  if (bytes > LARGEST_ANSWER) {
    body.on("error", () => undefined).destroy();
    return { answer: { ...about, json: { ok: false, reason: "too large", bytes }, bytes }, whole: false };
  }
  const encoding = one(headers["content-encoding"]) ?? "identity";
  return { answer: { ...about, json: jsonOf(Buffer.concat(chunks), encoding), bytes }, whole: true };
}

function jsonOf(body: Buffer, encoding: string): AnswerJson | null {
  const bytes = body.byteLength;
  if (bytes === 0) return null;
  // Never decoded: a few bytes could become gigabytes.
  if (encoding.trim().toLowerCase() !== "identity") return { ok: false, reason: "encoded", bytes };
  const text = textOf(body);
  if (text === null) return { ok: false, reason: "not UTF-8", bytes };
  const decoded = decodeJson(text, ANSWER_LIMITS);
  return decoded.ok ? decoded : { ok: false, reason: decoded.reason, bytes };
}

function textOf(body: Buffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return null;
  }
}

/** RFC 9110: seconds or a date. */
export function retryAfterOf(text: string | undefined, now: Instant): Millis | null {
  const said = text ?? "";
  const date = DATE.test(said) ? Date.parse(said) - now : Number.NaN;
  const wait = SECONDS.test(said) ? Number(said) * 1000 : date;
  return Number.isNaN(wait) ? null : millisOf(Math.min(wait, LONGEST_RETRY_AFTER));
}

/** A field that came more than once says nothing reliable: its first value counts. */
const one = (value: string | readonly string[] | undefined): string | undefined =>
  typeof value === "string" ? value : value?.[0];
