import { deepEqual } from "../lib/deep-equal.ts";
import { fault, type Fault } from "../lib/failures.ts";
import { type Fence, maxFence, NO_FENCE } from "../lib/fence.ts";
import { type Instant, millisOf, seconds } from "../lib/time.ts";
import { basisOf, freeze, mustSpec } from "./basis.ts";
import { rest } from "./claims.ts";
import { goOn } from "./forward.ts";
import { epochOf, takeLock } from "./lock.ts";
import { identityOf } from "./plan.ts";
import { previewOf } from "./preview.ts";
import { enter, waitFor, withFailure } from "./status.ts";
import type { Current, Issue, Placement, Previous, Status, TenantStatus } from "./stored.ts";
import type { Decision, Rival, TaskView } from "./task.ts";
import { validate } from "./validate.ts";

const MOST_ISSUES = 50;
/** Nothing tells when a rival without a TenantState comes to rest: look again. */
const RELIST = seconds(30);

/** Never looked at, or looked at and not decided: validate, then Pending. One write (protocol.md, Lock: budget N+6). */
export function created(view: TaskView, now: Instant): Decision {
  const seen = view.status.phase === "Created" ? enter(view.status, "Validating", "TaskSeen", now) : view.status;
  const { issues, errors } = checked(view, "open");
  if (errors !== null) return invalid(seen, { issues, errors }, now);
  if (mustSpec(view).dryRun) return dryRun(view, seen, now);
  const replay = replayOf(view);
  if (replay !== null) return view.tenant.fresh ? replayed(seen, replay, now) : READ_TENANT;
  const pending = enter({ ...seen, issues: shown(issues) }, "Pending", "SpecValid", now);
  return { do: "write", status: pending, because: "SpecValid" };
}

const READ_TENANT: Decision = { do: "read", what: "tenant", because: "MustReadTenant" };
const CREATE_TENANT: Decision = { do: "create-tenant", because: "TenantUnknown" };

interface Checked {
  readonly issues: readonly Issue[];
  /** null: none. */
  readonly errors: readonly [Issue, ...Issue[]] | null;
}

function checked(view: TaskView, previous: "open" | "resolved"): Checked {
  const { spec, tenant, ref } = view;
  const holder = tenant.status?.holder ?? null;
  const rivals = holder === null || holder.uid === ref.uid ? [] : [holder.task];
  const issues =
    spec === null ? view.issues : validate(spec, { basis: basisOf(view, view.status), previous, rivals }).issues;
  const [first, ...others] = issues.filter(({ severity }) => severity === "error");
  return { issues, errors: first === undefined ? null : [first, ...others] };
}

function invalid(
  status: Status,
  { issues, errors }: { readonly issues: readonly Issue[]; readonly errors: readonly [Issue, ...Issue[]] },
  now: Instant,
): Decision {
  const [{ path, value, message }, ...others] = errors;
  const what = fault("InvalidSpec", {
    path: `${path}${value === "" ? "" : `=${value}`}`,
    message,
    others: others.length === 0 ? "" : ` (and ${others.length} more: see the condition Validated)`,
  });
  return refuse({ ...status, issues: shown(issues) }, { what, now, because: "SpecInvalid" });
}

/** As many issues as the status takes, errors first, each cut to its fields (api.md, Validation). */
const shown = (issues: readonly Issue[]): readonly Issue[] =>
  issues
    .toSorted((a, b) => Number(a.severity === "warning") - Number(b.severity === "warning"))
    .slice(0, MOST_ISSUES)
    .map(({ severity, path, value, message }) => ({
      severity,
      path: path.slice(0, 128),
      value: value.slice(0, 128),
      message: message.slice(0, 256),
    }));

interface Refusal {
  readonly what: Fault;
  readonly now: Instant;
  readonly because: "SpecInvalid" | "PreviousMoved" | "PreviousUnknown";
}

function refuse(status: Status, { what, now, because }: Refusal): Decision {
  const refused = enter(withFailure(status, what, null, now), "ValidationFailed", because, now);
  return { do: "write", status: { ...refused, finishedAt: now }, because };
}

