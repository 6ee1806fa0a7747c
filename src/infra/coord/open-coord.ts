import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { InfraError } from "../../lib/infra-error.ts";
import { type Millis, millisOf, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Health } from "../health/health.ts";
import type { Coord } from "./coord.ts";
import { openCentre } from "./etcd-centre.ts";
import { Gateway, type GatewayDeps } from "./etcd-gateway.ts";
import { acquireLock, takeInstanceId, tryLock } from "./etcd-lock.ts";
import { discoverService, registerInstance } from "./etcd-registry.ts";

export interface CoordDeps extends GatewayDeps {
  readonly log?: Log;
  /** How long a watch may say nothing before it is asked for anew; 5 s. */
  readonly silence?: Millis;
}

/** Opens nothing yet: the first call connects, and each later one again where it must. Whether etcd is there says `check`. */
export function openCoord(deps: CoordDeps): Coord {
  const gateway = new Gateway(deps);
  const { clock, rng, silence } = deps;
  const watching = { clock, rng, ...(silence === undefined ? {} : { silence }) };
  const centre = openCentre(gateway, watching);
  const open = new Set<AsyncDisposable>();
  const parts = {
    gateway,
    open,
    ...watching,
    list: (range: string, signal?: AbortSignal) => centre.list(range, signal),
    centre,
    ...(deps.log === undefined ? {} : { log: deps.log }),
  };
  const close = async (): Promise<void> => {
    const ending = endAll(open);
    // What etcd cannot be told in time ends there with its lease.
    const told = (late: AbortSignal): Promise<void> => untilAborted(ending, late);
    await withDeadline({ clock, timeout: CLOSES_WITHIN, signal: NEVER }, told).catch(() => undefined);
    await gateway.close();
    await ending;
  };
  return {
    centre,
    register: (instance, ttl, signal) => registerInstance(instance, { ttl, signal }, parts),
    discover: (service, signal) => discoverService(service, parts, signal),
    acquire: (name, ttl, signal) => acquireLock({ name, ttl, signal }, parts),
    tryAcquire: (name, ttl, signal) => tryLock({ name, ttl, signal }, parts),
    instanceId: (group, ttl, signal) => takeInstanceId(group, { ttl, signal }, parts),
    check: (signal) => check(gateway, deps, signal),
    limit: (limits) => gateway.limit(limits),
    close,
    [Symbol.asyncDispose]: close,
  };
}

const CLOSES_WITHIN = seconds(3);
const NEVER = new AbortController().signal;

/** What is ours in etcd goes at once, not only when its lease ends. A registration first, or it would take a new lease. */
async function endAll(open: ReadonlySet<AsyncDisposable>): Promise<void> {
  for (const one of [...open].toReversed()) await one[Symbol.asyncDispose]();
}

/** A read that a majority answers: an etcd without a leader is not healthy. */
async function check(gateway: Gateway, { clock, endpoints }: CoordDeps, signal: AbortSignal): Promise<Health> {
  const since = clock.monotonic();
  try {
    await gateway.call("/v3/kv/range", { key: HEALTH_KEY, keys_only: true }, { repeatable: true, signal, hasty: true });
    const took = millisOf(clock.monotonic() - since);
    return {
      status: "healthy",
      message: "etcd answers",
      details: { endpoints: endpoints.length, millis: Math.round(took) },
    };
  } catch (error) {
    // A user who may not read that key was answered all the same.
    if (error instanceof InfraError && error.code === "PermissionDenied")
      return { status: "healthy", message: "etcd answers" };
    return { status: "unhealthy", message: error instanceof InfraError ? error.message : "gave no answer in time" };
  }
}
const HEALTH_KEY = Buffer.from("/health").toString("base64");
