import { backoffAfter } from "../../lib/backoff.ts";
import { untilAborted, withDeadline } from "../../lib/deadline.ts";
import { infraErrorOf, InfraError } from "../../lib/infra-error.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { millisOf, type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { SettingsOf } from "../config/components.ts";
import type { Coord, Instance, Registration } from "../coord/coord.ts";
import type { Health } from "../health/health.ts";

/** As what others find the process. */
export interface Registered {
  /** Name or IP by which others reach it, such as the pod's; the port is `coord.servicePort`, else the first server's own. */
  readonly host: string;
  /** Beside `version` and `environment`. */
  readonly labels?: Readonly<Record<string, string>>;
}

export interface InstanceAbout {
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  readonly environment: string;
  readonly registered: Registered;
  /** Of the first server that says where it listens; null where none does. */
  readonly port: number | null;
}

/** @throws InfraError CONFIG where nobody says which port */
export function instanceOf(settings: SettingsOf<"coord">, about: InstanceAbout): Instance {
  const { registered, version, environment } = about;
  const port = settings.servicePort ?? about.port;
  if (port === null) {
    const message = "coord.servicePort is missing although no server of the process says where it listens; set it";
    throw new InfraError({ component: "boot", type: "CONFIG", code: "NoPort", message, retryable: false });
  }
  const host = registered.host.includes(":") ? `[${registered.host}]` : registered.host;
  return {
    service: settings.serviceName ?? about.service,
    id: about.instance,
    address: `${host}:${port}`,
    labels: { ...registered.labels, version: settings.serviceVersion ?? version, environment },
  };
}

export interface KeptRegistration {
  check(): Health;
  /** Resolves when it is shown, or after a moment: whoever starts does not wait for etcd. */
  shown(): Promise<void>;
  /** Deregisters; bounded, for what etcd cannot be told ends with the lease. */
  close(): Promise<void>;
}

export interface RegistrationDeps {
  readonly coord: Coord;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

const RETRY = { initial: millisOf(200), factor: 2, max: seconds(5) };
const PATIENCE = seconds(1);
const CLOSES_WITHIN = seconds(3);

/** Shows the instance as soon as etcd takes it, and for as long as it is open. */
export function keepRegistered(instance: Instance, ttl: Millis, deps: RegistrationDeps): KeptRegistration {
  const { coord, clock, rng, log } = deps;
  const closed = new AbortController();
  let standing: Registration | null = null;
  let cause = "etcd gave no answer yet";
  const register = async (): Promise<void> => {
    for (let failures = 1; !closed.signal.aborted; failures += 1) {
      try {
        standing = await coord.register(instance, ttl, closed.signal);
        log.info({ service: instance.service, id: instance.id, address: instance.address }, "registered");
        return;
      } catch (error) {
        if (closed.signal.aborted) return;
        cause = infraErrorOf("coord", error).message;
        log.warn({ service: instance.service, id: instance.id, failures, error }, "cannot register; tries again");
        await clock.sleep(backoffAfter(failures, RETRY, rng.float()), closed.signal).catch(() => undefined);
      }
    }
  };
  const registering = register();
  const bounded = (work: Promise<unknown>, timeout: Millis): Promise<void> =>
    withDeadline({ clock, timeout, signal: NEVER }, (late) => untilAborted(work, late)).then(
      () => undefined,
      () => undefined,
    );
  return {
    check: () =>
      standing?.standing === true
        ? { status: "healthy", message: `registered as ${instance.service}/${instance.id} at ${instance.address}` }
        : { status: "degraded", message: `not registered: ${standing === null ? cause : "the lease was lost"}` },
    shown: () => bounded(registering, PATIENCE),
    close: async () => {
      closed.abort(new Error("closed"));
      await bounded(
        registering.then(() => standing?.close()),
        CLOSES_WITHIN,
      );
    },
  };
}

const NEVER = new AbortController().signal;