function dryRun(view: TaskView, status: Status, now: Instant): Decision {
  const planned = { ...status, plan: freeze(view, status, now) };
  const { issues, errors } = checked({ ...view, status: planned }, "resolved");
  if (errors !== null) return invalid(status, { issues, errors }, now);
  const preview = previewOf(view, planned, issues);
  const ended = enter({ ...planned, preview, issues: shown(issues) }, "Completed", "DryRun", now);
  return { do: "write", status: { ...ended, finishedAt: now }, because: "DryRun" };
}

type Replayed = "AlreadyExecuted" | "Replay";

/** The same object, made again, was executed before (api.md, Replay). */
function replayOf(view: TaskView): Replayed | null {
  const { tenant, ref, done } = view;
  const identity = identityOf(ref.name, mustSpec(view), view.rerun);
  const before = tenant.status?.executions
    .filter((execution) => execution.identity === identity && execution.uid !== ref.uid)
    .at(-1);
  if (before === undefined) return done ? "Replay" : null;
  const there = tenant.status?.current ?? null;
  return before.outcome === "Completed" && there !== null && isTarget(view, there) ? "AlreadyExecuted" : "Replay";
}

const isTarget = (view: TaskView, current: Current): boolean =>
  deepEqual(placementOf(current), placementOf(mustSpec(view).target)) &&
  current.planVersion === mustSpec(view).plan.version;

const placementOf = ({ deployUnit, endpoints, parameters }: Placement): unknown => ({
  deployUnit,
  endpoints,
  parameters,
});

function replayed(status: Status, replay: Replayed, now: Instant): Decision {
  const phase = replay === "AlreadyExecuted" && status.phase === "Validating" ? "Completed" : "Cancelled";
  return { do: "write", status: { ...enter(status, phase, replay, now), finishedAt: now }, because: replay };
}

/**
 * Waits for unit and lock, takes the lock, and makes the first claim. What rests on TenantState is refused only after a consistent
 * read (◆); taking the lock needs none, since the write is checked against the version it was decided on.
 */
export function pending(view: TaskView, now: Instant): Decision {
  const { status, tenant, ref } = view;
  const spec = mustSpec(view);
  if (spec.executionUnit !== null) {
    const message = `the task names unit ${spec.executionUnit}, which does not admit it`;
    return rest(view, waitFor(view, status, { reason: "UnitUnavailable", message }, now), null, "UnitUnavailable");
  }
  if (tenant.deleting) return waitForLock(view, `TenantState ${tenant.name} is being deleted`, now);
  const lock = tenant.status ?? firstLock(view, now);
  if ("do" in lock) return lock;
  if (!view.finalizer) return { do: "finalizer", because: "HoldFinalizer" };
  if (lock.diverged !== null) {
    const message = `tenant ${spec.tenantId} is Diverged: ${lock.diverged.reason}`;
    return rest(view, waitFor(view, status, { reason: "Diverged", message, fresh: true }, now), null, "Diverged");
  }
  if (lock.holder !== null && lock.holder.uid !== ref.uid) {
    return waitForLock(
      view,
      `tenant ${spec.tenantId} is held by ${ref.namespace}/${lock.holder.task} (${lock.holder.uid})`,
      now,
    );
  }
  if (lock.holder !== null) return goOn(view, status, now, "LockTaken");
  const refused = refusal(view, lock, now);
  if (refused !== null) return refused;
  if (view.crowd.holding >= view.crowd.most) return waitForRoom(view, now);
  return { do: "lock", tenant: takeLock(view, lock, "Forward", now), because: "LockFree" };
}

function waitForLock(view: TaskView, message: string, now: Instant): Decision {
  const about = { reason: "WaitingForLock", message, fresh: true } as const;
  return rest(view, waitFor(view, view.status, about, now), null, "WaitingForLock");
}

/** As many tasks of the namespace hold a tenant as may (SEC-40). Looks again spread out, so that thousands do not come at once. */
function waitForRoom(view: TaskView, now: Instant): Decision {
  const message = `${view.crowd.most} tasks of namespace ${view.ref.namespace} are under way, which is the limit`;
  const waiting = waitFor(view, view.status, { reason: "WaitingForAdmission", message }, now);
  return rest(view, waiting, millisOf(2000 + 8000 * view.self.jitter), "WaitingForAdmission");
}

