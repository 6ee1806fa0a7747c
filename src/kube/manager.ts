import { aborted } from "../lib/deadline.ts";
import type { Clock } from "../lib/seams.ts";
import type { Millis } from "../lib/time.ts";
import type { Controller } from "./controller.ts";
import type { Election, Term } from "./lease.ts";
import type { KubeLog } from "./log.ts";
import type { Reflector } from "./reflector.ts";

export interface ManagerOptions {
  /** Opened, in the order in which they are closed last to first. */
  readonly reflectors: readonly Reflector[];
  /** null: no election, this process always leads. */
  readonly election: Election | null;
  /** Called when all caches are complete and this process leads, again for each term. */
  readonly start: () => readonly Controller[];
  /** After the controllers have stopped, before the lease is given free: what must not happen under another leader. */
  readonly settle?: () => Promise<void>;
  readonly clock: Clock;
  readonly log: KubeLog;
  /** For controllers to end what they are at. */
  readonly stopWithin: Millis;
}

/**
 * Caches first, then leadership, then controllers; all the way back in reverse when `signal` is aborted. A lost lease stops the
 * controllers and campaigns again: caches stay warm. Resolves when everything is closed.
 */
export async function runManager(options: ManagerOptions, signal: AbortSignal): Promise<void> {
  const { reflectors } = options;
  try {
    await Promise.all(reflectors.map((reflector) => reflector.whenSynced(signal)));
    while (!signal.aborted) await leadOnce(options, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    for (const reflector of reflectors.toReversed()) await reflector.close();
  }
}

async function leadOnce(options: ManagerOptions, signal: AbortSignal): Promise<void> {
  const term: Term | null = options.election === null ? null : await options.election.campaign(signal);
  try {
    const controllers = options.start();
    await aborted(term === null ? signal : AbortSignal.any([signal, term.lost]));
    await stopAll(controllers, options);
    await options.settle?.();
  } finally {
    await term?.release();
  }
}

async function stopAll(controllers: readonly Controller[], { clock, log, stopWithin }: ManagerOptions): Promise<void> {
  const stopped = new AbortController();
  const all = Promise.all(controllers.toReversed().map((controller) => controller.stop())).then(() => stopped.abort());
  const late = clock.sleep(stopWithin, stopped.signal).then(
    () => log.warn({ stopWithin }, "controllers did not end in time; what they were at is of unknown outcome"),
    () => undefined,
  );
  await Promise.race([all, late]);
}
