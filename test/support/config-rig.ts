import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ComponentName, SettingsOf } from "../../src/infra/config/components.ts";
import type { ConfigManager } from "../../src/infra/config/config-manager.ts";
import { type ConfigOptions, openConfig } from "../../src/infra/config/open-config.ts";
import type { Log } from "../../src/infra/clog/log.ts";
import { type Metrics, openMetrics } from "../../src/infra/metrics/metrics.ts";
import type { Centre } from "../../src/infra/coord/coord.ts";
import { millisOf } from "../../src/lib/time.ts";
import { ManualClock, seededRng } from "./manual-clock.ts";

/** A folder that is gone afterwards. */
export async function aFolder(): Promise<
  AsyncDisposable & { readonly path: string; put(file: string, text: string | Uint8Array): Promise<string> }
> {
  const path = await mkdtemp(join(tmpdir(), "turnout-config-"));
  return {
    path,
    async put(file, text) {
      const at = join(path, file);
      await mkdir(dirname(at), { recursive: true });
      await writeFile(at, text);
      return at;
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

export interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A log that remembers. */
export function aLog(): { readonly log: Log; readonly lines: readonly Line[] } {
  const lines: Line[] = [];
  const write =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void =>
      void lines.push({ level, message, fields });
  const log: Log = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    module: () => log,
    level: () => undefined,
  };
  return { log, lines };
}

export interface ConfigRig<C extends ComponentName> extends AsyncDisposable {
  readonly manager: ConfigManager<SettingsOf<C>>;
  readonly clock: ManualClock;
  readonly metrics: Metrics;
  readonly lines: readonly Line[];
  readonly causes: readonly (string | null)[];
  metric(name: string): Promise<number>;
}

type Given<C extends ComponentName> = Partial<ConfigOptions<C>> & Pick<ConfigOptions<C>, "component">;

/** A manager over the centre, on a clock that is moved by hand while it opens. */
export async function openRig<C extends ComponentName>(centre: Centre | null, given: Given<C>): Promise<ConfigRig<C>> {
  const clock = new ManualClock();
  const metrics = openMetrics();
  const { log, lines } = aLog();
  const causes: (string | null)[] = [];
  const opening = openConfig<C>(centre, {
    env: "dev",
    service: "im-repo",
    files: null,
    snapshots: null,
    clock,
    rng: seededRng(),
    log,
    metrics,
    onDegraded: (cause) => causes.push(cause),
    ...given,
  });
  const wait = { open: true };
  const opened = opening.finally(() => (wait.open = false));
  opened.catch(() => undefined);
  // Files are read in real time; the clock moves only where somebody waits for it.
  while (wait.open) {
    if (clock.nextDue === null) await new Promise((resolve) => setImmediate(resolve));
    else await clock.advance(millisOf(clock.nextDue));
  }
  const manager = await opened;
  return {
    manager,
    clock,
    metrics,
    lines,
    causes,
    async metric(name) {
      const line = (await metrics.text()).split("\n").find((text) => text.startsWith(name));
      return Number(line?.split(" ").at(-1) ?? Number.NaN);
    },
    [Symbol.asyncDispose]: () => manager.close(),
  };
}

/** Lets whatever was heard be applied. */
export async function settled(rig: Pick<ConfigRig<ComponentName>, "clock">): Promise<void> {
  for (let i = 0; i < 5; i += 1) await rig.clock.advance(millisOf(0));
}
