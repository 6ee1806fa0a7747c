import { between, formatDuration } from "../lib/time.ts";
import { EVENTS, type EventReason } from "./reasons.ts";
import { type StageEnd, stageEnds } from "./stage-ends.ts";
import type { Phase } from "./phase.ts";
import type { HistoryEntry, StageEntry, Status, TaskSpec } from "./stored.ts";

/** One Event, before it has names and places. `sequence` grows per task in the same write that justifies the Event (R28). */
export interface Announcement {
  readonly reason: EventReason;
  readonly type: "Normal" | "Warning";
  readonly importance: "terminal" | "normal" | "droppable";
  readonly note: string;
  readonly sequence: number;
}

/** What the notes need besides the two statuses. */
export interface EventFacts {
  readonly spec: TaskSpec | null;
  /** Last manager of `spec.control`: self-chosen, hence unverified (SEC-59). */
  readonly manager: string | null;
  /** Stages by side, for RollbackFailed. */
  readonly sides: { readonly undone: readonly string[]; readonly ahead: readonly string[] };
}

const NOTE = 900;
type Draft = readonly [reason: EventReason, note: string];

/**
 * The Events of one stored write: one per transition, in order. `before` null: the first write. The caller stores
 * `eventSequence` = {@link sequenceAfter} in the same write and emits only afterwards.
 */
export function announcements(before: Status | null, after: Status, facts: EventFacts): readonly Announcement[] {
  const drafts: Draft[] = [];
  if (before === null) drafts.push(["Created", created(facts)]);
  drafts.push(...stageDrafts(before, after));
  for (const step of newHistory(before, after)) drafts.push(...phaseDraft(step, after, facts));
  const from = before?.eventSequence ?? 0;
  return drafts.map(([reason, note], i) => ({
    reason,
    ...EVENTS[reason],
    note: note.slice(0, NOTE),
    sequence: from + i + 1,
  }));
}

export const sequenceAfter = (before: Status | null, made: readonly Announcement[]): number =>
  (before?.eventSequence ?? 0) + made.length;

/**
 * What the last write announced last, with its sequence; null where nothing was announced yet. Phases are announced after stages, so
 * a transition that is as late as the last settle is the one.
 */
export function lastAnnouncement(status: Status, facts: EventFacts): Announcement | null {
  const step = status.history.at(-1);
  if (step === undefined || status.eventSequence === 0) return null;
  const entry = status.stages.toSorted((a, b) => endOf(a) - endOf(b)).at(-1);
  const settledLater = entry !== undefined && endOf(entry) > step.at;
  const drafts = settledLater ? stageDrafts(null, { ...status, stages: [entry] }) : phaseDraft(step, status, facts);
  const last = drafts.at(-1);
  if (last === undefined) return null;
  const [reason, note] = last;
  return { reason, ...EVENTS[reason], note: note.slice(0, NOTE), sequence: status.eventSequence };
}

const endOf = ({ finishedAt }: StageEntry): number => finishedAt ?? 0;

/** History keeps the last 20: what is new is found from the end. */
function newHistory(before: Status | null, after: Status): readonly HistoryEntry[] {
  const last = before?.history.at(-1);
  if (last === undefined) return after.history;
  const at = after.history.findLastIndex(
    (entry) => entry.at === last.at && entry.to === last.to && entry.from === last.from,
  );
  return after.history.slice(at + 1);
}

const stageDrafts = (before: Status | null, after: Status): readonly Draft[] =>
  stageEnds(before, after).flatMap((end) => STAGE_DRAFTS[end.as](end, after));

const STAGE_DRAFTS: Readonly<Record<StageEnd["as"], (end: StageEnd, after: Status) => readonly Draft[]>> = {
  Completed: (end) => [["StageCompleted", `stage ${end.entry.name} Completed, ${effort(end)}`]],
  Skipped: ({ entry: { name, skipped } }) => {
    const { by = "?", reason = "" } = skipped ?? {};
    return [["StageCompleted", `stage ${name} Skipped by ${by}: ${reason}`]];
  },
  Failed: (end, after) => {
    const why = `${after.failure?.message ?? ""}${instances(end.entry, after)}`;
    return [["StageFailed", `stage ${end.entry.name} Failed, ${effort(end)}: ${why}`]];
  },
  // Told when the last of them is: RolledBack.
  RolledBack: () => [],
};

const effort = ({ attempts, took }: StageEnd): string =>
  `attempts ${attempts}${took === null ? "" : ` in ${formatDuration(took)}`}`;

const instances = (entry: StageEntry, status: Status): string =>
  entry.failures.length === 0
    ? ""
    : `; ${entry.failures.map(({ i, code }) => `${status.instances[i] ?? i} ${code}`).join(", ")}`;

