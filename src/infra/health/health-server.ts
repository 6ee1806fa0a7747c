import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { InfraError } from "../../lib/infra-error.ts";
import type { Log } from "../clog/log.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { HealthBoard } from "./health.ts";

export interface HealthServer {
  /** Where it listens; the port is the real one where 0 was asked for. */
  readonly address: { readonly host: string; readonly port: number };
  close(): Promise<void>;
}

export interface HealthServerDeps {
  readonly listen: { readonly host: string; readonly port: number };
  readonly health: HealthBoard;
  readonly metrics: Metrics;
  readonly log?: Log;
  /** Path that shows the numbers, on whichever address it listens; null: they are not shown. Left out: /metrics, on loopback only. */
  readonly metricsAt?: string | null;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}
type Page = () => Promise<Answer>;

/** SEC-51: what a slow or greedy client may cost. */
const LIMITS = { connections: 64, headers: 8 * 1024, requestMs: 5000, idleMs: 5000, checkMs: 1000 } as const;

/**
 * Probes for everybody, without content; numbers and details on loopback only. A listener beyond loopback therefore answers
 * /livez, /readyz and /startupz and knows nothing else.
 *
 * @throws InfraError where it cannot listen, saying whether another process or the address is in the way
 */
export async function openHealthServer(deps: HealthServerDeps): Promise<HealthServer> {
  const { listen, health, metrics, log, metricsAt } = deps;
  const inside = isLoopbackHost(listen.host);
  const shown = metricsAt === undefined && inside ? "/metrics" : metricsAt;
  const pages: Readonly<Record<string, Page>> = {
    ...(shown === null || shown === undefined ? {} : { [shown]: metricsPage(metrics) }),
    ...(inside ? { "/health": healthPage(health) } : {}),
    ...pagesOf(health),
  };
  const server = createServer(
    {
      maxHeaderSize: LIMITS.headers,
      headersTimeout: LIMITS.requestMs,
      requestTimeout: LIMITS.requestMs,
      keepAliveTimeout: LIMITS.idleMs,
      connectionsCheckingInterval: LIMITS.checkMs,
    },
    (request, response) => {
      answer(request, pages).then(
        (page) => send(response, page, request.method === "HEAD"),
        (error: unknown) => {
          log?.error({ error }, "a probe could not be answered");
          send(response, plain(500, "error"), false);
        },
      );
    },
  );
  server.maxConnections = LIMITS.connections;
  server.setTimeout(LIMITS.requestMs * 2);
  await listening(server, listen);
  const { port } = server.address() as AddressInfo;
  return { address: { host: listen.host, port }, close: () => closed(server) };
}

function pagesOf(health: HealthBoard): Readonly<Record<string, Page>> {
  const yes = (said: boolean): Answer => (said ? plain(200, "ok") : plain(503, "not ok"));
  return {
    "/livez": async () => yes(true),
    "/readyz": async () => yes(health.started && (await health.report()).status !== "unhealthy"),
    "/startupz": async () => yes(health.started),
  };
}

const healthPage =
  (health: HealthBoard): Page =>
  async () => {
    const report = await health.report();
    return {
      status: report.status === "unhealthy" ? 503 : 200,
      type: "application/json",
      body: JSON.stringify(report),
    };
  };

const metricsPage =
  (metrics: Metrics): Page =>
  async () => ({ status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: await metrics.text() });

async function answer(request: IncomingMessage, pages: Readonly<Record<string, Page>>): Promise<Answer> {
  if (request.method !== "GET" && request.method !== "HEAD") return plain(405, "method not allowed");
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  return page === undefined ? plain(404, "not found") : page();
}

function send(response: ServerResponse, { status, type, body }: Answer, headOnly: boolean): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(headOnly ? undefined : body);
}

const plain = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

const isLoopbackHost = (host: string): boolean => host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);

function listening(server: Server, { host, port }: HealthServerDeps["listen"]): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (error: NodeJS.ErrnoException): void => {
      const taken = error.code === "EADDRINUSE";
      const why = taken
        ? "another process has it; stop that one or change listen"
        : `${error.code ?? error.message}; change listen to an address of this machine and a port that is free to us`;
      const message = `cannot listen on ${host}:${port}: ${why}`;
      const type = taken ? "UNAVAILABLE" : "CONFIG";
      reject(
        new InfraError(
          { component: "health", type, code: "CannotListen", message, retryable: taken },
          { cause: error },
        ),
      );
    };
    server.once("error", refused);
    server.listen({ host, port, exclusive: true }, () => {
      server.removeListener("error", refused);
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
