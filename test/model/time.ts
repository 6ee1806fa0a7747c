import { type Instant, instantOf, millisOf, type Millis, plus, seconds } from "../../src/lib/time.ts";
import { statusFrom, statusTo } from "../../src/api/status-wire.ts";
import { tenantFrom, tenantTo } from "../../src/api/tenant-wire.ts";
import type { StageEntry, Status, TenantStatus } from "../../src/domain/stored.ts";
import { NOON } from "../support/manual-clock.ts";

// Time as the model has it. Every moment that is stored is NOON, and it is NOON at every decision: each wait may be over at any moment,
// which is more than can really happen. Where time matters (timed), ticks pass, and what still lies ahead is kept relative to now.

/** Every decision is made at this moment. */
export const NOW: Instant = NOON;
export const TICK: Millis = seconds(10);
/** Limits of the timed models: a claim lives 2 ticks, a request 1. */
export const TIME_TO_LIVE = 2;
export const REQUEST = 1;
export const LIMITS = { attemptTimeout: millisOf(2 * TICK - 5000), instanceTimeout: TICK } as const;
/** Ages beyond this are all the same. */
export const OLD = TIME_TO_LIVE + REQUEST;

/** As it would be read back from the API server, without what no rule reads: moments, counts of the past, texts for people. */
export function normalStatus(status: Status, timed: boolean): Status {
  const wire: unknown = JSON.parse(
    JSON.stringify(statusTo(undefined, forgetful(status, timed), { generation: 1, total: 9, conditions: [] })),
  );
  const read = statusFrom(wire, 1);
  if (read === null) throw new Error("what was stored is no status");
  return read;
}

const noon = (at: Instant | null): Instant | null => (at === null ? null : NOW);

function forgetful(status: Status, timed: boolean): Status {
  const { waiting, plan, commands } = status;
  return {
    ...status,
    observedGeneration: 1,
    startedAt: noon(status.startedAt),
    finishedAt: noon(status.finishedAt),
    deadline: noon(status.deadline),
    plan: plan === null ? null : { ...plan, frozenAt: NOW },
    stages: status.stages.map((entry) => forgetfulEntry(entry, timed)),
    waiting: waiting === null ? null : { ...waiting, since: NOW, until: timed ? waiting.until : noon(waiting.until) },
    commands: Object.fromEntries(Object.entries(commands).map(([field, answer]) => [field, { ...answer, at: NOW }])),
    pausedFor: millisOf(0),
    abandoned: status.abandoned === null ? null : { ...status.abandoned, at: NOW },
    failure: status.failure === null ? null : { ...status.failure, at: NOW },
    history: [],
    eventSequence: 0,
    conditions: [],
  };
}

function forgetfulEntry(entry: StageEntry, timed: boolean): StageEntry {
  const { claim, quietUntil } = entry;
  return {
    ...entry,
    attempts: entry.attempts - entry.attemptsBefore,
    attemptsBefore: 0,
    startedAt: noon(entry.startedAt),
    finishedAt: noon(entry.finishedAt),
    since: noon(entry.since),
    ran: millisOf(0),
    claim: claim === null || timed ? claim : { ...claim, at: NOW, until: noon(claim.until) },
    retryAt: noon(entry.retryAt),
    quietUntil: quietUntil !== null && quietUntil > NOW ? quietUntil : null,
  };
}

export function normalTenant(status: TenantStatus): TenantStatus {
  const { current, unknown, diverged, holder, released } = status;
  const still: TenantStatus = {
    ...status,
    current: current === null ? null : { ...current, since: NOW },
    unknown: unknown === null ? null : { ...unknown, since: NOW },
    diverged: diverged === null ? null : { ...diverged, since: NOW },
    holder: holder === null ? null : { ...holder, since: NOW },
    executions: lastOfEach(status.executions),
    released: released === null ? null : { ...released, at: NOW },
  };
  const read = tenantFrom(JSON.parse(JSON.stringify(tenantTo({}, still))));
  if (read === null) throw new Error("what was stored is no status of a tenant");
  return read;
}

/** Of entries that are alike but for their time the last one stays: only the last of an identity is ever looked at. */
function lastOfEach(executions: TenantStatus["executions"]): TenantStatus["executions"] {
  const said = (one: (typeof executions)[number]): string => `${one.identity} ${one.uid} ${one.outcome}`;
  return executions
    .filter((one, i) => executions.findLastIndex((other) => said(other) === said(one)) === i)
    .map((execution) => ({ ...execution, at: NOW }));
}

/** The status one tick later: what lies ahead is nearer, what lies far behind is all the same. */
export function aged(status: Status): Status {
  const { waiting } = status;
  const stages = status.stages.map((entry) => {
    const { claim, quietUntil } = entry;
    const until = claim === null || claim.until === null ? null : earlier(claim.until);
    return {
      ...entry,
      claim: claim === null ? null : { ...claim, at: earlier(claim.at), until },
      quietUntil: quietUntil === null || earlier(quietUntil) <= NOW ? null : earlier(quietUntil),
    };
  });
  const until = waiting === null || waiting.until === null ? null : notBefore(earlier(waiting.until), NOW);
  return { ...status, stages, waiting: waiting === null ? null : { ...waiting, until } };
}

const FAR = plus(NOW, millisOf(0)) - OLD * TICK;
const earlier = (at: Instant): Instant => notBefore(instantOf(at - TICK), instantOf(FAR));
const notBefore = (at: Instant, bound: Instant): Instant => (at > bound ? at : bound);
