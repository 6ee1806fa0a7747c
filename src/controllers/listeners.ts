import { between, type Millis } from "../lib/time.ts";
import { sidesOf } from "../domain/backward.ts";
import { isTerminal } from "../domain/phase.ts";
import { type StageEnd, stageEnds } from "../domain/stage-ends.ts";
import { formatFence } from "../lib/fence.ts";
import type { CommandField, StageEntry, Status } from "../domain/stored.ts";
import type { TaskView } from "../domain/task.ts";
import type { Log } from "../infra/clog/log.ts";
import type { Metrics } from "../infra/metrics/metrics.ts";
import type { Listener } from "./deps.ts";

// Told after each stored write (R77). What they do can fail without touching a switch.

/** One line per stored transition, with task, tenant, stage and fence as fields. */
export function logListener(log: Log): Listener {
  return (before, after, view) => {
    const about = {
      namespace: view.ref.namespace,
      task: view.ref.name,
      tenant: view.spec?.tenantId ?? "",
      uid: view.ref.uid,
    };
    for (const step of after.history.slice(historyLength(before, after))) {
      const failed = after.phase === "Failed" || after.phase === "RollbackFailed" || after.phase === "ValidationFailed";
      const fields = {
        ...about,
        phase: step.to,
        reason: step.reason,
        ...(failed ? { failure: after.failure?.message ?? "" } : {}),
      };
      log[failed ? "warn" : "info"](
        fields,
        `${view.ref.name}: ${step.from ?? "nothing"} → ${step.to} (${step.reason})`,
      );
    }
    for (const entry of changed(before, after)) {
      const fence = formatFence(after.epoch, entry.seq);
      log.info(
        { ...about, stage: entry.name, state: entry.state, fence, attempts: entry.attempts },
        `${view.ref.name}: stage ${entry.name} ${entry.state}`,
      );
    }
    if (after.waiting !== null && after.waiting.reason !== before?.waiting?.reason) {
      const { reason, message, unblock } = after.waiting;
      log[reason === "Diverged" || reason === "Conflict" ? "warn" : "info"](
        { ...about, reason, unblock },
        `${view.ref.name}: waits, ${message}`,
      );
    }
  };
}

/** How many entries of `after.history` were there before; the list keeps the last 20. */
function historyLength(before: Status | null, after: Status): number {
  const last = before?.history.at(-1);
  if (last === undefined) return 0;
  return after.history.findLastIndex(({ at, to, from }) => at === last.at && to === last.to && from === last.from) + 1;
}

const changed = (before: Status | null, after: Status): readonly StageEntry[] =>
  after.stages.filter((entry) => before?.stages.find(({ name }) => name === entry.name)?.state !== entry.state);

const inSeconds = (value: Millis): number => value / 1000;

/** Numbers of tasks, stages, commands; all labels from closed sets. */
export function metricsListener(metrics: Metrics): Listener {
  return (before, after, view) => {
    for (const { to } of after.history.slice(historyLength(before, after)))
      metrics.count("turnout_task_transitions_total", { to });
    for (const end of stageEnds(before, after)) countStage(end, view, metrics);
    countWait(before, after, metrics);
    for (const [verb, answer] of Object.entries(after.commands)) {
      const told = before?.commands[verb as CommandField];
      if (told?.value === answer.value && told.result === answer.result) continue;
      metrics.count("turnout_commands_total", { verb, result: answer.result });
    }
    const doubts = (status: Status | null): number =>
      status?.stages.filter(({ outcome }) => outcome === "Unknown").length ?? 0;
    if (doubts(after) > doubts(before)) metrics.count("turnout_unknown_outcomes_total", {});
    if (after.failure?.code === "Fenced" && before?.failure?.code !== "Fenced")
      metrics.count("turnout_fenced_total", {});
    if (isTerminal(after.phase) && before !== null && !isTerminal(before.phase)) countEnd(after, view, metrics);
  };
}

function countStage({ entry, as, attempts, took }: StageEnd, view: TaskView, metrics: Metrics): void {
  const labels = { kind: view.spec?.stages.find(({ name }) => name === entry.name)?.kind ?? "unknown", outcome: as };
  metrics.count("turnout_stage_attempts_total", labels, attempts);
  if (took !== null) metrics.observe("turnout_stage_duration_seconds", labels, inSeconds(took));
}

function countWait(before: Status | null, after: Status, metrics: Metrics): void {
  const waited = before?.waiting ?? null;
  if (waited === null || after.waiting?.reason === waited.reason) return;
  const ended = after.waiting?.since ?? after.history.at(-1)?.at ?? waited.since;
  metrics.observe("turnout_task_waiting_seconds", { reason: waited.reason }, inSeconds(between(waited.since, ended)));
}

function countEnd(after: Status, view: TaskView, metrics: Metrics): void {
  const outcome = after.phase;
  const cause = after.turnedBackBy;
  if (cause !== null && sidesOf(view, after).undone.length > 0)
    metrics.count("turnout_rollbacks_total", { cause, outcome });
  if (after.startedAt === null || after.finishedAt === null) return;
  const counted = between(after.startedAt, after.finishedAt) - after.pausedFor;
  metrics.observe("turnout_task_duration_seconds", { outcome }, Math.max(0, counted) / 1000);
}
