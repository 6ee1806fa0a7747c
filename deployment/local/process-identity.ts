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
  const [state, ...rest] = statOf(pid);
  const startTicks = rest[18];
  if (state === undefined || state === "Z" || state === "X" || startTicks === undefined) return null;
  return { pid, startTicks, bootId: read("/proc/sys/kernel/random/boot_id").trim() };
}

/** 0 where there is no such process. */
export const parentOf = (pid: number): number => Number(statOf(pid)[1] ?? 0);

/** Arguments with a blank between them; empty where there is no such process. */
export const commandLineOf = (pid: number): string => read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();

/** Fields of /proc/PID/stat from the third, the state, on; none where there is no such process. */
function statOf(pid: number): readonly string[] {
  const stat = read(`/proc/${pid}/stat`);
  // The second field, the command's name, may hold blanks and parentheses.
  return stat === "" ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

export function isAlive(known: ProcessIdentity): boolean {
  const now = identify(known.pid);
  return now !== null && now.startTicks === known.startTicks && now.bootId === known.bootId;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
