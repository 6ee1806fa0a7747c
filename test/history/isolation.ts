import { isTerminal, taskHistories } from "./look-up.ts";
import type { Checker, Recording, Violation } from "./recording.ts";

/** S24 no object ends the process, L6 a task starts within 10 s, L10 a poisoned one resumes once it is corrected. */
export const isolation: Checker = (recording) => [...exits(recording), ...started(recording), ...resumed(recording)];

const exits = ({ entries }: Recording): readonly Violation[] =>
  entries.flatMap((entry) =>
    entry.is === "happening" && entry.what === "crashed" && !entry.asked
      ? [{ id: "S24", says: `process ${entry.process} ended by itself`, order: entry.order }]
      : [],
  );

const START = 10_000;

/** From its creation to its first status, with a process up all the time. */
function started(recording: Recording): readonly Violation[] {
  return taskHistories(recording).flatMap((history) => {
    const [first] = history;
    const begun = history.find(({ status }) => status !== null && status.phase !== "Created");
    if (first === undefined) return [];
    const up = upSince(recording, first.at);
    const until = begun?.at ?? lastAt(recording);
    const late = up !== null && until - Math.max(up, first.at) > START;
    const seconds = (until - first.at) / 1000;
    return late && !isCorrecting(recording, first.name)
      ? [{ id: "L6", says: `${first.name} had not begun after ${seconds} s`, order: first.order }]
      : [];
  });
}

const lastAt = ({ entries }: Recording): number => entries.reduce((last, { at }) => Math.max(last, at), 0);

const isCorrecting = ({ entries }: Recording, task: string): boolean =>
  entries.some((entry) => entry.is === "happening" && entry.what === "poisoned" && entry.task === task);

/**
 * Since when an operator has been working without a break, as of `at` or the first start after it; null: none ever was. One that waits
 * for a lease does not work yet: how long it may wait is L7.
 */
function upSince({ entries }: Recording, at: number): number | null {
  const up = new Map<string, number>();
  const elects = entries.some((entry) => entry.is === "happening" && entry.what === "lease");
  for (const entry of entries) {
    if (entry.is !== "happening") continue;
    if (entry.what === "started" && !elects) up.set(entry.process, entry.at);
    if (entry.what === "lease" && entry.holder !== null && !up.has(entry.holder)) up.set(entry.holder, entry.at);
    if (entry.what === "crashed" || entry.what === "stopped") up.delete(entry.process);
    if (entry.what === "blind") up.clear();
    if (entry.what === "sighted") up.set("again", entry.at);
  }
  const since = [...up.values()];
  return since.length === 0 ? null : Math.max(at, Math.min(...since));
}

/** One back-off of the queue at most, and the time of a turn. */
const BACKOFF = 65_000;

const resumed = (recording: Recording): readonly Violation[] =>
  recording.entries.flatMap((entry) => {
    if (entry.is !== "happening" || entry.what !== "corrected") return [];
    const history = taskHistories(recording).find(([first]) => first?.name === entry.task) ?? [];
    const next = history.find(({ order, status }) => order > entry.order && status !== null);
    const over = history.findLast(({ order }) => order < entry.order)?.status;
    if (over !== undefined && over !== null && isTerminal(over.phase)) return [];
    const at = next?.at ?? lastAt(recording);
    return (next === undefined && at - entry.at > 0) || at - entry.at > BACKOFF
      ? [{ id: "L10", says: `${entry.task} did not go on after it was corrected`, order: entry.order }]
      : [];
  });