/**
 * No TenantState, or one without a status: it is made only after a consistent LIST shows no task of the tenant with our finalizer
 * that is not RolledBack or Cancelled, for such a task may still hold the lock that is gone (◆).
 */
function firstLock(view: TaskView, now: Instant): TenantStatus | Decision {
  const { rivals } = view;
  if (rivals === null) return { do: "read", what: "rivals", because: "TenantUnknown" };
  const dirty = rivals.filter(({ finalizer, phase }) => finalizer && phase !== "RolledBack" && phase !== "Cancelled");
  const [first] = dirty;
  if (first !== undefined) return waitForRivals(view, [first, ...dirty], now);
  const lock = firstStatus(rivals, now);
  return view.tenant.exists ? lock : (refusal(view, lock, now) ?? CREATE_TENANT);
}

function waitForRivals(view: TaskView, dirty: readonly [Rival, ...Rival[]], now: Instant): Decision {
  const { tenantId } = mustSpec(view);
  const broken = dirty.find(({ fence, phase }) => fence !== NO_FENCE || phase === null);
  // It may be about to take the lock, or may have had it: nothing was claimed under it, and nothing is broken.
  const reason = broken === undefined ? "WaitingForLock" : "Diverged";
  const who = broken ?? dirty[0];
  const message = `tenant ${tenantId} has no TenantState while ${who.name} (${who.uid}) may hold it`;
  const waiting = waitFor(view, view.status, { reason, message, fresh: true }, now);
  return rest(view, waiting, RELIST, reason);
}

/** A tenant that ran before and lost its record is at an unknown place; a new one is simply new. */
function firstStatus(rivals: readonly Rival[], now: Instant): TenantStatus {
  const ran = rivals.some(({ fence }) => fence !== NO_FENCE);
  const fence: Fence = maxFence(...rivals.map((rival) => rival.fence));
  return {
    current: null,
    unknown: ran ? { since: now, by: "TenantState was made again" } : null,
    diverged: null,
    holder: null,
    epoch: epochOf(fence),
    fence,
    executions: [],
    released: null,
  };
}

/** Before a record is made for the tenant (SEC-40), and again with what it says; only after a consistent read of it (◆). */
function refusal(view: TaskView, lock: TenantStatus, now: Instant): Decision | null {
  const refused = refusalAtLock(view, lock, now);
  return refused === null || view.tenant.fresh ? refused : READ_TENANT;
}

function refusalAtLock(view: TaskView, lock: TenantStatus, now: Instant): Decision | null {
  const replay = replayOf({ ...view, done: false });
  if (replay !== null) return replayed(view.status, replay, now);
  const spec = mustSpec(view);
  if (spec.previous !== null && lock.current !== null && !agrees(spec.previous, lock.current)) {
    const what = fault("PreviousMoved", { stated: said(spec.previous), actual: said(lock.current) });
    return refuse(view.status, { what, now, because: "PreviousMoved" });
  }
  if (spec.previous === null && lock.unknown !== null) {
    const what = fault("PreviousUnknown", { tenant: spec.tenantId });
    return refuse(view.status, { what, now, because: "PreviousUnknown" });
  }
  const { issues, errors } = checked(view, "resolved");
  return errors === null ? null : invalid(view.status, { issues, errors }, now);
}

const said = ({ deployUnit, planVersion }: Pick<Previous, "deployUnit" | "planVersion">): string =>
  `${deployUnit.name} (unit ${deployUnit.id} version ${deployUnit.version}, plan version ${planVersion})`;

/** Stated and recorded placement are the same place; what the task leaves out is not compared. */
function agrees(stated: Previous, current: Current): boolean {
  return (
    deepEqual(stated.deployUnit, current.deployUnit) &&
    stated.planVersion === current.planVersion &&
    (stated.endpoints.length === 0 || deepEqual(stated.endpoints, current.endpoints)) &&
    (Object.keys(stated.parameters).length === 0 || deepEqual(stated.parameters, current.parameters))
  );
}