type PhaseEvent = Exclude<EventReason, "Created" | "Progress" | "StageCompleted" | "StageFailed">;
const PHASE_EVENTS: Readonly<Record<Phase, PhaseEvent | null>> = {
  Created: null,
  Validating: null,
  ValidationFailed: "ValidationFailed",
  Pending: "Validated",
  Running: "Started",
  Paused: "Paused",
  Resuming: "Resumed",
  Completed: "Completed",
  Failed: "Failed",
  RollingBack: "RollingBack",
  RolledBack: "RolledBack",
  RollbackFailed: "RollbackFailed",
  Cancelled: "Cancelled",
};

function phaseDraft(step: HistoryEntry, after: Status, facts: EventFacts): readonly Draft[] {
  const reason = PHASE_EVENTS[step.to];
  if (reason === null || (step.to === "Pending" && step.from !== "Validating")) return [];
  if (step.to === "Running" && step.from !== "Pending") {
    return step.from === "Failed"
      ? [["Progress", `goes on after a failure (${step.reason}), ${progress(after, facts)}`]]
      : [];
  }
  return [[reason, NOTES[reason](after, facts, step)]];
}

const stageNames = ({ spec }: EventFacts): readonly string[] => spec?.stages.map(({ name }) => name) ?? [];
const completedOf = (status: Status): readonly string[] => namesIn(status, "Completed");
/** Completed at some time: the write that fails a task may turn it back at once. */
const settledOnce = ({ stages }: Status): readonly string[] =>
  stages.filter(({ outputs, skipped }) => outputs !== null && skipped === null).map(({ name }) => name);
const namesIn = (status: Status, state: StageEntry["state"]): readonly string[] =>
  status.stages.filter((entry) => entry.state === state).map(({ name }) => name);
const list = (names: readonly string[]): string => (names.length === 0 ? "none" : names.join(", "));
const by = ({ manager }: EventFacts): string => (manager === null ? "" : ` by ${manager} (unverified)`);

function created(facts: EventFacts): string {
  const unit = facts.spec?.executionUnit ?? null;
  return `${unit === null ? "" : `unit ${unit}, `}${stageNames(facts).length} stages: ${list(stageNames(facts))}`;
}

function currentStage(status: Status, facts: EventFacts): string {
  const settled = new Set([...completedOf(status), ...namesIn(status, "Skipped")]);
  return stageNames(facts).find((name) => !settled.has(name)) ?? "none";
}

/** Current stage, completed, total, percent. */
function progress(status: Status, facts: EventFacts): string {
  const [done, total] = [completedOf(status).length + namesIn(status, "Skipped").length, stageNames(facts).length];
  return `stage ${currentStage(status, facts)}, ${done}/${total} completed (${total === 0 ? 0 : Math.floor((100 * done) / total)} %)`;
}

function took(status: Status): string {
  if (status.startedAt === null || status.finishedAt === null) return "";
  return ` in ${formatDuration(between(status.startedAt, status.finishedAt))}`;
}

type Note = (status: Status, facts: EventFacts, step: HistoryEntry) => string;
const NOTES: Readonly<Record<PhaseEvent, Note>> = {
  Validated: ({ issues }, facts) => `${stageNames(facts).length} stages valid, ${issues.length} warnings`,
  ValidationFailed: ({ failure, issues }) =>
    `${failure?.message ?? ""}${issues.map(({ path, value, message }) => `; ${path}=${value} ${message}`).join("")}`,
  Started: (_status, facts) => `${stageNames(facts).length} stages`,
  Paused: (status, facts) => `paused${by(facts)} at stage ${currentStage(status, facts)}`,
  Resumed: (status, facts) => `resumed${by(facts)}, goes on from stage ${currentStage(status, facts)}`,
  Failed: (status) =>
    `completed ${list(settledOnce(status))}; failed ${status.failure?.stage ?? "none"}: ${status.failure?.message ?? ""}`,
  Completed: (status, _facts, { reason }) =>
    reason === "AllStagesSettled"
      ? `completed${took(status)}: ${list([...completedOf(status), ...namesIn(status, "Skipped")])}`
      : `completed: ${reason}, nothing was touched`,
  RollingBack: (status, facts) =>
    `${status.turnedBackBy ?? "Rollback"}${status.turnedBackBy === "Failure" ? "" : by(facts)}; to undo: ${list(facts.sides.ahead)}`,
  RolledBack: (status) => `undone ${list(namesIn(status, "RolledBack"))}${to(status)}${took(status)}`,
  RollbackFailed: ({ failure }, { sides }) =>
    `undone ${list(sides.undone)}; still on the new side ${list(sides.ahead)}: ${failure?.message ?? ""}`,
  Cancelled: ({ abandoned, stages }, facts, { reason }) => {
    const why = abandoned === null ? reason : `abandoned by ${abandoned.by}: ${abandoned.reason}`;
    return `${why}${by(facts)}; last stage ${stages.at(-1)?.name ?? "none"}`;
  },
};

function to(status: Status): string {
  const previous = status.plan?.previous ?? null;
  if (previous === null) return "";
  const { id, name, version } = previous.deployUnit;
  return `; tenant is back on ${name} (unit ${id} version ${version})`;
}
