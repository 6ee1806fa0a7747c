import { withDeadline } from "../../lib/deadline.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { type Millis, seconds } from "../../lib/time.ts";
import type { Log } from "../clog/log.ts";
import type { Centre } from "../coord/coord.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { CentreLayer, Chosen } from "./choose.ts";
import { type ComponentName, componentOf, hasComponent, type SettingsOf } from "./components.ts";
import { type ConfigKey, formatKey } from "./config-key.ts";
import { type ConfigManager, Manager } from "./config-manager.ts";
import { followKey } from "./follow-key.ts";
import { Hearing } from "./hearing.ts";
import type { LayerName, Layers } from "./layers.ts";
import { type Environment, GLOBAL, type Service } from "./services.ts";
import { type ReadSnapshot, readSnapshot, snapshotFile, writeSnapshot } from "./snapshot.ts";
import { formatFileProblem, readKeyFile } from "./tree.ts";

export interface ConfigOptions<C extends ComponentName> {
  readonly env: Environment;
  readonly service: Service;
  readonly component: C;
  /** Root of the tree of files; null where there is none. */
  readonly files: string | null;
  /** Folder in which the last good values of the centre are kept; null where they are not. */
  readonly snapshots: string | null;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Told when something goes wrong, and with null when all is well again. */
  readonly onDegraded?: (cause: string | null) => void;
  /** How long a start waits for the centre before it goes on without; 2 s unless said otherwise. */
  readonly patience?: Millis;
}

const PATIENCE = seconds(2);

/**
 * The configuration of one component, followed for as long as it is open. Centre down: goes on with what the centre last said, else
 * with files, else with defaults, says so, and switches over when the centre is heard. Null instead of a centre: files and defaults only.
 * Several are best opened at once, so that they share one wait. @throws InfraError CONFIG where no layer has a good value.
 */
export async function openConfig<C extends ComponentName>(
  centre: Centre | null,
  options: ConfigOptions<C>,
): Promise<ConfigManager<SettingsOf<C>>> {
  const { env, service, component, clock, rng, log, metrics, onDegraded = () => undefined } = options;
  if (!hasComponent(service, component)) throw new Error(`${service} has no component ${component}`);
  const key = { env, layer: service, component };
  const files = await readFiles(options.files, key);
  const kept = await keptBefore(options.snapshots, key);
  const keys = centre === null ? new Map<CentreLayer, string>() : keysOf(key);
  const hearing = new Hearing([...keys.keys()], metrics);
  const stop = new AbortController();
  const following = [...keys].map(([layer, at]) =>
    centre === null
      ? Promise.resolve()
      : followKey({ centre, key: at, clock, rng, signal: stop.signal, hear: (heard) => hearing.take(layer, heard) }),
  );
  const close = async (): Promise<void> => {
    stop.abort(new Error("closed"));
    await Promise.all(following);
  };
  try {
    await withDeadline({ clock, timeout: options.patience ?? PATIENCE, signal: stop.signal }, (late) =>
      hearing.whole(late),
    );
    const deps = {
      clock,
      log: log.module("config"),
      metrics,
      onDegraded,
      readFiles: () => readFiles(options.files, key),
      keep: (chosen: Chosen) => keepNow(options.snapshots, key, chosen),
      close,
    };
    const known = { files, centre: hearing.known(), snapshot: kept.snapshot };
    const manager = new Manager(key, known, { deps, snapshotProblem: kept.problem });
    await hearing.passTo(manager);
    return manager;
  } catch (error) {
    await close();
    throw error;
  }
}

/** Where the centre holds the component's layers; what only one service has, has no global layer. */
function keysOf(key: ConfigKey): Map<CentreLayer, string> {
  const { shared } = componentOf(key.component);
  return new Map<CentreLayer, string>([
    ...(shared ? ([["centre global", formatKey({ ...key, layer: GLOBAL })]] as const) : []),
    ["centre service", formatKey(key)],
  ]);
}

/** @throws InfraError CONFIG, naming file, line and column. */
async function readFiles(root: string | null, key: ConfigKey): Promise<Layers> {
  if (root === null) return {};
  const layers: Partial<Record<LayerName, Json>> = {};
  for (const layer of ["global", "service"] as const) {
    const read = await readKeyFile(root, layer === "global" ? { ...key, layer: GLOBAL } : key);
    if (read === null) continue;
    if (!("document" in read)) throw badFile(formatFileProblem(read));
    layers[`file ${layer}`] = read.document.value;
  }
  return layers;
}

const badFile = (problem: string): InfraError =>
  new InfraError({ component: "config", type: "CONFIG", code: "BadFile", message: problem, retryable: false });

const keptBefore = (folder: string | null, key: ConfigKey): Promise<ReadSnapshot> =>
  folder === null ? Promise.resolve({ snapshot: null, problem: null }) : readSnapshot(snapshotFile(folder, key), key);

async function keepNow(folder: string | null, key: ConfigKey, { centre, revision }: Chosen): Promise<void> {
  if (folder !== null)
    await writeSnapshot(snapshotFile(folder, key), { key: formatKey(key), revision, layers: centre });
}
