import type { IncomingMessage, ServerResponse } from "node:http";

/** What a receiver can be told to do wrong, and what it needs to know for it. */
export const MODES = {
  ok: "does what it should",
  refuse: "answers PUT with `status` (default 422), without an effect",
  fail: "takes PUT and fails inside: 500 ApplyFailed, the fence is remembered",
  slow: "takes `ms` (default 4000) over each operation, and carries it out also when nobody waits any more",
  silent: "never answers PUT, and does nothing",
  "lose-answer": "carries PUT out and cuts the connection instead of answering",
  "non-json": "carries PUT out and answers with a page of HTML",
  partial: "carries PUT out and answers with a list of failures at /data/failList",
  lag: "carries PUT out and goes on reporting the version before; with `times`, for so many GETs",
  "old-version": "as lag, for ever",
  unreadable: "answers GET with 503",
} as const;
export type Mode = keyof typeof MODES;

export interface Misbehaviour {
  readonly mode: Mode;
  /** Of `refuse`. */
  readonly status: number;
  /** Of `slow`. */
  readonly ms: number;
  /** Requests left that it concerns; null for ever. */
  readonly times: number | null;
}

/** Where a mode shows; `times` counts these only. */
export const SHOWS_AT: Readonly<Record<Mode, "GET" | "PUT" | "apply" | null>> = {
  ok: null,
  refuse: "PUT",
  fail: "apply",
  slow: "apply",
  silent: "PUT",
  "lose-answer": "PUT",
  "non-json": "PUT",
  partial: "PUT",
  lag: "GET",
  "old-version": "GET",
  unreadable: "GET",
};

export const isMode = (text: unknown): text is Mode => typeof text === "string" && Object.hasOwn(MODES, text);

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface MisbehaveDeps {
  readonly receiver: Handler;
  /** The version that the tenant ran on before the one in force; null where there was none. */
  readonly versionBefore: () => number | null;
}

/** Hands one request to the receiver, or not, and lets its answer out, or not. */
export function misbehave(
  { mode, status }: Misbehaviour,
  request: IncomingMessage,
  response: ServerResponse,
  { receiver, versionBefore }: MisbehaveDeps,
): void {
  switch (mode) {
    case "ok":
    case "fail":
    case "slow": // these two are met inside `apply`
      return receiver(request, response);
    case "refuse":
      return answer(response, status, JSON.stringify({ code: "Refused" }));
    case "unreadable":
      return answer(response, 503, JSON.stringify({ code: "Unreadable" }));
    case "silent":
      return;
    case "lose-answer":
      instead(response, () => response.destroy());
      return receiver(request, response);
    case "non-json":
      instead(response, (end) => {
        response.setHeader("content-type", "text/html");
        end("<html><body>all is well</body></html>");
      });
      return receiver(request, response);
    case "partial":
      instead(response, (end) => end(JSON.stringify({ code: 0, data: { failList: ["shard-3"] } })));
      return receiver(request, response);
    case "lag":
    case "old-version":
      instead(response, (end, text) => end(older(text, versionBefore())));
      return receiver(request, response);
  }
}

function older(text: string, before: number | null): string {
  const view = JSON.parse(text) as { version?: number };
  return view.version === undefined ? text : JSON.stringify({ ...view, version: before ?? view.version - 1 });
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "application/json" }).end(text);
}

/** The answer that the receiver gives goes to `then`, which says what the caller gets. */
function instead(response: ServerResponse, then: (end: (text: string) => void, text: string) => void): void {
  const end = response.end.bind(response);
  const endOnce = (text: string): void => {
    response.removeHeader("content-length");
    end(text);
  };
  Object.assign(response, {
    end: (text: unknown) => {
      then(endOnce, String(text));
      return response;
    },
  });
}
