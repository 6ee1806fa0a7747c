import { request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { ConformanceAnswer, ConformanceRequest } from "../receiver/conformance-play.ts";

export interface Peer {
  /** `http://host:port` or `https://host:port`, nothing behind it. */
  readonly origin: string;
  /** Null: callers are not told apart. */
  readonly token: string | null;
  /** PEM; the system's authorities where absent. */
  readonly ca?: string;
  /** Default: 15 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 15_000;
/** As much as the operator reads of an answer (SEC-41). */
const ANSWER_BYTES = 64 * 1024;

/** Sends one request over a connection of its own and follows nothing. @throws Error with `code` where no whole answer came. */
export function sendTo(peer: Peer, request: ConformanceRequest): Promise<ConformanceAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ConformanceAnswer>();
  const url = new URL(peer.origin);
  const body = request.method === "GET" ? null : (request.body ?? null);
  const options: RequestOptions = {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port || undefined,
    method: request.method,
    path: request.path,
    headers: { ...request.headers, ...credential(peer, request.as), ...length(body) },
    agent: false,
    signal: AbortSignal.timeout(peer.timeoutMs ?? TIMEOUT_MS),
  };
  const outgoing: ClientRequest =
    url.protocol === "https:"
      ? httpsRequest({ ...options, ...(peer.ca ? { ca: peer.ca } : {}) })
      : httpRequest(options);
  outgoing.once("error", reject); // after an answer this changes nothing: it may come before the body is out
  outgoing.once("response", (incoming) => {
    readAnswer(incoming)
      .then(resolve, reject)
      .finally(() => outgoing.destroy());
  });
  if (request.withholdBody === true) outgoing.flushHeaders();
  else outgoing.end(body);
  return promise;
}

const length = (body: Uint8Array | null): Record<string, string> =>
  body === null ? {} : { "content-length": String(body.length) };

function credential({ token }: Peer, as: ConformanceRequest["as"]): Record<string, string> {
  if (token === null || as === "nobody") return {};
  return { authorization: `Bearer ${as === "known" ? token : lastChanged(token)}` };
}

/** As near to the right one as a wrong one gets. */
const lastChanged = (token: string): string => token.slice(0, -1) + (token.endsWith("a") ? "b" : "a");

async function readAnswer(incoming: IncomingMessage): Promise<ConformanceAnswer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    chunks.push(chunk as Uint8Array);
    bytes += (chunk as Uint8Array).length;
    if (bytes > ANSWER_BYTES) break;
  }
  const contentType = incoming.headers["content-type"] ?? "";
  return { status: incoming.statusCode ?? 0, contentType, body: Buffer.concat(chunks) };
}
