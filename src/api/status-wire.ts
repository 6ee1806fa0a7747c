import { entryFrom, entryTo, KNOWN_ENTRY } from "./stage-entry-wire.ts";
import { FAILURE_TYPES } from "../lib/failures.ts";
import { type Phase, PHASES } from "../domain/phase.ts";
import { WAITING_REASONS } from "../domain/reasons.ts";
import { freshStatus } from "../domain/status.ts";
import type {
  Answer,
  CommandField,
  Condition,
  FrozenPlan,
  HistoryEntry,
  Issue,
  Status,
  TaskFailure,
  Waiting,
} from "../domain/stored.ts";
import { PROTOCOL_VERSION } from "../domain/stored.ts";
import { placementTo } from "./placement-wire.ts";
import { previousOf } from "./decode-task.ts";
import {
  above0,
  countOf,
  type Fields,
  fieldsOf,
  filled,
  instantAt,
  listOf,
  numberOf,
  oneOf,
  present,
  replaced,
  some,
  span,
  spanOf,
  textOf,
  textsOf,
  when,
} from "./wire.ts";
import { formatDuration, formatInstant, instantOf } from "../lib/time.ts";

const EPOCH = instantOf(0);
const ANSWERS = ["Accepted", "Done", "Rejected", "Superseded"] as const;

/**
 * `status` as domain sees it. null: there is none, or it is not one (no phase, or none we know): with a finalizer that means Diverged.
 * A status of a newer protocol keeps only its version: it is never decided upon nor written (S30).
 */
export function statusFrom(raw: unknown, generation: number): Status | null {
  const fields = fieldsOf(raw);
  const version = numberOf(fields["protocolVersion"]) ?? PROTOCOL_VERSION;
  if (version > PROTOCOL_VERSION) return { ...freshStatus(generation), protocolVersion: version };
  const phase = oneOf<Phase>(fields["phase"], PHASES);
  if (phase === null) return null;
  return {
    observedGeneration: countOf(fields["observedGeneration"]),
    phase,
    direction: oneOf(fields["direction"], ["Forward", "Back"]) ?? "Forward",
    protocolVersion: version,
    startedAt: instantAt(fields["startedAt"]),
    finishedAt: instantAt(fields["finishedAt"]),
    deadline: instantAt(fields["deadline"]),
    plan: planFrom(fields["plan"]),
    preview: null,
    epoch: countOf(fields["epoch"]),
    seq: countOf(fields["seq"]),
    instances: textsOf(fields["instances"]),
    stages: listOf(fields["stages"]).map(entryFrom),
    waiting: waitingFrom(fields["waiting"]),
    commands: commandsFrom(fields["commands"]),
    retried: countOf(fields["retried"]),
    pausedFor: spanOf(fields["pausedFor"]),
    abandoned: abandonedFrom(fields["abandoned"]),
    failure: failureFrom(fields["failure"]),
    turnedBackBy: oneOf(fields["turnedBackBy"], ["Rollback", "Cancel", "Deletion", "Failure"]),
    issues: listOf(fields["issues"]).map((item) => {
      const { severity, path, value, message } = fieldsOf(item);
      return {
        severity: oneOf(severity, ["warning"]) ?? "error",
        path: textOf(path) ?? "",
        value: textOf(value) ?? "",
        message: textOf(message) ?? "",
      };
    }),
    history: listOf(fields["history"]).map(historyFrom),
    eventSequence: countOf(fields["eventSequence"]),
    conditions: listOf(fields["conditions"]).map(conditionFrom),
  };
}

function planFrom(raw: unknown): FrozenPlan | null {
  const fields = fieldsOf(raw);
  const digest = textOf(fields["digest"]);
  if (digest === null) return null;
  const effective = fieldsOf(fields["effective"]);
  const retry = fieldsOf(effective["retry"]);
  return {
    digest,
    frozenAt: instantAt(fields["frozenAt"]) ?? EPOCH,
    previous: fields["previous"] === undefined ? null : previousOf(fields["previous"]),
    effective: {
      timeout: spanOf(effective["timeout"]),
      attemptTimeout: spanOf(effective["attemptTimeout"]),
      instanceTimeout: spanOf(effective["instanceTimeout"]),
      retry: {
        maxAttempts: countOf(retry["maxAttempts"]),
        backoff: {
          initial: spanOf(retry["initial"]),
          factor: numberOf(retry["factor"]) ?? 1,
          max: spanOf(retry["max"]),
        },
      },
    },
    unfenced: textsOf(fields["unfenced"]),
  };
}

