import { type Announcement, announcements, lastAnnouncement } from "../domain/announcements.ts";
import type { EventFacts } from "../domain/announcements.ts";
import { sidesOf } from "../domain/backward.ts";
import type { Status } from "../domain/stored.ts";
import type { TaskView } from "../domain/task.ts";
import { API_VERSION, SEQUENCE_ANNOTATION, SWITCH_TASKS } from "../api/group.ts";
import type { ControllerDeps } from "./deps.ts";

/** Events of the write that turns `view.stored` into `status`. */
export const madeBy = (view: TaskView, status: Status, deps: ControllerDeps): readonly Announcement[] =>
  announcements(view.stored, status, factsOf(view, status, deps));

/** Hands Events of a stored write to the recorder; never waited for. */
export function emit(made: readonly Announcement[], view: TaskView, deps: ControllerDeps): void {
  for (const { reason, type, importance, note, sequence } of made) {
    deps.events.record({
      regarding: regarding(view),
      reason,
      type,
      importance,
      note,
      sequence,
      annotations: numbered(sequence),
    });
  }
}

/**
 * The Event of the last stored write once more, when this process first sees the task: the one before may have died between write and
 * Event. Its name follows from task and sequence, so one that is there already stays the only one (R27).
 */
export function emitAgain(view: TaskView, deps: ControllerDeps): void {
  if (view.stored === null) return;
  const last = lastAnnouncement(view.stored, factsOf(view, view.stored, deps));
  if (last !== null) emit([last], view, deps);
}

/** A stage that takes long shows that it lives: one Event whose count moves, no status write (R33). */
export function emitHeartbeat(view: TaskView, note: string, count: number, deps: ControllerDeps): void {
  // Beyond every sequence of the task, and one per stage: `seq` is at most 99,999,999.
  const sequence = 1_000_000_000 + view.status.seq;
  deps.events.record({
    regarding: regarding(view),
    reason: "Progress",
    type: "Normal",
    importance: "droppable",
    note,
    sequence,
    series: { count },
    annotations: numbered(view.status.eventSequence),
  });
}

const factsOf = (view: TaskView, status: Status, deps: ControllerDeps): EventFacts => ({
  spec: view.spec,
  manager: deps.tasks.lastManager(`${view.ref.namespace}/${view.ref.name}`),
  sides: sidesOf(view, status),
});

const regarding = ({
  ref,
}: TaskView): { apiVersion: string; kind: string; namespace: string; name: string; uid: string } => ({
  apiVersion: API_VERSION,
  kind: SWITCH_TASKS.kind,
  ...ref,
});

const numbered = (sequence: number): Readonly<Record<string, string>> => ({ [SEQUENCE_ANNOTATION]: String(sequence) });
