import type { IncomingMessage, request as httpRequest, ServerResponse } from "node:http";

export function headersOf({ headers }: IncomingMessage): Record<string, string | string[]> {
  const { host: _host, connection: _connection, "transfer-encoding": _coding, ...rest } = headers;
  return rest as Record<string, string | string[]>;
}

export async function sent(request: ReturnType<typeof httpRequest>, body: Buffer): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  request.on("response", resolve).on("error", reject);
  request.end(body.length === 0 ? undefined : body);
  return promise;
}

export function stream(answer: IncomingMessage, response: ServerResponse): void {
  response.writeHead(answer.statusCode ?? 502, answer.headers);
  response.flushHeaders();
  answer.pipe(response);
  answer.on("error", () => response.destroy());
  response.on("close", () => answer.destroy());
}

interface Whole {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

export async function whole(answer: IncomingMessage): Promise<Whole> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return { status: answer.statusCode ?? 502, headers: answer.headers, body: Buffer.concat(chunks) };
}

/** Whether anybody is left to be told. */
export function reply(response: ServerResponse, { status, headers, body }: Whole): boolean {
  if (response.destroyed || response.socket?.destroyed !== false) return false;
  const { "transfer-encoding": _coding, connection: _connection, ...rest } = headers;
  response.writeHead(status, { ...rest, "content-length": body.length });
  response.end(body);
  return true;
}