function waitingFrom(raw: unknown): Waiting | null {
  const fields = fieldsOf(raw);
  const reason = oneOf(fields["reason"], WAITING_REASONS);
  if (reason === null) return null;
  return {
    reason,
    message: textOf(fields["message"]) ?? "",
    since: instantAt(fields["since"]) ?? EPOCH,
    until: instantAt(fields["until"]),
    unblock: textOf(fields["unblock"]) ?? "",
  };
}

export function answerFrom(raw: unknown): Answer | null {
  const fields = fieldsOf(raw);
  const result = oneOf(fields["result"], ANSWERS);
  if (result === null) return null;
  return {
    value: textOf(fields["value"]) ?? "",
    result,
    reason: textOf(fields["reason"]),
    at: instantAt(fields["at"]) ?? EPOCH,
  };
}

function commandsFrom(raw: unknown): Status["commands"] {
  const answers: Partial<Record<CommandField, Answer>> = {};
  for (const [field, value] of Object.entries(fieldsOf(raw))) {
    const known = oneOf<CommandField>(field, ["paused", "rollback", "cancel", "retry", "approvals", "skip"]);
    const answer = answerFrom(value);
    if (known !== null && answer !== null) answers[known] = answer;
  }
  return answers;
}

function abandonedFrom(raw: unknown): Status["abandoned"] {
  const { by, reason, at } = fieldsOf(raw);
  return raw === undefined ? null : { by: textOf(by) ?? "", reason: textOf(reason) ?? "", at: instantAt(at) ?? EPOCH };
}

function failureFrom(raw: unknown): TaskFailure | null {
  const fields = fieldsOf(raw);
  const type = oneOf(fields["type"], FAILURE_TYPES);
  if (type === null) return null;
  return {
    type,
    code: textOf(fields["code"]) ?? "",
    stage: textOf(fields["stage"]),
    message: textOf(fields["message"]) ?? "",
    retryable: fields["retryable"] === true,
    at: instantAt(fields["at"]) ?? EPOCH,
  };
}

function historyFrom(raw: unknown): HistoryEntry {
  const { from, to, at, reason } = fieldsOf(raw);
  return {
    from: oneOf(from, PHASES),
    to: oneOf(to, PHASES) ?? "Created",
    at: instantAt(at) ?? EPOCH,
    reason: textOf(reason) ?? "",
  };
}

function conditionFrom(raw: unknown): Condition {
  const fields = fieldsOf(raw);
  return {
    type: textOf(fields["type"]) ?? "",
    status: oneOf(fields["status"], ["True", "False", "Unknown"]) ?? "Unknown",
    reason: textOf(fields["reason"]) ?? "",
    message: textOf(fields["message"]) ?? "",
    lastTransitionTime: instantAt(fields["lastTransitionTime"]) ?? EPOCH,
  };
}

const KNOWN = [
  "observedGeneration",
  "phase",
  "progress",
  "direction",
  "protocolVersion",
  "startedAt",
  "finishedAt",
  "deadline",
  "plan",
  "preview",
  "epoch",
  "seq",
  "instances",
  "stages",
  "waiting",
  "commands",
  "retried",
  "pausedFor",
  "abandoned",
  "failure",
  "turnedBackBy",
  "issues",
  "history",
  "eventSequence",
  "conditions",
] as const;

/** What the wire says besides the status itself. */
export interface Projection {
  readonly generation: number;
  /** Stages of the spec, for `progress`. */
  readonly total: number;
  readonly conditions: readonly Condition[];
}

