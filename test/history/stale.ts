import { claimsOf, taskHistories } from "./look-up.ts";
import type { Checker, Entry, Recording, Violation } from "./recording.ts";

/** S29 an old list or event moves nothing, L4 a change is seen even where every event is lost. */
export const stale: Checker = (recording) => [...replays(recording), ...seen(recording)];

/** While old things are shown about what is at rest, nothing is accepted anywhere; and no claim is made twice. */
function replays(recording: Recording): readonly Violation[] {
  let replaying = false;
  let resting = false;
  const during = recording.entries.flatMap((entry) => {
    if (entry.is === "happening") {
      if (entry.what === "replay") replaying = true;
      if (entry.what === "fresh") replaying = false;
      if (entry.what === "rest") resting = true;
      return [];
    }
    return replaying && resting ? moved(entry) : [];
  });
  return [...during, ...twice(recording)];
}

function moved(entry: Exclude<Entry, { readonly is: "happening" }>): readonly Violation[] {
  const { order } = entry;
  if (entry.is === "write" && entry.kind !== "api/lease" && entry.code >= 200 && entry.code < 300)
    return [{ id: "S29", says: `${entry.kind} of ${entry.subject} was accepted while old things were shown`, order }];
  if (entry.is === "effect")
    return [{ id: "S29", says: `an effect at ${entry.to} while old things were shown`, order }];
  if (entry.is === "task" && !entry.deleted)
    return [{ id: "S29", says: `a version of ${entry.name} while old things were shown`, order }];
  return [];
}

/** A write that rested on an old copy would claim a seq that was claimed before. */
const twice = (recording: Recording): readonly Violation[] =>
  taskHistories(recording).flatMap((history) => {
    const known = new Set<string>();
    return claimsOf(history).flatMap(({ fence, version, stage }) => {
      const again = known.has(fence);
      known.add(fence);
      return again
        ? [{ id: "S29", says: `${version.name} claimed ${stage.name} twice as ${fence}`, order: version.order }]
        : [];
    });
  });

const WITHIN = 6 * 60_000;

/** A new generation is observed: from the change itself, or from the end of what hid it. */
function seen(recording: Recording): readonly Violation[] {
  const { entries } = recording;
  const last = entries.reduce((latest, { at }) => Math.max(latest, at), 0);
  return taskHistories(recording).flatMap((history) =>
    history.flatMap((version, i) => {
      const changed = version.generation > (history[i - 1]?.generation ?? 0) && !version.done && !version.deleted;
      if (!changed) return [];
      const answer = history.find(
        ({ rv, status, deleted, done }) =>
          rv >= version.rv && (deleted || done || (status?.observedGeneration ?? 0) >= version.generation),
      );
      const took = (answer?.at ?? last) - sightedAfter(recording, version.at);
      const says = `generation ${version.generation} of ${version.name} was not seen for ${took / 60_000} min`;
      return took > WITHIN ? [{ id: "L4", says, order: version.order }] : [];
    }),
  );
}

/** When the API server could be reached and somebody was there to look. */
function sightedAfter({ entries }: Recording, at: number): number {
  const later = entries.filter((entry) => entry.is === "happening" && entry.at > at);
  const back = later.findLast(
    (entry) => entry.is === "happening" && (entry.what === "sighted" || entry.what === "started"),
  );
  return back?.at ?? at;
}
