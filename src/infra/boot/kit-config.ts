import type { Clock, Rng } from "../../lib/seams.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Log } from "../clog/log.ts";
import { type ComponentName, hasComponent, type SettingsOf } from "../config/components.ts";
import type { ConfigManager } from "../config/config-manager.ts";
import { openConfig } from "../config/open-config.ts";
import { type Environment, ENVIRONMENTS, isEnvironment, type Service } from "../config/services.ts";
import type { Centre } from "../coord/coord.ts";
import type { HealthBoard } from "../health/health.ts";
import type { Metrics } from "../metrics/metrics.ts";

/** Everything that the process reads, each followed live; null where the service has no such component. */
export interface KitConfig {
  readonly coord: Managed<"coord">;
  readonly clog: Managed<"clog">;
  readonly metrics: Managed<"metrics">;
  readonly cache: Managed<"cache"> | null;
  readonly db: Managed<"db"> | null;
  readonly mq: Managed<"mq"> | null;
}
export type Managed<C extends ComponentName> = ConfigManager<SettingsOf<C>>;

export interface ConfigAbout {
  readonly env: Environment;
  readonly service: Service;
  readonly files: string | null;
  readonly snapshots: string | null;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** `dev` where none is named. @throws InfraError CONFIG */
export function environmentOf(named: string | undefined): Environment {
  const text = named === undefined || named === "" ? "dev" : named;
  if (isEnvironment(text)) return text;
  const message = `APP_ENV: ${JSON.stringify(text.slice(0, 40))} is no environment (allowed: ${ENVIRONMENTS.join(", ")})`;
  throw new InfraError({ component: "boot", type: "CONFIG", code: "BadEnvironment", message, retryable: false });
}

/** All at once, so that they share one wait for the centre. */
export async function openKitConfig(
  centre: Centre | null,
  about: ConfigAbout,
  health: HealthBoard,
): Promise<KitConfig> {
  const opened: { close(): Promise<void> }[] = [];
  const open = async <C extends ComponentName>(component: C): Promise<Managed<C>> => {
    const manager = await openConfig(centre, { ...about, component });
    opened.push(manager);
    health.add({ component: `config ${component}`, critical: false, check: async () => manager.check() });
    return manager;
  };
  const where = <C extends ComponentName>(component: C): Promise<Managed<C>> | null =>
    hasComponent(about.service, component) ? open(component) : null;
  const [coord, clog, metrics, cache, db, mq] = await Promise.allSettled([
    open("coord"),
    open("clog"),
    open("metrics"),
    where("cache"),
    where("db"),
    where("mq"),
  ]);
  const refused = [coord, clog, metrics, cache, db, mq].find((one) => one.status === "rejected");
  if (refused !== undefined) {
    await Promise.all(opened.map((manager) => manager.close()));
    throw refused.reason;
  }
  return {
    coord: valueOf(coord),
    clog: valueOf(clog),
    metrics: valueOf(metrics),
    cache: valueOf(cache),
    db: valueOf(db),
    mq: valueOf(mq),
  };
}

export async function closeKitConfig({ coord, clog, metrics, cache, db, mq }: KitConfig): Promise<void> {
  for (const manager of [mq, db, cache, metrics, clog, coord]) await manager?.close();
}

function valueOf<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === "rejected") throw settled.reason;
  return settled.value;
}
