import { backoffAfter } from "../../lib/backoff.ts";
import { infraErrorOf, type InfraError } from "../../lib/infra-error.ts";
import type { Clock, Rng } from "../../lib/seams.ts";
import { millisOf, seconds } from "../../lib/time.ts";
import type { Centre, KeyValue } from "../coord/coord.ts";

export type Heard =
  /** What stands under the key now; null where nothing does. Also says that the centre is there. */
  | { readonly kind: "value"; readonly found: KeyValue | null }
  | { readonly kind: "up" }
  | { readonly kind: "lost"; readonly cause: string; readonly failure: InfraError | null };

export interface Following {
  readonly centre: Centre;
  readonly key: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly signal: AbortSignal;
  readonly hear: (heard: Heard) => void;
}

/** Together with the centre's own reconnect (≤ 2 s) it stays below the 5 s in which a returned centre must be heard. */
const RETRY = { initial: millisOf(200), factor: 2, max: seconds(2) };

/**
 * Loads the key, then watches it from exactly what was loaded, so that no change lies between; for ever, until the signal. A centre
 * that is away or refuses is told once per try and tried again.
 */
export async function followKey(following: Following): Promise<void> {
  const { clock, rng, signal, hear } = following;
  let failures = 0;
  while (!signal.aborted) {
    try {
      await loadAndWatch(following, () => (failures = 0));
    } catch (error) {
      if (signal.aborted) return;
      const failure = infraErrorOf("config", error);
      hear({ kind: "lost", cause: failure.message, failure });
    }
    failures += 1;
    await clock.sleep(backoffAfter(failures, RETRY, rng.float()), signal).catch(() => undefined);
  }
}

async function loadAndWatch({ centre, key, signal, hear }: Following, loaded: () => void): Promise<void> {
  const found = await centre.get(key, signal);
  loaded();
  hear({ kind: "value", found });
  // The key stood like this at its own revision; where it did not stand, whatever stands now is told as new.
  const from = found === null ? {} : { from: { items: [found], revision: found.revision } };
  const onLink = (link: { readonly up: boolean; readonly cause?: string }): void =>
    hear(link.up ? { kind: "up" } : { kind: "lost", cause: link.cause ?? "the connection was lost", failure: null });
  for await (const { changes } of centre.watch(key, { signal, onLink, ...from })) {
    const last = changes.findLast((change) => change.key === key);
    if (last !== undefined) hear({ kind: "value", found: last.kind === "put" ? last : null });
  }
}
