import type { KubeRequest, KubeResponse, KubeStream, KubeTransport } from "../../src/lib/seams.ts";

/** What a request is answered with: a response, an error to throw, or a function of the request. */
export type Reply =
  Partial<KubeResponse> | Error | ((request: KubeRequest) => Partial<KubeResponse> | Promise<Partial<KubeResponse>>);

/** A watch as the API server would hold it open. */
export interface FakeStream {
  readonly request: KubeRequest;
  /** Whether the client still reads it. */
  readonly isOpen: boolean;
  /** One line per event. */
  send(...events: readonly unknown[]): void;
  raw(bytes: Uint8Array | string): void;
  /** The server ends it in order. */
  end(): void;
  /** The connection breaks. */
  cut(): void;
}

/** A scripted API server behind the port of the real one. What no script covers is a bug of the test and throws. */
export interface FakeKube extends KubeTransport {
  readonly requests: readonly KubeRequest[];
  readonly streams: readonly FakeStream[];
  /** Answers for `METHOD path` (query left out), used up in order; the last one stays. */
  on(what: string, ...replies: readonly Reply[]): void;
  /** The next streams are answered with these; without any, they open with status 200. */
  onStream(...replies: readonly Reply[]): void;
}

export const ok = (body: unknown, headers: KubeResponse["headers"] = {}): KubeResponse => ({
  status: 200,
  headers,
  body,
});

export const statusAnswer = (
  status: number,
  reason: string,
  more: Readonly<Record<string, unknown>> = {},
): KubeResponse => ({
  status,
  headers: {},
  body: { kind: "Status", apiVersion: "v1", status: "Failure", reason, code: status, ...more },
});

export const openFakeKube = (): FakeKube => new Fake();

class Fake implements FakeKube {
  readonly requests: KubeRequest[] = [];
  readonly streams: Stream[] = [];
  readonly #replies = new Map<string, Reply[]>();
  readonly #streamReplies: Reply[] = [];

  on(what: string, ...replies: readonly Reply[]): void {
    this.#replies.set(what, [...replies]);
  }
  onStream(...replies: readonly Reply[]): void {
    this.#streamReplies.push(...replies);
  }

  async request(request: KubeRequest): Promise<KubeResponse> {
    this.requests.push(request);
    const what = `${request.method} ${request.path}`;
    const replies = this.#replies.get(what) ?? [];
    const reply = replies.length > 1 ? replies.shift() : replies[0];
    if (reply === undefined) throw new Error(`no answer scripted for ${what}`);
    return answerOf(reply, request);
  }

  async stream(request: KubeRequest): Promise<KubeStream> {
    this.requests.push(request);
    const reply = this.#streamReplies.shift() ?? {};
    const { status, headers, body } = await answerOf(reply, request);
    const stream = new Stream(request);
    if (status === 200) this.streams.push(stream);
    else {
      stream.raw(JSON.stringify(body));
      stream.end();
    }
    return { status, headers, chunks: stream.chunks() };
  }

  async close(): Promise<void> {
    for (const stream of this.streams) stream.cut();
  }
}

async function answerOf(reply: Reply, request: KubeRequest): Promise<KubeResponse> {
  if (reply instanceof Error) throw reply;
  const given = typeof reply === "function" ? await reply(request) : reply;
  return { status: 200, headers: {}, body: null, ...given };
}

class Stream implements FakeStream {
  readonly request: KubeRequest;
  #waiting: (Uint8Array | Error | null)[] = [];
  #wake: (() => void) | null = null;
  #isOpen = true;

  constructor(request: KubeRequest) {
    this.request = request;
    const { signal } = request;
    if (signal?.aborted) this.#push(signal.reason as Error);
    signal?.addEventListener("abort", () => this.#push(signal.reason as Error), { once: true });
  }

  get isOpen(): boolean {
    return this.#isOpen && this.request.signal?.aborted !== true;
  }
  send(...events: readonly unknown[]): void {
    this.raw(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
  }
  raw(bytes: Uint8Array | string): void {
    this.#push(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
  }
  end(): void {
    this.#push(null);
  }
  cut(): void {
    this.#push(new Error("ECONNRESET"));
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        if (next === null) return;
        if (next instanceof Error) throw next;
        yield next;
      }
    } finally {
      this.#isOpen = false;
    }
  }

  #push(item: Uint8Array | Error | null): void {
    this.#waiting.push(item);
    this.#wake?.();
  }
}
