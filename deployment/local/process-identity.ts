import { readFileSync } from "node:fs";

/** A process that cannot be mixed up with a later one of the same pid. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot: field 22 of /proc/PID/stat, proc_pid_stat(5). */
  readonly startTicks: string;
  readonly bootId: string;
}

/** Null where no such process runs; a zombie does not run. */
export function identify(pid: number): ProcessIdentity | null {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The command name, field 2, may hold blanks and parentheses.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const startTicks = rest[18];
  if (state === "Z" || state === "X" || startTicks === undefined) return null;
  return { pid, startTicks, bootId: read("/proc/sys/kernel/random/boot_id")?.trim() ?? "" };
}

export function isAlive(known: ProcessIdentity): boolean {
  const now = identify(known.pid);
  return now !== null && now.startTicks === known.startTicks && now.bootId === known.bootId;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
