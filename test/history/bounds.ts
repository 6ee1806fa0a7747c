import { claimsOf, isTerminal, stageOf, stepsOf, taskHistories } from "./look-up.ts";
import type { Checker, Recording, StageSeen, TaskVersion, Violation } from "./recording.ts";

/** S25 sizes and writes are bounded, L8 nothing is written at rest. */
export const bounds: Checker = (recording) => [
  ...taskHistories(recording).flatMap((history) => [...sizes(history), ...writes(history).slice(stops(recording))]),
  ...events(recording),
  ...atRest(recording),
];

/** A process that ends stores what it has in hand and claims nothing more. */
const stops = ({ entries }: Recording): number =>
  entries.filter((entry) => entry.is === "happening" && entry.what === "stopped").length;

const LARGEST = 64 * 1024;

const sizes = (history: readonly TaskVersion[]): readonly Violation[] =>
  history.flatMap(({ name, bytes, order }) =>
    bytes > LARGEST ? [{ id: "S25", says: `${name} has ${bytes} bytes`, order }] : [],
  );

/**
 * A write that moves a stage claims the next one, or ends or rests the task, or says why nothing is claimed yet: so an attempt costs one
 * write, and the last one another.
 */
const writes = (history: readonly TaskVersion[]): readonly Violation[] =>
  stepsOf(history).flatMap(({ before, after }) => {
    const [was, is] = [before?.status ?? null, after.status];
    if (was === null || is === null || JSON.stringify(was.stages) === JSON.stringify(is.stages)) return [];
    const claims = claimsOf([before ?? after, after]).filter(({ version }) => version.rv === after.rv);
    const settled = is.stages.filter((stage) => !same(stageOf(was, stage.name), stage));
    const explained =
      claims.some(({ before: old }) => old !== null) ||
      was.phase !== is.phase ||
      was.direction !== is.direction ||
      is.waiting?.reason !== was.waiting?.reason ||
      JSON.stringify(was.commands) !== JSON.stringify(is.commands) ||
      settled.some(({ retryAt, outcome }) => retryAt !== null || outcome !== null);
    const says = `${after.name}: a write moved ${settled.map(({ name }) => name).join(", ")} and claimed nothing`;
    return explained ? [] : [{ id: "S25", says, order: after.order }];
  });

const same = (a: StageSeen | undefined, b: StageSeen): boolean => JSON.stringify(a) === JSON.stringify(b);

const MOST_EVENTS = 25;

/** Events of one object in one burst: with less than a second between neighbours. */
function events({ entries }: Recording): readonly Violation[] {
  const bursts = new Map<string, { count: number; at: number }>();
  return entries.flatMap((entry) => {
    if (entry.is !== "write" || entry.kind !== "api/event" || entry.code >= 300) return [];
    const old = bursts.get(entry.subject);
    const burst = old !== undefined && entry.at - old.at < 1000 ? old : { count: 0, at: entry.at };
    burst.count += 1;
    burst.at = entry.at;
    bursts.set(entry.subject, burst);
    const says = `more than ${MOST_EVENTS} Events of ${entry.subject} in one burst`;
    return burst.count === MOST_EVENTS + 1 ? [{ id: "S25", says, order: entry.order }] : [];
  });
}

/** Once everything is where it will stay, only the lease is written. */
function atRest(recording: Recording): readonly Violation[] {
  const { entries } = recording;
  const rest = entries.find((entry) => entry.is === "happening" && entry.what === "rest");
  if (rest === undefined) return [];
  return entries.flatMap((entry) => {
    if (entry.order <= rest.order) return [];
    const at = (says: string): readonly Violation[] => [{ id: "L8", says, order: entry.order }];
    if (entry.is === "write" && entry.kind !== "api/lease") return at(`${entry.kind} of ${entry.subject} at rest`);
    if (entry.is === "effect") return at(`an effect at ${entry.to} at rest`);
    const over = entry.is === "task" && entry.status !== null && isTerminal(entry.status.phase);
    return over ? at(`a version of ${entry.name} at rest`) : [];
  });
}
