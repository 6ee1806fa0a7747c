import { readFile, readdir } from "node:fs/promises";

/** Clock ticks per second of /proc; USER_HZ is 100 on every Linux that Node runs on. */
const TICKS = 100;

/** CPU seconds that a process has used, its ended children left out. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

export async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** CPU seconds of everything but the given processes: a run with much of it is void. */
export async function foreignCpuSeconds(ours: readonly number[]): Promise<number> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const others = pids.filter((pid) => !ours.includes(pid) && pid !== process.pid);
  const used = await Promise.all(others.map((pid) => cpuSeconds(pid).catch(() => 0)));
  return used.reduce((a, b) => a + b, 0);
}
