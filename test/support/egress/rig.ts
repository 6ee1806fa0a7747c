import { openRedis, type RedisConnection } from "../../../src/infra/cache/redis.ts";
import { openLog } from "../../../src/infra/clog/log.ts";
import type { EndpointSettings, HttpEndpoint, RedisEndpoint } from "../../../src/infra/config/endpoint-settings.ts";
import { type Connected, type Guard, openGuard } from "../../../src/infra/egress/connect.ts";
import { type Endpoints, openEndpoints } from "../../../src/infra/egress/endpoints.ts";
import { type HttpCall, type HttpPort, openHttp } from "../../../src/infra/egress/http.ts";
import type { CeilingSettings, Listener } from "../../../src/infra/egress/policy.ts";
import { EGRESS_RULES } from "../../../src/infra/egress/policy.ts";
import { openSecrets } from "../../../src/infra/egress/secrets.ts";
import { type Metrics, openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { type Boundary, type Clock, plainBoundary, type Resolve } from "../../../src/lib/seams.ts";
import { seconds } from "../../../src/lib/time.ts";
import { wallClock } from "../wall-clock.ts";

/** Every block that an endpoint of these tests may open. */
const CEILING = [
  "0.0.0.0/0",
  "::/0",
  "127.0.0.0/8",
  "::1/128",
  "10.0.0.0/8",
  "203.0.113.0/24",
  "64:ff9b::/96",
  "fc00::/7",
];

export function httpEndpoint(about: Partial<HttpEndpoint> = {}): HttpEndpoint {
  return {
    name: "gateway",
    protocol: "http",
    addresses: [],
    tls: "None",
    fencing: "Token",
    allowedNamespaces: ["prod"],
    cidrs: ["127.0.0.1/32"],
    ports: [80],
    ...about,
  };
}

export function redisEndpoint(about: Partial<RedisEndpoint> = {}): RedisEndpoint {
  return {
    name: "routing",
    protocol: "redis",
    addresses: [],
    tls: "None",
    allowedNamespaces: ["prod"],
    cidrs: ["127.0.0.1/32"],
    ports: [6379],
    ...about,
  };
}

export interface RigOptions {
  readonly endpoints: readonly EndpointSettings[];
  readonly ceiling?: CeilingSettings;
  /** Answers per name; a name that is not listed does not resolve. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly resolve?: Resolve;
  readonly reserved?: readonly Listener[];
  readonly sockets?: number;
  readonly perNamespace?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly secretRoots?: readonly string[];
  readonly clock?: Clock;
  readonly boundary?: Boundary;
}

export interface Rig extends AsyncDisposable {
  readonly guard: Guard;
  readonly endpoints: Endpoints;
  readonly http: HttpPort;
  readonly metrics: Metrics;
  /** Every socket that the guard opened. */
  readonly connected: readonly Connected[];
  /** Every log line. */
  readonly lines: readonly string[];
  redis(name?: string): RedisConnection;
}

/** The real guard, HTTP port and Redis connections, over names that the test decides. */
export function openRig(options: RigOptions): Rig {
  const { clock = wallClock, names = {}, sockets = 4 } = options;
  const lines: string[] = [];
  const connected: Connected[] = [];
  const log = openLog({ level: "debug", clock, destination: { write: (line) => void lines.push(line) } });
  const metrics = openMetrics({ values: { rule: EGRESS_RULES } });
  const guard = openGuard({
    resolve: options.resolve ?? ((name) => Promise.resolve(names[name] ?? [])),
    clock,
    sockets: { perAddress: sockets, perNamespace: options.perNamespace ?? 64 },
    reserved: () => options.reserved ?? [],
    metrics,
    log,
    onConnected: (to) => void connected.push(to),
  });
  const secrets = openSecrets({ env: options.env ?? {}, roots: options.secretRoots ?? [], clock });
  const ceiling = options.ceiling ?? { cidrs: CEILING, ports: options.endpoints.flatMap(({ ports }) => ports) };
  const endpoints = openEndpoints({ endpoints: options.endpoints, ceiling, secrets, guard });
  const boundary = options.boundary ?? plainBoundary;
  const http = openHttp({ endpoints, guard, clock, boundary, sockets, metrics, log });
  const opened: RedisConnection[] = [];
  return {
    guard,
    endpoints,
    http,
    metrics,
    connected,
    lines,
    redis: (name = "routing") => {
      const found = endpoints.find(name, "prod", "redis");
      if (!found.ok) throw new Error(found.fault.message);
      const connection = openRedis({
        name: found.value.settings.name,
        endpoint: () => found.value,
        guard,
        clock,
        boundary,
        metrics,
        log,
      });
      opened.push(connection);
      return connection;
    },
    [Symbol.asyncDispose]: async () => {
      await http.close();
      await Promise.all(opened.map((connection) => connection.close()));
    },
  };
}

/** A call that a healthy policy lets through. */
export function aCall(about: Partial<HttpCall> & { readonly address: string }): HttpCall {
  return {
    endpoint: "gateway",
    namespace: "prod",
    method: "GET",
    path: "/state",
    headers: {},
    timeout: seconds(3),
    point: null,
    ...about,
  };
}

export const never = new AbortController().signal;
