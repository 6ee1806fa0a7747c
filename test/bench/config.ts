import { openEnvironment } from "../../deployment/local/environment.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { noLog } from "../../src/infra/clog/log.ts";
import type { ConfigManager } from "../../src/infra/config/config-manager.ts";
import type { SettingsOf } from "../../src/infra/config/components.ts";
import { openConfig } from "../../src/infra/config/open-config.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { noMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { fanOut } from "../../src/stages/stage.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { type Figure, quantile } from "./figures.ts";

const KEY = "/config/dev/im-gateway/clog";
const ACKS = "/acks/";
const WRITES = 20;
const READS = 200_000;

/** P12: one write until every instance has applied it and said so; P13: what a read of the current value costs. */
export async function config(
  machine: Machine,
  { instances }: { readonly instances: number },
): Promise<readonly Figure[]> {
  await using environment = await openEnvironment({ with: ["etcd"], controlPlane: false, print: machine.print });
  const endpoints = addressesOf(environment.env["COORD_ENDPOINTS"] ?? "");
  await using opened = new AsyncDisposableStack();
  const writer = opened.use(coordAt({ endpoints, silence: seconds(5) }));
  const names = Array.from({ length: instances }, (_, i) => `${ACKS}${i}`);
  const managers = await fanOut(names, 16, (name) => openInstance(name, endpoints, opened));
  const took = await writeAndWait(writer, instances);
  const reads = readsOf(managers[0] as ConfigManager<SettingsOf<"clog">>);
  return [
    {
      id: "P12",
      what: `config write → applied and acknowledged by ${instances} instances in one process, p95`,
      goal: "≤ 250",
      values: [quantile(took, 0.95)],
      unit: "ms",
      holds: quantile(took, 0.95) <= 250,
    },
    {
      id: "P13",
      what: "ConfigManager.current(), p99",
      goal: "≤ 5",
      values: [quantile(reads, 0.99)],
      unit: "µs",
      holds: quantile(reads, 0.99) <= 5,
    },
  ];
}

/** A coord and a manager of its own, as a process has them; it writes what it applied under its name. */
async function openInstance(
  name: string,
  endpoints: readonly string[],
  opened: AsyncDisposableStack,
): Promise<ConfigManager<SettingsOf<"clog">>> {
  const coord = opened.use(coordAt({ endpoints, silence: seconds(5) }));
  const manager = opened.use(
    await openConfig(coord.centre, {
      env: "dev",
      service: "im-gateway",
      component: "clog",
      files: null,
      snapshots: null,
      clock: systemClock,
      rng: systemRng,
      log: noLog,
      metrics: noMetrics,
      patience: seconds(20),
    }),
  );
  manager.subscribe({
    name: "bench",
    commit: ({ initialFields }) => void coord.centre.put(name, initialFields.version ?? ""),
  });
  return manager;
}

/** Milliseconds of each write until the last acknowledgement of it was seen. */
async function writeAndWait(writer: Coord, instances: number): Promise<readonly number[]> {
  const stop = new AbortController();
  const seen = new Map<string, Set<string>>();
  let told = Promise.withResolvers<void>();
  const watching = (async (): Promise<void> => {
    for await (const { changes } of writer.centre.watch(ACKS, { signal: stop.signal })) {
      for (const change of changes) {
        if (change.kind !== "put") continue;
        const by = seen.get(change.value) ?? new Set();
        seen.set(change.value, by.add(change.key));
      }
      told.resolve();
      told = Promise.withResolvers();
    }
  })();
  const took: number[] = [];
  for (let write = 0; write < WRITES; write += 1) {
    const version = `write-${write}`;
    const since = systemClock.monotonic();
    await writer.centre.put(KEY, JSON.stringify({ initialFields: { version } }));
    while ((seen.get(version)?.size ?? 0) < instances) await told.promise;
    took.push(systemClock.monotonic() - since);
    await systemClock.sleep(millisOf(100));
  }
  stop.abort();
  await watching;
  return took;
}

/** Microseconds of single reads, the clock's own reading left in. */
function readsOf(manager: ConfigManager<SettingsOf<"clog">>): readonly number[] {
  const took: number[] = [];
  let level = "";
  for (let read = 0; read < READS; read += 1) {
    const since = systemClock.monotonic();
    level = manager.current().level;
    took.push((systemClock.monotonic() - since) * 1000);
  }
  if (level === "") throw new Error("nothing was read");
  return took;
}
