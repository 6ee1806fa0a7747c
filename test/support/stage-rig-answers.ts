import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Json } from "../../src/lib/json.ts";

/** One request as it came. */
export interface Came {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** What is answered: a status with JSON or text, a connection that is cut, or nothing at all. */
export type Reply =
  | { readonly status: number; readonly json?: Json; readonly text?: string; readonly headers?: Record<string, string> }
  | "cut"
  | "silence";

export interface Answering extends AsyncDisposable {
  readonly port: number;
  /** Whole requests, in order of arrival. */
  readonly came: readonly Came[];
  /** Most requests that were under way at once. */
  readonly atOnce: number;
}

/** A service that answers as a test says, once a request is here whole. */
export async function openAnswering(answer: (came: Came) => Reply | Promise<Reply>): Promise<Answering> {
  const came: Came[] = [];
  let [open, most] = [0, 0];
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    open += 1;
    most = Math.max(most, open);
    response.once("close", () => (open -= 1));
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = request;
    const one: Came = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    came.push(one);
    const reply = await answer(one);
    if (reply === "cut") response.destroy();
    else if (reply !== "silence") send(response, reply);
  };
  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    came,
    get atOnce() {
      return most;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(response: ServerResponse, { status, json, text, headers = {} }: Exclude<Reply, string>): void {
  const body = text ?? (json === undefined ? "" : JSON.stringify(json));
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(body);
}
