import { type Address, parseAddress } from "./lib/address.ts";
import { openFencedStore, type RedisConnections } from "./infra/cache/fenced.ts";
import { openRedis, type RedisConnection, type RedisDeps } from "./infra/cache/redis.ts";
import type { OpenedLog } from "./infra/clog/log.ts";
import type { OperatorSettings, Settings } from "./infra/config/settings.ts";
import { openGuard, type SocketLimits } from "./infra/egress/connect.ts";
import { type Endpoints, openEndpoints } from "./infra/egress/endpoints.ts";
import { openHttp } from "./infra/egress/http.ts";
import { type PlanFacts, planFacts } from "./infra/egress/plan-facts.ts";
import type { Listener } from "./infra/egress/policy.ts";
import { openSecrets } from "./infra/egress/secrets.ts";
import type { Metrics } from "./infra/metrics/metrics.ts";
import type { Ports } from "./stages/stage.ts";
import type { Seams } from "./seams.ts";

/** The ways to receivers and stores: one guard, one policy per named endpoint. */
export interface Effects {
  /** What plans may know of each endpoint, by name. */
  facts(): Readonly<Record<string, PlanFacts>>;
  readonly ports: Ports;
  /** Other endpoints and limits are in force from the next call on; what is under way ends as it began. */
  apply(settings: Settings): void;
  close(): Promise<void>;
}

export interface EffectDeps {
  readonly log: OpenedLog;
  readonly metrics: Metrics;
  /** The operator's own listener, and `https://host:port` of the API server: never an endpoint's destination. */
  readonly own: { readonly host: string; readonly port: number };
  readonly apiServer: string;
}

export function openEffects(settings: Settings, seams: Seams, { log, metrics, own, apiServer }: EffectDeps): Effects {
  const { clock, boundary } = seams;
  const { limits, ceiling } = settings.operator;
  const reserved = reservedOf(apiServer, own);
  const guard = openGuard({
    resolve: seams.resolve,
    clock,
    sockets: socketsOf(limits),
    reserved: () => reserved,
    metrics,
    log: log.module("egress"),
    ...(seams.onConnected === undefined ? {} : { onConnected: seams.onConnected }),
  });
  const secrets = openSecrets({ env: seams.env, roots: ceiling.secretRoots, clock });
  const endpoints = openEndpoints({ endpoints: settings.endpoints, ceiling, secrets, guard });
  const sockets = limits.sockets;
  const http = openHttp({ endpoints, guard, clock, boundary, sockets, metrics, log: log.module("http") });
  const redis = openFencedStore(
    new Connections(endpoints, { guard, clock, boundary, metrics, log: log.module("redis") }),
  );
  let facts = factsOf(settings);
  return {
    facts: () => facts,
    ports: { http, redis },
    apply: (next) => {
      // The ceiling and the secret roots are files' alone: with them the process starts anew.
      endpoints.replace({ endpoints: next.endpoints, ceiling });
      guard.limit(socketsOf(next.operator.limits));
      http.limit(next.operator.limits.sockets);
      facts = factsOf(next);
    },
    close: async () => {
      await http.close();
      await redis.close();
    },
  };
}

const socketsOf = ({ sockets }: OperatorSettings["limits"]): SocketLimits => ({
  perAddress: sockets,
  perNamespace: sockets * 64,
});

const factsOf = ({ endpoints, operator }: Settings): Readonly<Record<string, PlanFacts>> =>
  Object.fromEntries(endpoints.map((endpoint) => [endpoint.name, planFacts(endpoint, operator.ceiling)]));

/** One connection per endpoint, opened when it is first asked for; it follows what the settings say of the endpoint. */
class Connections implements RedisConnections {
  readonly #open = new Map<string, RedisConnection>();
  readonly #endpoints: Endpoints;
  readonly #deps: Omit<RedisDeps, "name" | "endpoint">;

  constructor(endpoints: Endpoints, deps: Omit<RedisDeps, "name" | "endpoint">) {
    this.#endpoints = endpoints;
    this.#deps = deps;
  }

  get(name: string): RedisConnection | undefined {
    const known = this.#open.get(name);
    if (known !== undefined || this.#endpoints.open(name, "redis") === null) return known;
    const opened = openRedis({ ...this.#deps, name, endpoint: () => this.#endpoints.open(name, "redis") });
    this.#open.set(name, opened);
    return opened;
  }

  values(): Iterable<RedisConnection> {
    return this.#open.values();
  }
}

/** Never an endpoint's destination: the API server and our own listener. */
function reservedOf(origin: string, own: EffectDeps["own"]): readonly Listener[] {
  const url = new URL(origin);
  const api = parseAddress(`${url.hostname}:${url.port === "" ? "443" : url.port}`);
  const host = own.host.includes(":") ? `[${own.host}]` : own.host;
  return [api, parseAddress(`${host}:${own.port}`)].flatMap(listenerOf);
}

const listenerOf = (address: Address | null): readonly Listener[] =>
  address !== null && address.host.kind === "ip" ? [{ ip: address.host.ip, port: address.port }] : [];
