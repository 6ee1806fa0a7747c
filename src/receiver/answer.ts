import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../lib/seams.ts";
import { discardBody } from "./body.ts";
import { ANSWER_BYTES, LINGER } from "./limits.ts";
import { REFUSALS, type RefusalCode, RETRY_AFTER } from "./refusals.ts";
import type { InForceView } from "./verdict.ts";

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly clock: Clock;
}

export const answerInForce = (exchange: Exchange, view: InForceView): Promise<void> => answer(exchange, 200, view);

/** Says the code and, where a fence decided, the greatest one seen. Nothing that the caller sent is quoted (SEC-37). */
export function refuse(exchange: Exchange, code: RefusalCode, seen?: string): Promise<void> {
  const status = REFUSALS[code];
  if (status === 503) exchange.response.setHeader("retry-after", RETRY_AFTER);
  if (status === 405) exchange.response.setHeader("allow", "GET, PUT");
  if (status === 401) exchange.response.setHeader("www-authenticate", "Bearer");
  return answer(exchange, status, seen === undefined ? { code } : { code, seen });
}

async function answer({ request, response, clock }: Exchange, status: number, body: object): Promise<void> {
  if (response.headersSent || response.destroyed) return;
  const text = Buffer.from(JSON.stringify(body));
  if (text.length > ANSWER_BYTES) throw new Error(`an answer of ${text.length} bytes`);
  response.statusCode = status;
  response.setHeader("content-type", "application/json");
  response.setHeader("content-length", text.length);
  response.setHeader("cache-control", "no-store");
  if (request.complete || !announcesBody(request)) {
    response.end(text);
    return;
  }
  // Closing now would reset the connection under a caller that still sends, and take the answer away with it.
  response.setHeader("connection", "close");
  response.write(text);
  await discardBody(request, { ...LINGER, clock });
  response.end();
}

const announcesBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
