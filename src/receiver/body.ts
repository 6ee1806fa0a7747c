import type { IncomingMessage } from "node:http";
import type { Clock } from "../lib/seams.ts";
import type { Millis } from "../lib/time.ts";
import { within } from "./within.ts";

export type Body = { readonly is: "whole"; readonly bytes: Uint8Array } | { readonly is: "tooLarge" | "late" | "gone" };

export interface BodyBounds {
  readonly bytes: number;
  readonly timeout: Millis;
  readonly clock: Clock;
}

/** Reads at most `bytes`. A declared length beyond that is refused without reading any of it. */
export async function readBody(request: IncomingMessage, bounds: BodyBounds): Promise<Body> {
  if (Number(request.headers["content-length"] ?? 0) > bounds.bytes) return { is: "tooLarge" };
  const chunks: Uint8Array[] = [];
  const end = await within(
    collect(request, bounds.bytes, (chunk) => chunks.push(chunk)),
    bounds,
    "late" as const,
  );
  request.pause();
  return end === "whole" ? { is: end, bytes: Buffer.concat(chunks) } : { is: end };
}

/** Reads on without keeping anything, so that the caller gets to see an answer given before its body was read. */
export async function discardBody(request: IncomingMessage, bounds: BodyBounds): Promise<void> {
  await within(
    collect(request, bounds.bytes, () => undefined),
    bounds,
    "late",
  );
}

/** By events: leaving an async iteration early would tear down the socket before the answer is out. */
function collect(
  request: IncomingMessage,
  atMost: number,
  keep: (chunk: Uint8Array) => void,
): Promise<"whole" | "tooLarge" | "gone"> {
  const { promise, resolve } = Promise.withResolvers<"whole" | "tooLarge" | "gone">();
  let bytes = 0;
  const take = (chunk: Uint8Array): void => {
    bytes += chunk.length;
    if (bytes > atMost) resolve("tooLarge");
    else keep(chunk);
  };
  const ended = (): void => resolve("whole");
  const gone = (): void => resolve("gone");
  request.on("data", take).once("end", ended).once("close", gone).once("error", gone);
  if (request.readableEnded) ended();
  else if (request.destroyed) gone();
  else request.resume();
  return promise.finally(() => {
    request.off("data", take).off("end", ended).off("close", gone).off("error", gone);
  });
}
