import { type Reloaded, reloaded } from "../../lib/reloaded.ts";
import type { Clock } from "../../lib/seams.ts";
import type { ClogSettings } from "../config/clog-settings.ts";
import type { Health } from "../health/health.ts";
import { type LogDestination, type OpenedLog, openLog } from "./log.ts";
import { RotatingFile } from "./rotating-file.ts";

/** The log of a process, as its settings say. */
export interface Clog extends OpenedLog {
  /** Puts in force what can be changed while it runs: the level. */
  reload(next: ClogSettings): Reloaded;
  check(): Health;
}

export interface ClogDeps {
  /** On every line, where the settings name no other. */
  readonly service: string;
  readonly environment: string;
  readonly version: string;
  readonly clock: Clock;
  /** The process's own. */
  readonly stdout: LogDestination;
  readonly stderr: LogDestination;
}

/** @throws the error of the file system where output is a file that cannot be opened */
export async function openClog(settings: ClogSettings, deps: ClogDeps): Promise<Clog> {
  const { clock, service, environment, version } = deps;
  const given = settings.initialFields;
  const initialFields = {
    service: given.service ?? service,
    environment: given.environment ?? environment,
    version: given.version ?? version,
  };
  const trouble = openLog({
    level: "warn",
    clock,
    destination: settings.errorOutput === "stderr" ? deps.stderr : deps.stdout,
    initialFields,
  });
  const file = await fileOf(settings, {
    clock,
    complain: (what, error) => trouble.module("clog").warn({ error }, what),
  });
  const log = openLog({
    level: settings.level,
    clock,
    destination: file === null ? (settings.output === "stderr" ? deps.stderr : deps.stdout) : { target: file },
    initialFields,
    format: settings.format,
    caller: settings.enableCaller,
    frames: settings.enableStacktrace,
  });
  let present = settings;
  let seen = 0;
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await log.close();
    await file?.close();
    await trouble.close();
  };
  return {
    ...log,
    reload: (next) => {
      log.level(next.level);
      const said = reloaded(present, next, (field) => field === "level");
      present = { ...present, level: next.level };
      return said;
    },
    check: () => {
      const lost = log.dropped() - seen;
      seen += lost;
      const details = { dropped: seen };
      if (lost > 0)
        return { status: "degraded", message: `${lost} lines were lost: the output takes no more`, details };
      if (file?.trouble === true)
        return { status: "degraded", message: "log files cannot be rotated or tidied", details };
      return { status: "healthy", message: "lines are written", details };
    },
    close: () => (closing ??= close()),
  };
}

async function fileOf(
  settings: ClogSettings,
  deps: Parameters<typeof RotatingFile.open>[1],
): Promise<RotatingFile | null> {
  const { output, filename } = settings;
  return output === "file" && filename !== undefined ? RotatingFile.open({ ...settings, filename }, deps) : null;
}
