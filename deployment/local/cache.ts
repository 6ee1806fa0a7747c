import { mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

import { formatDuration, type Millis, millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { alone } from "./alone.mjs";
import type { Machine } from "./machine.ts";
import { isDiskFull, PROBLEM } from "./problem.ts";

export interface CacheEntry {
  /** Folder name below the cache: changes with everything that the content depends on. */
  readonly key: string;
  /** What a person reads: "kube-apiserver v1.36.2". */
  readonly title: string;
  /** How it comes: "built", "downloaded". */
  readonly how: "build" | "download";
  readonly expected: Millis;
}

export const cacheFolder = (variables: Machine["variables"]): string =>
  join(variables.XDG_CACHE_HOME || join(homedir(), ".cache"), "turnout");

/**
 * The folder of the entry, made by `make` where it is missing. A folder under its final name is whole: it is made under another
 * name and renamed. Of several processes one makes it, the others wait for it.
 */
export async function cached(
  entry: CacheEntry,
  make: (into: string) => Promise<void>,
  machine: Machine,
): Promise<string> {
  const root = cacheFolder(machine.variables);
  const path = join(root, entry.key);
  if (await exists(path)) return path;
  await alone(`cache-${entry.key}`, {
    waits: () => machine.print(`${entry.title}: another command is at it; waiting for it`),
    work: async () => {
      if (await exists(path)) return;
      await mkdir(root, { recursive: true, mode: 0o700 });
      await removeHalfMade(root, entry.key);
      const into = join(root, `${entry.key}.making-${process.pid}`);
      await mkdir(into, { mode: 0o700 });
      try {
        await announced(entry, root, () => make(into), machine);
        await rename(into, path);
      } catch (error) {
        const { bavail, bsize } = await statfs(root); // before what was half made is gone
        await rm(into, { recursive: true, force: true });
        // Not every tool says so: npm ends with 0 and leaves a shortened file.
        if (!isDiskFull(String(error)) && bavail * bsize > FULL) throw error;
        throw PROBLEM.diskFull({ path: root, free: formatBytes(bavail * bsize) });
      }
    },
  });
  return path;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** What a maker left that was killed: nobody else is at it, for we hold the name. */
async function removeHalfMade(root: string, key: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(`${key}.making-`)) continue;
    await rm(join(root, name), { recursive: true, force: true });
  }
}

const TICK = seconds(20);

/** Says what begins, how far it is and how long it took. */
async function announced(entry: CacheEntry, root: string, work: () => Promise<void>, machine: Machine): Promise<void> {
  const { clock, print } = machine;
  const about =
    entry.expected >= minutes(1) ? `${Math.round(entry.expected / minutes(1))} min` : formatDuration(entry.expected);
  print(`${entry.title}: ${entry.how} starts (about ${about}, once; kept in ${root})`);
  const started = clock.monotonic();
  const elapsed = (): string => formatDuration(millisOf(Math.round((clock.monotonic() - started) / 1000) * 1000));
  const done = new AbortController();
  const ticking = tickUntil(done.signal, () => print(`${entry.title}: ${elapsed()} of about ${about}`), machine);
  try {
    await work();
    print(`${entry.title}: ready after ${elapsed()}`);
  } finally {
    done.abort();
    await ticking;
  }
}

async function tickUntil(signal: AbortSignal, tick: () => void, { clock }: Machine): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(TICK, signal).then(tick, () => {});
  }
}

/** Less than this left: whatever failed, failed for want of space. */
const FULL = 50e6;

const formatBytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** `12.3 GB` that this user may still write on the file system of the folder. */
export async function freeSpace(path: string): Promise<string> {
  const { bavail, bsize } = await statfs(path);
  return formatBytes(bavail * bsize);
}
