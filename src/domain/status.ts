import { FAILURES, fault, type Fault } from "../lib/failures.ts";
import { TransitionError } from "../lib/errors.ts";
import { between, type Instant, instantOf, type Millis, millisOf, plus } from "../lib/time.ts";
import { mayEnter, type Phase, stageMayBecome, type StageState } from "./phase.ts";
import { type Because, remake, unblock, WAITING, type WaitingReason } from "./reasons.ts";
import { PROTOCOL_VERSION, type StageEntry, type Status, type Waiting } from "./stored.ts";
import type { TaskView } from "./task.ts";

const HISTORY = 20;
const MESSAGE = 256;

/** The status of a task that nobody has looked at. */
export function freshStatus(generation: number): Status {
  return {
    observedGeneration: generation,
    phase: "Created",
    direction: "Forward",
    protocolVersion: PROTOCOL_VERSION,
    startedAt: null,
    finishedAt: null,
    deadline: null,
    plan: null,
    preview: null,
    epoch: 0,
    seq: 0,
    instances: [],
    stages: [],
    waiting: null,
    commands: {},
    retried: 0,
    pausedFor: millisOf(0),
    abandoned: null,
    failure: null,
    turnedBackBy: null,
    issues: [],
    history: [],
    eventSequence: 0,
    conditions: [],
  };
}

/**
 * Moves along one arrow of TRANSITIONS and notes it in `history`. Entering a phase ends whatever was waited for.
 * @throws TransitionError for an arrow that the table does not have: a bug, never ignored (R23).
 */
export function enter(status: Status, phase: Phase, because: Because, now: Instant): Status {
  if (!mayEnter(status.phase, phase))
    throw new TransitionError(fault("IllegalTransition", { from: status.phase, to: phase }));
  // A successor's reading of the API server's clock may lie up to a second behind its predecessor's.
  const at = instantOf(Math.max(now, status.history.at(-1)?.at ?? now));
  const entry = { from: status.phase, to: phase, at, reason: because };
  return { ...stopWaiting(status, now), phase, history: [...status.history, entry].slice(-HISTORY) };
}

/** Several arrows in one write; each stands in `history`. */
export function pass(status: Status, phases: readonly Phase[], because: Because, now: Instant): Status {
  return phases.reduce((moved, phase) => enter(moved, phase, because, now), status);
}

export const entryOf = (status: Status, stage: string): StageEntry | undefined =>
  status.stages.find((entry) => entry.name === stage);

/** The stage that was claimed and has not settled; at most one (S11). */
export const openEntry = (status: Status): StageEntry | undefined =>
  status.stages.find((entry) => entry.claim !== null);

export function newEntry(name: string): StageEntry {
  return {
    name,
    state: "Pending",
    attempts: 0,
    attemptsBefore: 0,
    seq: 0,
    startedAt: null,
    finishedAt: null,
    since: null,
    ran: millisOf(0),
    claim: null,
    part: null,
    undone: [],
    outcome: null,
    audience: [],
    acked: [],
    failures: [],
    retryAt: null,
    quietUntil: null,
    outputs: null,
    drift: null,
    preset: {},
    skipped: null,
  };
}

/**
 * Puts the entry in the place of the one with its name, or appends it (S5).
 * @throws TransitionError where its state may not follow the stored one.
 */
export function withEntry(status: Status, entry: StageEntry): Status {
  const before = entryOf(status, entry.name);
  const from: StageState = before?.state ?? "Pending";
  if (from !== entry.state && !stageMayBecome(from, entry.state)) {
    throw new TransitionError(fault("IllegalTransition", { from: `${entry.name} ${from}`, to: entry.state }));
  }
  const stages =
    before === undefined ? [...status.stages, entry] : status.stages.map((old) => (old === before ? entry : old));
  return { ...status, stages };
}

