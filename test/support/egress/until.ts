import { setTimeout as sleep } from "node:timers/promises";

/** Waits until `look` gives what `holds` accepts. @throws Error with what was seen last, after `patience` milliseconds. */
export async function until<T>(look: () => T | Promise<T>, holds: (seen: T) => boolean, patience = 5000): Promise<T> {
  const deadline = performance.now() + patience;
  for (;;) {
    const seen = await look();
    if (holds(seen)) return seen;
    if (performance.now() > deadline) throw new Error(`not within ${patience} ms; last seen: ${JSON.stringify(seen)}`);
    await sleep(5);
  }
}
