import type { Instant, Millis } from "./time.ts";

/** Wall and monotonic time. Only `kube/clock.ts` and test clocks implement it. */
export interface Clock {
  /** Local wall clock. Never used to decide anything about a switch (protocol.md): for logs and certificates only. */
  now(): Instant;
  /** Milliseconds since some fixed moment; never goes back while the process lives. */
  monotonic(): Millis;
  /** Resolves after `after`, or rejects with the signal's reason as soon as it is aborted. */
  sleep(after: Millis, signal?: AbortSignal): Promise<void>;
}

export interface Rng {
  /** Uniform in [0, 1). */
  float(): number;
  /** A fresh identifier with at least 128 random bits, `[a-z0-9]{26}`. */
  id(): string;
}

/** What a mutating request is, for crash points and traces: `class#n` counts within class and task. */
export interface Point {
  readonly class: PointClass;
  /** `namespace/name` of the task or tenant concerned; null where there is none (lease). */
  readonly subject: string | null;
}
export type PointClass =
  | `api/${"status" | "tenant" | "finalizer" | "delete" | "child" | "unit" | "event" | "lease" | "create"}`
  | `effect/${string}`;

/** Wrapped round every mutating request. In the product a plain call; the sweep's operator kills itself here. */
export interface Boundary {
  around<T>(point: Point, send: () => Promise<T>): Promise<T>;
}

export const plainBoundary: Boundary = { around: (_point, send) => send() };

export type KubeLane = "bulk" | "user" | "lease" | "event";

export interface KubeRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Absolute path whose segments are already checked and encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly timeout: Millis;
  readonly signal?: AbortSignal;
  /** Which connections carry it: `user` and `lease` never queue behind `bulk`. */
  readonly lane?: KubeLane;
  /** What the answer may be: one object (default, at most 3 MiB) or a list page, which may be larger and is decoded in slices. */
  readonly answer?: "object" | "list";
  /** Demanded for everything but GET. */
  readonly point?: Point;
}

export interface KubeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Decoded JSON object, or null where the body was empty. */
  readonly body: unknown;
}

export interface KubeStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** The one way to the API server. The simulator and the fault suites implement it too. */
export interface KubeTransport {
  request(request: KubeRequest): Promise<KubeResponse>;
  stream(request: KubeRequest): Promise<KubeStream>;
  close(): Promise<void>;
}

/** DNS look-up seam of the egress guard: every address of the name, in the resolver's order. */
export type Resolve = (name: string, signal: AbortSignal) => Promise<readonly string[]>;
