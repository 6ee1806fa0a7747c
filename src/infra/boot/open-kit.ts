import { openLog } from "../clog/log.ts";
import { openClog } from "../clog/open-clog.ts";
import type { SettingsOf } from "../config/components.ts";
import { openConfig } from "../config/open-config.ts";
import type { Coord } from "../coord/coord.ts";
import { openHealth } from "../health/health.ts";
import { openHealthServer } from "../health/health-server.ts";
import { openMetrics } from "../metrics/metrics.ts";
import { type Boot, bootAll, type Started } from "./boot-all.ts";
import {
  type About,
  type Kit,
  type KitOptions,
  type KitSeams,
  type KitServer,
  PHASE_1,
  PHASE_2,
  type Second,
} from "./kit.ts";
import { closeKitConfig, environmentOf, openKitConfig } from "./kit-config.ts";
import { coordOf } from "./kit-coord.ts";
import { openNetwork } from "./kit-network.ts";
import { idsOnly, openCollector } from "./kit-telemetry.ts";
import { instanceOf, keepRegistered } from "./kit-registration.ts";
import { openStores } from "./kit-stores.ts";
import { followCoord } from "./live-coord.ts";
import { relayLog } from "./relay-log.ts";

/** Starts a process in two phases (R131) and gives what it is built from; or says why not, with everything closed again. */
export function openKit(options: KitOptions, seams: KitSeams): Promise<Started<Kit>> {
  const { clock, stdout } = seams;
  const { service, version } = options;
  const bootstrap = openLog({ level: "info", destination: stdout, clock, initialFields: { service, version } });
  const relay = relayLog(bootstrap);
  const metrics = openMetrics();
  const health = openHealth({ clock, metrics, log: relay.log.module("health") });
  const about = { options, seams, relay, metrics, health, tracing: idsOnly(seams.rng) };
  const compose = async (boot: Boot): Promise<Kit> => {
    await boot.required({
      ...PHASE_1,
      name: "log",
      todo: "see stdout",
      open: () => bootstrap,
      close: (log) => log.close(),
    });
    const first = await openFirst(boot, about);
    const second = await openSecond(boot, about, first);
    await openCollector(boot, about, second);
    const kit = await openStores(boot, about, second);
    await openRegistration(boot, about, { kit, port: await openServers(boot, options.servers(kit)) });
    return kit;
  };
  return bootAll(compose, { clock, log: relay.log.module("boot"), health, signal: seams.signal });
}

type First = Pick<Kit, "env" | "network"> & { readonly coord: OpenedCoord | null };
/** With what it was opened with: the settings of the files. */
interface OpenedCoord {
  readonly opened: SettingsOf<"coord">;
  readonly coord: Coord;
}

/** The environment, the ways out, and coord as the files say it. That etcd does not answer is no reason not to start. */
async function openFirst(boot: Boot, { options, seams, relay, metrics, tracing }: About): Promise<First> {
  const { clock, rng, env: variables } = seams;
  const { log } = relay;
  return boot.required({
    ...PHASE_1,
    name: "coord",
    todo: "correct APP_ENV, COORD_ENDPOINTS or the file coord.json",
    open: async () => {
      const env = environmentOf(variables["APP_ENV"]);
      const { resolve } = seams;
      const network = openNetwork({
        resolve,
        clock,
        env: variables,
        secretRoots: options.secretRoots ?? [],
        metrics,
        log,
      });
      const named = variables["COORD_ENDPOINTS"] ?? "";
      if (named === "none") return { env, network, coord: null };
      const files = { env, service: options.service, files: options.files, snapshots: null };
      await using settings = await openConfig(null, { ...files, clock, rng, log, metrics, component: "coord" });
      const coord = coordOf(settings.current(), named, { network, clock, rng, log, metrics, tracer: tracing.tracer });
      return { env, network, coord: { opened: settings.current(), coord } };
    },
    close: ({ coord }) => coord?.coord.close(),
  });
}

/** The full configuration, then the log and the numbers as it says. */
async function openSecond(
  boot: Boot,
  { options, seams, relay, metrics, health, tracing }: About,
  first: First,
): Promise<Second> {
  const { clock, rng, stdout, stderr } = seams;
  const { service, version, files, snapshots } = options;
  const { log } = relay;
  const { env, network } = first;
  const coord = first.coord?.coord ?? null;
  const config = await boot.required({
    ...PHASE_2,
    name: "config",
    todo: "correct what is named and start again; config-cli validate shows all of it",
    open: () =>
      openKitConfig(coord?.centre ?? null, { env, service, files, snapshots, clock, rng, log, metrics }, health),
    close: closeKitConfig,
  });
  if (first.coord !== null)
    followCoord({ ...first.coord, manager: config.coord, clock, log: log.module("coord"), health });
  await boot.required({
    ...PHASE_2,
    name: "clog",
    todo: "see filename and its folder's rights",
    open: async () => {
      const clog = await openClog(config.clog.current(), { service, environment: env, version, clock, stdout, stderr });
      const before = relay.present();
      config.clog.subscribe({ name: "clog", commit: (next) => void clog.reload(next) });
      let counted = 0;
      metrics.onScrape(() => {
        const dropped = clog.dropped();
        metrics.count("turnout_log_dropped_total", {}, dropped - counted);
        counted = dropped;
      });
      health.add({ component: "clog", critical: false, check: async () => clog.check() });
      relay.to(clog);
      return { clog, before };
    },
    close: async ({ clog, before }) => {
      relay.to(before);
      await clog.close();
    },
  });
  const server = await boot.required({
    ...PHASE_2,
    name: "metrics",
    todo: "see listenAddr: is another process there already?",
    open: () => {
      const { listenAddr, exporterEndpoint, enableMetrics } = config.metrics.current();
      const metricsAt = enableMetrics ? exporterEndpoint : null;
      return openHealthServer({ listen: listenOf(listenAddr), health, metrics, log: log.module("metrics"), metricsAt });
    },
    close: (it) => it.close(),
  });
  return { env, network, coord, config, log, metrics, tracer: tracing.tracer, health, shownAt: server.address };
}

/** Gives the port of the first that says one. */
async function openServers(boot: Boot, servers: readonly KitServer[]): Promise<number | null> {
  let port: number | null = null;
  for (const server of servers) {
    const todo = "see its address and its log";
    const opened = await boot.required({
      ...PHASE_2,
      name: server.name,
      todo,
      open: (signal) => server.open(signal),
      close: (it) => it.close(),
    });
    port ??= opened.port ?? null;
  }
  return port;
}

/** Opened last, so that nobody is sent here too early, and closed first. etcd that does not answer is no reason not to start. */
async function openRegistration(
  boot: Boot,
  { options, seams, health }: About,
  { kit, port }: { readonly kit: Kit; readonly port: number | null },
): Promise<void> {
  const { registered } = options;
  const { coord } = kit;
  if (registered === undefined || coord === null) return;
  await boot.required({
    ...PHASE_2,
    name: "registration",
    todo: "set coord.servicePort, or let a server say its port",
    open: async () => {
      const settings = kit.config.coord.current();
      const instance = instanceOf(settings, { ...options, registered, environment: kit.env, port });
      const kept = keepRegistered(instance, settings.ttl, { ...seams, coord, log: kit.log.module("coord") });
      health.add({ component: "registration", critical: false, check: async () => kept.check() });
      await kept.shown();
      return kept;
    },
    close: (kept) => kept.close(),
  });
}

function listenOf(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(address.slice(at + 1)) };
}
