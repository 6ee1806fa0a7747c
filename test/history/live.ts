import { claimsOf, isTerminal, taskHistories } from "./look-up.ts";
import type { Checker, Happening, Recording, TaskVersion, Violation } from "./recording.ts";

/** L1 forward completes, L2 told to go back it is RolledBack or says why not, L3 the next claim after a crash, L7 the lease changes hands. */
export const live: Checker = (recording) => [
  ...taskHistories(recording).flatMap((history) => ends(history, recording)),
  ...taskHistories(recording).flatMap((history) => resumes(history, recording)),
  ...handOver(recording),
];

const happenings = ({ entries }: Recording): readonly Happening[] =>
  entries.flatMap((entry) => (entry.is === "happening" ? [entry] : []));

/** Looked at where the run says that it is at rest. */
function ends(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const rest = happenings(recording).find(({ what }) => what === "rest");
  const last = history.findLast(({ order }) => rest !== undefined && order < rest.order);
  if (last?.status === null || last === undefined || last.deleted) return [];
  const { status, spec, name, order } = last;
  if (isTerminal(status.phase)) {
    const turned = status.phase === "Completed" && (spec.rollback || status.direction === "Back");
    const refused = status.commands["rollback"]?.startsWith("Rejected") === true;
    return turned && !refused && status.commands["rollback"] === undefined
      ? [{ id: "L2", says: `${name} was told to go back and is ${status.phase}`, order }]
      : [];
  }
  const named = status.waiting !== null || status.conditions["Stalled"]?.startsWith("True") === true;
  if (named) return [];
  const id = status.direction === "Back" || spec.rollback ? "L2" : "L1";
  return [{ id, says: `${name} rests in ${status.phase} and names nothing that it waits for`, order }];
}

const CRASH = 20_000;
const RELEASED = 3000;

/** Whether another process was up when that one went down. */
const stoodBy = (all: readonly Happening[], down: Happening & { readonly process: string }): boolean => {
  const before = all.slice(0, all.indexOf(down));
  return before.some(
    (one) =>
      one.what === "started" &&
      one.process !== down.process &&
      !before.some((end) => (end.what === "crashed" || end.what === "stopped") && end.process === one.process),
  );
};

/** From the start of a successor, or from the end where one stood by, to the next claim of a task that was under way. */
function resumes(history: readonly TaskVersion[], recording: Recording): readonly Violation[] {
  const all = happenings(recording);
  return all.flatMap((down, i) => {
    if (down.what !== "crashed" && down.what !== "stopped") return [];
    const up = stoodBy(all, down) ? down : all.slice(i).find(({ what }) => what === "started");
    const known = history.findLast(({ order }) => order < down.order);
    const status = known?.status ?? null;
    if (up === undefined || status === null || status.phase !== "Running" || status.waiting !== null) return [];
    const bound = down.what === "stopped" ? RELEASED : CRASH;
    const next = history.find(({ order, rv }) => order > up.order && rv > (known?.rv ?? 0));
    const last = recording.entries.reduce((latest, { at }) => Math.max(latest, at), 0);
    const took = (next?.at ?? last) - up.at;
    const says = `${known?.name ?? ""} went on ${took / 1000} s after its process had ${down.what}`;
    return took > bound ? [{ id: "L3", says, order: down.order }] : [];
  });
}

const CLEAN = 3000;
const LOST = 17_000;

/** From the end of one holder to the next. */
function handOver(recording: Recording): readonly Violation[] {
  const all = happenings(recording);
  return all.flatMap((down, i) => {
    if (down.what !== "crashed" && down.what !== "stopped") return [];
    const held = all.slice(0, i).findLast(({ what }) => what === "lease");
    if (held?.what !== "lease" || held.holder !== down.process) return [];
    const next = all.slice(i).find((one) => one.what === "lease" && one.holder !== null && one.holder !== down.process);
    if (!stoodBy(all, down)) return [];
    const last = recording.entries.reduce((latest, { at }) => Math.max(latest, at), 0);
    const took = (next?.at ?? last) - down.at;
    const bound = down.what === "stopped" ? CLEAN : LOST;
    const says = `the lease changed hands ${took / 1000} s after ${down.process} had ${down.what}`;
    return took > bound ? [{ id: "L7", says, order: down.order }] : [];
  });
}

/** How many claims a history holds: what a run must have at least to prove anything. */
export const claimsIn = (recording: Recording): number => taskHistories(recording).flatMap(claimsOf).length;