/** The raw `status` with every path that is ours replaced; whatever else stood there stays (S32). */
export function statusTo(before: unknown, status: Status, { generation, total, conditions }: Projection): Fields {
  const old = fieldsOf(before);
  const entries = new Map(listOf(old["stages"]).map((entry) => [textOf(fieldsOf(entry)["name"]) ?? "", entry]));
  const settled = status.stages.filter(({ state }) => state === "Completed" || state === "Skipped").length;
  return replaced(before, KNOWN, {
    observedGeneration: generation,
    phase: status.phase,
    progress: `${settled}/${total}`,
    direction: status.direction,
    protocolVersion: status.protocolVersion,
    startedAt: when(status.startedAt),
    finishedAt: when(status.finishedAt),
    deadline: when(status.deadline),
    plan: planTo(old["plan"], status.plan),
    preview: status.preview ?? old["preview"],
    epoch: above0(status.epoch),
    seq: above0(status.seq),
    instances: some(status.instances),
    stages: some(status.stages.map((entry) => replaced(entries.get(entry.name), KNOWN_ENTRY, entryTo(entry)))),
    waiting: status.waiting === null ? undefined : waitingTo(status.waiting),
    commands: filled(
      Object.fromEntries(Object.entries(status.commands).map(([field, answer]) => [field, answerTo(answer)])),
    ),
    retried: above0(status.retried),
    pausedFor: span(status.pausedFor),
    abandoned: status.abandoned === null ? undefined : { ...status.abandoned, at: formatInstant(status.abandoned.at) },
    failure: status.failure === null ? undefined : failureTo(status.failure),
    turnedBackBy: present(status.turnedBackBy),
    issues: status.phase === "ValidationFailed" ? some(status.issues.map(issueTo)) : undefined,
    history: some(
      status.history.map(({ from, to, at, reason }) => ({
        ...(from === null ? {} : { from }),
        to,
        at: formatInstant(at),
        reason,
      })),
    ),
    eventSequence: above0(status.eventSequence),
    conditions: conditions.map(conditionTo),
  });
}

const issueTo = ({ severity, ...rest }: Issue): Fields => ({ ...(severity === "error" ? {} : { severity }), ...rest });

/** A frozen plan never changes: what stands there is kept as it is. */
function planTo(before: unknown, plan: FrozenPlan | null): unknown {
  if (plan === null) return undefined;
  if (fieldsOf(before)["digest"] === plan.digest) return before;
  const { timeout, attemptTimeout, instanceTimeout, retry } = plan.effective;
  return {
    digest: plan.digest,
    frozenAt: formatInstant(plan.frozenAt),
    ...(plan.previous === null ? {} : { previous: placementTo(plan.previous) }),
    effective: {
      timeout: formatDuration(timeout),
      attemptTimeout: formatDuration(attemptTimeout),
      instanceTimeout: formatDuration(instanceTimeout),
      retry: {
        maxAttempts: retry.maxAttempts,
        initial: formatDuration(retry.backoff.initial),
        factor: retry.backoff.factor,
        max: formatDuration(retry.backoff.max),
      },
    },
    ...(plan.unfenced.length === 0 ? {} : { unfenced: plan.unfenced }),
  };
}

const waitingTo = ({ reason, message, since, until, unblock }: Waiting): Fields => ({
  reason,
  message,
  since: formatInstant(since),
  ...(until === null ? {} : { until: formatInstant(until) }),
  unblock,
});

export const answerTo = ({ value, result, reason, at }: Answer): Fields => ({
  value,
  result,
  ...(reason === null ? {} : { reason }),
  at: formatInstant(at),
});

const failureTo = ({ type, code, stage, message, retryable, at }: TaskFailure): Fields => ({
  type,
  code,
  ...(stage === null ? {} : { stage }),
  message,
  retryable,
  at: formatInstant(at),
});

const conditionTo = ({ type, status, reason, message, lastTransitionTime }: Condition): Fields => ({
  type,
  status,
  reason,
  ...(message === "" ? {} : { message }),
  lastTransitionTime: formatInstant(lastTransitionTime),
});
