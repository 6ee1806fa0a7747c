import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import type { Clock } from "../../lib/seams.ts";
import type { Millis } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { SettingsOf } from "../config/components.ts";
import type { CallLimits, Coord } from "../coord/coord.ts";
import type { Health, HealthBoard } from "../health/health.ts";
import type { Managed } from "./kit-config.ts";

type Settings = SettingsOf<"coord">;

/** coord in the life of a process: bounds that follow the settings, health that is asked for as often as they say. */
export interface LiveCoord {
  reload(next: Settings): Reloaded;
  check(signal: AbortSignal): Promise<Health>;
}

const LIVE: ReadonlySet<string> = new Set([
  "timeout",
  "retry",
  "healthCheckInterval",
] satisfies readonly (keyof Settings)[]);

export const limitsOf = ({ timeout, retry }: Settings): CallLimits => ({
  timeout,
  retry: {
    maxRetries: retry.maxRetries,
    initial: retry.initialInterval,
    factor: retry.multiplier,
    max: retry.maxInterval,
  },
});

/** `inForce`: what the process was started with. */
export function liveCoord(coord: Pick<Coord, "check" | "limit">, inForce: Settings, clock: Clock): LiveCoord {
  let present = inForce;
  let restart: readonly string[] = [];
  let last: { readonly at: Millis; readonly health: Health } | null = null;
  return {
    reload: (next) => {
      const said = reloaded(present, next, (field) => LIVE.has(field));
      const { timeout, retry, healthCheckInterval } = next;
      present = { ...present, timeout, retry, healthCheckInterval };
      restart = said.needsRestart;
      coord.limit(limitsOf(present));
      return said;
    },
    check: async (signal) => {
      const now = clock.monotonic();
      // What was bad is asked again at once: nobody waits to hear that it is well again.
      if (last === null || last.health.status !== "healthy" || now - last.at >= present.healthCheckInterval)
        last = { at: now, health: await coord.check(signal) };
      const { health } = last;
      if (restart.length === 0) return health;
      return { ...health, details: { ...health.details, restartNeeded: restart.join(", ") } };
    },
  };
}

export interface Followed {
  readonly coord: Coord;
  /** What the way to etcd was opened with: files only, for the centre lies behind it. */
  readonly opened: Settings;
  readonly manager: Managed<"coord">;
  readonly clock: Clock;
  readonly log: Log;
  readonly health: HealthBoard;
}

/** From here on the centre's own settings of coord count as well. */
export function followCoord({ coord, opened, manager, clock, log, health }: Followed): void {
  const live = liveCoord(coord, startedWith(opened, manager.current()), clock);
  const take = (next: Settings): void => {
    const { needsRestart } = live.reload(next);
    if (needsRestart.length > 0)
      log.warn({ fields: needsRestart }, "coord goes on as it was started; what leads to etcd is read from files");
  };
  take(manager.current());
  manager.subscribe({ name: "coord", commit: take });
  health.add({ component: "coord", critical: false, check: (signal) => live.check(signal) });
}

/** What is registered is read from all layers; what leads to etcd, before there is a centre. */
function startedWith(opened: Settings, current: Settings): Settings {
  const { serviceName: _name, servicePort: _port, ...others } = opened;
  const { serviceName, servicePort, serviceVersion, ttl } = current;
  return {
    ...others,
    serviceVersion,
    ttl,
    ...(serviceName === undefined ? {} : { serviceName }),
    ...(servicePort === undefined ? {} : { servicePort }),
  };
}
