import { type Fence, formatFence, maxFence, NO_FENCE } from "../lib/fence.ts";
import type { Instant } from "../lib/time.ts";
import { identityOf } from "./plan.ts";
import type { Current, Direction, Execution, Status, TenantStatus } from "./stored.ts";
import type { TaskView } from "./task.ts";
import { wasClaimed } from "./undo.ts";

const LEDGER = 20;

/**
 * The lock taken by this task. The epoch grows beyond every earlier one, beyond a fence that a person lifted, and beyond the API server's
 * clock in seconds, so it still grows after the cluster was restored from an old backup (protocol.md, The three steps).
 */
export function takeLock(view: TaskView, lock: TenantStatus, direction: Direction, now: Instant): TenantStatus {
  const holder = {
    task: view.ref.name,
    uid: view.ref.uid,
    unit: view.spec?.executionUnit ?? null,
    direction,
    since: now,
  };
  const epoch = Math.max(lock.epoch + 1, epochOf(lock.fence) + 1, Math.floor(now / 1000));
  return { ...lock, holder, epoch };
}

/** The lock given back at the end of a task: ledger, and place and fence if something was claimed under this lock (◆). */
export function releaseLock(view: TaskView, lock: TenantStatus, now: Instant): TenantStatus {
  const { status } = view;
  const free: TenantStatus = {
    ...lock,
    holder: null,
    executions: [...lock.executions, execution(view, now)].slice(-LEDGER),
  };
  if (status.epoch !== lock.epoch) return free;
  return { ...free, fence: maxFence(lock.fence, fenceLeft(status)), ...placeAfter(view, lock, now) };
}

/** First half of a fence. */
export const epochOf = (fence: Fence): number => Number(fence.slice(0, 10));

const HIGHEST_SEQ = 99_999_999;

/** Above everything that may have been sent under the lock of that epoch. */
export const fenceAbove = (epoch: number): Fence => formatFence(epoch, HIGHEST_SEQ);

/** Greatest fence of a task that is over. An abandoned one may have sent more than its status knows: people release what lost its history. */
export function fenceLeft({ epoch, seq, abandoned }: Pick<Status, "epoch" | "seq" | "abandoned">): Fence {
  if (epoch === 0) return NO_FENCE;
  return abandoned === null ? formatFence(epoch, seq) : fenceAbove(epoch);
}

export const fenceOf = (status: Pick<Status, "epoch" | "seq">): Fence => formatFence(status.epoch, status.seq);

function execution(view: TaskView, now: Instant): Execution {
  const identity = view.spec === null ? view.ref.uid : identityOf(view.ref.name, view.spec, view.rerun);
  return { identity, uid: view.ref.uid, outcome: view.status.phase, at: now };
}

type Place = Pick<TenantStatus, "current" | "unknown">;

function placeAfter(view: TaskView, lock: TenantStatus, now: Instant): Place {
  const { status, ref } = view;
  if (status.abandoned !== null) return { current: null, unknown: { since: now, by: status.abandoned.by } };
  if (status.phase === "Completed") return arrived(view, now);
  const previous = status.plan?.previous ?? null;
  // Rolled back before it completed: the tenant never left, and what brought it here may still be rolled back.
  if (lock.current !== null && lock.current.task?.uid !== ref.uid) return { current: lock.current, unknown: null };
  if (previous === null) return { current: null, unknown: null };
  const { planVersion, task, deployUnit, endpoints, parameters } = previous;
  const back = {
    deployUnit,
    endpoints,
    parameters,
    default: previous.default,
    planVersion,
    task,
    since: now,
    restorable: false,
  };
  return { current: back, unknown: null };
}

function arrived({ spec, ref, status }: TaskView, now: Instant): Place {
  if (spec === null)
    return { current: null, unknown: { since: now, by: `${ref.name}: its spec no longer decodes`.slice(0, 128) } };
  const { target, plan } = spec;
  const task = { name: ref.name, uid: ref.uid };
  const current: Current = {
    ...target,
    planVersion: plan.version,
    since: now,
    task,
    restorable: status.stages.some(wasClaimed),
  };
  return { current, unknown: null };
}
