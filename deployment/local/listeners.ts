import { readdir, readFile, readlink } from "node:fs/promises";

import { identify } from "./process-identity.ts";

export interface Listener {
  /** As it stands in the table: `127.0.0.1`, `::1`. */
  readonly address: string;
  readonly port: number;
  readonly inode: string;
}

/** Listening TCP sockets of the machine, from /proc/net/tcp and tcp6 (proc(5)). */
export async function listeners(): Promise<readonly Listener[]> {
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => readFile(path, "utf8").catch(() => "")),
  );
  return tables.flatMap((table) => parseListeners(table));
}

const LISTEN = "0A";

export function parseListeners(table: string): readonly Listener[] {
  return table
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === LISTEN)
    .map((fields) => {
      const [address = "", port = ""] = (fields[1] ?? "").split(":");
      return { address: readAddress(address), port: Number.parseInt(port, 16), inode: fields[9] ?? "" };
    });
}

/** The table holds each 32 bits of the address as a number of this machine: little-endian on all that Node 24 runs on. */
function readAddress(hex: string): string {
  const bytes = [...Buffer.from(hex, "hex")];
  const words = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.slice(i * 4, i * 4 + 4).reverse());
  const ordered = words.flat();
  if (ordered.length === 4) return ordered.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((ordered[i * 2] ?? 0) << 8) | (ordered[i * 2 + 1] ?? 0));
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return ordered.slice(12).join(".");
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}

/** Socket inodes that a process has open; empty where it is gone or another user's. */
export async function socketsOf(pid: number): Promise<ReadonlySet<string>> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => "")));
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
}

/** `redis-server (process 812)` for the process that listens on the port; null where it is not to be seen. */
export async function holderOf(port: number): Promise<string | null> {
  const inodes = new Set((await listeners()).filter((one) => one.port === port).map((one) => one.inode));
  if (inodes.size === 0) return null;
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || identify(pid) === null) continue;
    const open = await socketsOf(pid);
    if (!inodes.isDisjointFrom(open))
      return `${(await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "a process")).trim()} (process ${pid})`;
  }
  return null;
}