/** Says what the task waits for. The same reason keeps its message and its start: the status changes only with the reason. */
export function waitFor(view: TaskView, status: Status, about: WaitAbout, now: Instant): Status {
  const { waiting } = status;
  const message = about.message.slice(0, MESSAGE);
  const until = about.until ?? null;
  const same = waiting?.reason === about.reason && waiting.until === until;
  if (same && (about.fresh !== true || waiting.message === message)) return status;
  const goesOn = waiting?.reason === about.reason;
  const next: Waiting = {
    reason: about.reason,
    message,
    since: goesOn ? waiting.since : now,
    until,
    unblock: wayOut(view, status, about),
  };
  return { ...(goesOn ? status : stopWaiting(status, now)), waiting: next };
}

function wayOut(view: TaskView, status: Status, { reason, stage = "" }: WaitAbout): string {
  const facts = {
    name: view.ref.name,
    namespace: view.ref.namespace,
    tenant: view.spec?.tenantId ?? "?",
    tenantState: view.tenant.name,
    stage,
    expect: expectOf(status),
    retry: String(status.retried + 1),
    epoch: String(view.tenant.status?.epoch ?? status.epoch),
  };
  return reason === "Diverged" && !view.tenant.exists ? remake(facts) : unblock(reason, facts);
}

interface WaitAbout {
  readonly reason: WaitingReason;
  readonly message: string;
  readonly stage?: string;
  readonly until?: Instant | null;
  /** Say it again where the message differs although the reason is the same: another holder, another stage. */
  readonly fresh?: boolean;
}

/** Of the frozen plan; empty before there is one. */
export const digestOf = ({ plan }: Status): string => plan?.digest ?? "";

/** First 12 hex digits of the plan digest: what an approval names to say which plan it is for. */
export const expectOf = (status: Status): string => digestOf(status).replace("sha256:", "").slice(0, 12);

/** Ends the wait; time that counts toward no timeout moves every deadline (protocol.md, Decide and settle). */
export function stopWaiting(status: Status, now: Instant): Status {
  const { waiting } = status;
  if (waiting === null) return status;
  const ended = { ...status, waiting: null };
  return WAITING[waiting.reason].counts ? ended : excuse(ended, between(waiting.since, now));
}

/** Takes `time` out of every clock that runs toward a timeout. */
export function excuse(status: Status, time: Millis): Status {
  if (time === 0) return status;
  return {
    ...status,
    pausedFor: millisOf(status.pausedFor + time),
    deadline: status.deadline === null ? null : plus(status.deadline, time),
    stages: status.stages.map((entry) =>
      entry.startedAt === null || entry.finishedAt !== null
        ? entry
        : { ...entry, since: plus(entry.since ?? entry.startedAt, time) },
    ),
  };
}

/** Time that counts toward the stage's timeout. */
export function ageOf(entry: StageEntry, now: Instant): Millis {
  const since = entry.since ?? entry.startedAt;
  return since === null ? millisOf(0) : between(since, now);
}

/** Attempts that count toward maxAttempts. */
export const attemptsUsed = (entry: StageEntry): number => entry.attempts - entry.attemptsBefore;

/** Keeps the failure where `kubectl get -o yaml` and the conditions show it. `stage` null: the task as a whole. */
export function withFailure(status: Status, what: Fault, stage: string | null, now: Instant): Status {
  const { type, retryable } = FAILURES[what.code];
  const message = `${what.message}; ${what.remedy}`.slice(0, 512);
  return { ...status, failure: { type, code: what.code, stage, message, retryable, at: now } };
}

/** Index of `address` in `instances`, which gains it where it is new: each address is stored once. */
export function intern(
  status: Status,
  addresses: readonly string[],
): { readonly status: Status; readonly indexes: readonly number[] } {
  const instances = [...status.instances];
  const indexes = addresses.map((address) => {
    const at = instances.indexOf(address);
    return at >= 0 ? at : instances.push(address) - 1;
  });
  return { status: instances.length === status.instances.length ? status : { ...status, instances }, indexes };
}

export const addressesOf = (status: Status, indexes: readonly number[]): readonly string[] =>
  indexes.flatMap((i) => status.instances[i] ?? []);
