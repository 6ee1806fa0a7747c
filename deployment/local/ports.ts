import { readFile } from "node:fs/promises";
import { createServer } from "node:net";

import { hold } from "./alone.mjs";
import type { Machine } from "./machine.ts";

export interface Port {
  readonly number: number;
  /** Lets other environments take it. */
  readonly release: () => Promise<void>;
}

const LOWEST = 20_000;
const ATTEMPTS = 200;

/**
 * A free port of 127.0.0.1 that stays ours while its server is stopped: it lies below the ports that the kernel gives to
 * outgoing connections (ip(7), ip_local_port_range), and no other environment takes it while we hold its name.
 */
export async function reservePort({ rng }: Pick<Machine, "rng">): Promise<Port> {
  const highest = await lowestOutgoingPort();
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const number = LOWEST + Math.floor(rng.float() * (highest - LOWEST));
    const release = await hold(`port-${number}`);
    if (release === null) continue;
    if (await isFree(number)) return { number, release };
    await release();
  }
  throw new Error(`no free port between ${LOWEST} and ${highest} after ${ATTEMPTS} attempts`);
}

async function lowestOutgoingPort(): Promise<number> {
  const range = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
  const lowest = Number(range.split(/\s+/)[0]);
  return lowest > LOWEST + 1000 ? lowest : 32_768;
}

export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
