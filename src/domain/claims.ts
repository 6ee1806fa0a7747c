import { formatFence, type Fence } from "../lib/fence.ts";
import type { Json } from "../lib/json.ts";
import { fault } from "../lib/failures.ts";
import { between, formatInstant, type Instant, millisOf, type Millis, plus } from "../lib/time.ts";
import { canonicalJson, hexDigest } from "../lib/digest.ts";
import { enter } from "./status.ts";
import { type Basis, limitsOf, opIdOf, planDigest, type Planned, planStage } from "./plan.ts";
import type { Phase } from "./phase.ts";
import type { Because } from "./reasons.ts";
import {
  ageOf,
  addressesOf,
  entryOf,
  intern,
  newEntry,
  stopWaiting,
  waitFor,
  withEntry,
  withFailure,
} from "./status.ts";
import {
  type Approval,
  CLAIM_GRACE,
  type Direction,
  type FrozenPlan,
  type Previous,
  type StageEntry,
  type StageSpec,
  type Status,
  type TaskSpec,
} from "./stored.ts";
import type { Act, Decision, Mine, TaskView } from "./task.ts";

/** What is claimed: a stage forward, or one part of its undo. */
export interface Target {
  readonly index: number;
  readonly direction: Direction;
  /** null: forward. */
  readonly part: string | null;
  readonly role: "write" | "announce" | "read" | "gate" | "verify";
  readonly probe: Act["probe"];
  /** A claim whose process is gone is taken over: the attempt is not charged to the stage. */
  readonly takeOver: boolean;
}

export const mustSpec = (view: TaskView): TaskSpec => {
  if (view.spec === null) throw new Error(`${view.ref.namespace}/${view.ref.name} was decided upon without a spec`);
  return view.spec;
};

/** Sleeps if the status is stored already, else stores it; the next decision then sleeps. */
export function rest(view: TaskView, status: Status, after: Millis | null, because: Because): Decision {
  return status === view.stored ? { do: "sleep", after, because } : { do: "write", status, because };
}

/** The previous configuration that the plan is, or would be, frozen with. */
export function previousOf(view: TaskView, status: Status): Previous | null {
  if (status.plan !== null) return status.plan.previous;
  const current = view.tenant.status?.current ?? null;
  if (current === null) return view.spec?.previous ?? null;
  const { deployUnit, endpoints, parameters, planVersion, task } = current;
  return { deployUnit, endpoints, parameters, default: current.default, planVersion, task };
}

export function basisOf(
  view: TaskView,
  status: Status,
  target?: Pick<Target, "index" | "direction" | "part">,
  now?: Instant,
): Basis {
  const spec = mustSpec(view);
  const stage = target === undefined ? undefined : spec.stages[target.index];
  const entry = stage === undefined ? undefined : entryOf(status, stage.name);
  const started = entry?.startedAt ?? now ?? null;
  return {
    namespace: view.ref.namespace,
    spec,
    previous: previousOf(view, status),
    settings: view.settings,
    kinds: view.kinds,
    outputs: target === undefined ? () => "later" : (name) => entryOf(status, name)?.outputs ?? {},
    opId:
      target === undefined || stage === undefined
        ? null
        : opIdOf(view.ref.uid, stage.name, target.direction, target.part),
    now: target === undefined || started === null ? null : formatInstant(started),
  };
}

/** The plan as it is frozen with the first claim. */
export function freeze(view: TaskView, status: Status, now: Instant): FrozenPlan {
  const previous = previousOf(view, status);
  const effective = view.settings.defaults;
  return { digest: planDigest(mustSpec(view), previous, effective), frozenAt: now, previous, effective };
}

/**
 * Claims `target`: one status that settles what came before, moves exactly this stage, raises seq, and stores who holds the claim until
 * when (protocol.md, The three steps). Instead of a claim, a wait where the endpoint is gone from the settings or something unfenced may
 * still arrive, and a failure where the plan no longer renders.
 */
export function claim(
  view: TaskView,
  before: Status,
  target: Target,
  about: { readonly phase: Phase; readonly because: Because; readonly now: Instant },
): Decision {
  const { now, because } = about;
  const spec = mustSpec(view);
  const stage = spec.stages[target.index];
  if (stage === undefined) throw new Error(`no stage ${target.index}`);
  const held = hindrance(view, before, { stage, target, now });
  if (held !== null) return held;

  const frozen = before.plan === null ? { ...before, plan: freeze(view, before, now) } : before;
  const { planned, issues } = planStage(basisOf(view, frozen, target, now), target.index, target.direction);
  if (planned === null) {
    return cannotRender(view, before, stage, {
      target,
      now,
      first: issues[0]?.message ?? "",
      path: issues[0]?.path ?? "",
    });
  }
  const moved = frozen.phase === about.phase ? stopWaiting(frozen, now) : enter(frozen, about.phase, because, now);
  return stored(view, moved, { stage, target, planned, because, now });
}

interface Claiming {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly planned: Planned;
  readonly because: Because;
  readonly now: Instant;
}

function stored(view: TaskView, status: Status, { stage, target, planned, because, now }: Claiming): Decision {
  const lock = view.tenant.status;
  if (lock === null || lock.holder?.uid !== view.ref.uid) throw new Error(`claim of ${stage.name} without the lock`);
  const effective = (status.plan ?? freeze(view, status, now)).effective;
  const limits = limitsOf(stage, mustSpec(view), effective);
  const seq = status.seq + 1;
  const underLock = status.epoch === lock.epoch;
  const fences = {
    fence: formatFence(lock.epoch, seq),
    base: underLock ? formatFence(status.epoch, status.seq) : lock.fence,
  };
  const old = entryOf(status, stage.name) ?? newEntry(stage.name);
  const reached = intern(status, audienceOf(status, old, target, planned));
  const timed = target.role !== "gate" && target.role !== "read" && target.role !== "verify";
  const attemptTimeout = timed ? limits.attemptTimeout : null;
  const entry: StageEntry = {
    ...sameOperation(old, target, now),
    state: target.direction === "Forward" ? "Running" : "RollingBack",
    attempts: old.attempts + 1,
    seq,
    startedAt: old.startedAt ?? now,
    finishedAt: null,
    part: target.part,
    ran: ranBefore(old, target, now),
    claim: {
      nonce: view.self.nonce,
      by: view.self.by,
      at: now,
      until: attemptTimeout === null ? null : plus(now, millisOf(attemptTimeout + CLAIM_GRACE)),
    },
    audience: reached.indexes,
    retryAt: null,
    preset: target.role === "gate" && old.startedAt === null ? presetOf(view, stage.name) : old.preset,
  };
  const next = withEntry({ ...reached.status, epoch: lock.epoch, seq }, entry);
  const act = actOf(view, next, { stage, target, planned, entry, fences, limits: { ...limits, attemptTimeout }, now });
  return { do: "act", status: next, act, because };
}

/** A new operation on the stage starts its own count of attempts and acknowledgements. */
function sameOperation(old: StageEntry, { part, takeOver }: Target, now: Instant): StageEntry {
  if (old.part === part) return takeOver ? { ...old, attemptsBefore: old.attemptsBefore + 1 } : old;
  const since = old.startedAt === null ? null : now;
  return { ...old, attemptsBefore: old.attempts, acked: [], failures: [], outcome: null, drift: null, since };
}

/**
 * Whom the act may touch: what was resolved at the first claim belongs to the stage from then on. Announces of the undo go to the forward
 * audience and to the same selection in the previous unit; a verify asks the previous unit only.
 */
function audienceOf(status: Status, old: StageEntry, target: Target, planned: Planned): readonly string[] {
  const known = addressesOf(status, old.audience);
  if (target.role === "verify") return planned.audience;
  if (old.seq === 0) return planned.audience;
  return target.direction === "Forward" ? known : [...new Set([...known, ...planned.audience])];
}

/** Time under a claim of a process that is gone, rounded down: its clock may have run 1 % fast, a Date header is up to 1 s late. */
function ranBefore(old: StageEntry, target: Target, now: Instant): Millis {
  if (target.role !== "gate" || old.claim === null) return old.ran;
  return millisOf(old.ran + Math.max(0, between(old.claim.at, now) * 0.98 - 1000));
}

/** Approvals that stand before the stage waits never count (SEC-13). */
function presetOf(view: TaskView, stage: string): Readonly<Record<string, string>> {
  const given = view.control.approvals[stage] ?? {};
  return Object.fromEntries(Object.entries(given).map(([user, approval]) => [user, approvalDigest(approval)]));
}

export const approvalDigest = (approval: Approval): string =>
  hexDigest("approval", canonicalJson(approval)).slice(0, 12);

interface Acting {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly planned: Planned;
  readonly entry: StageEntry;
  readonly fences: { readonly fence: Fence; readonly base: Fence };
  readonly limits: { readonly attemptTimeout: Millis | null; readonly instanceTimeout: Millis };
  readonly now: Instant;
}

function actOf(view: TaskView, status: Status, { stage, target, planned, entry, fences, limits, now }: Acting): Act {
  const acked = new Set(entry.acked);
  return {
    stage: stage.name,
    kind: stage.kind,
    does: target.direction === "Back" && target.role !== "verify" ? "undo" : "run",
    direction: target.direction,
    part: target.part,
    probe: target.probe,
    recover: recoveryOf(planned, target),
    nonce: entry.claim?.nonce ?? view.self.nonce,
    seq: entry.seq,
    opId: opIdOf(view.ref.uid, stage.name, target.direction, target.part),
    undoes: { opId: opIdOf(view.ref.uid, stage.name, "Forward", null), settled: entry.outputs !== null },
    ...fences,
    inputs: planned.inputs,
    addresses: addressesOf(
      status,
      entry.audience.filter((i) => !acked.has(i)),
    ),
    endpoint: planned.endpoint,
    attemptTimeout: limits.attemptTimeout,
    instanceTimeout: limits.instanceTimeout,
    ran: entry.ran,
    age: ageOf(entry, now),
    onDrift: stage.onDrift,
    approvals: fresh(view.control.approvals[stage.name] ?? {}, entry.preset),
    requestedBy: mustSpec(view).requestedBy,
    policiesMissing: view.policiesMissing,
    digest: status.plan?.digest ?? "",
    memo: null,
  };
}

/** An undo may always be repeated; forward the kind says what it can do. */
export function recoveryOf(planned: Planned, target: Pick<Target, "direction" | "role">): Act["recover"] {
  if (target.direction === "Back") return "repeat";
  if (planned.canProbe) return "probe";
  return planned.idempotent ? "repeat" : "hold";
}

function fresh(
  given: Readonly<Record<string, Approval>>,
  preset: Readonly<Record<string, string>>,
): Readonly<Record<string, Approval>> {
  return Object.fromEntries(
    Object.entries(given).filter(([user, approval]) => preset[user] !== approvalDigest(approval)),
  );
}

/** The same act again under a claim that is stored and ours: reads and gates poll without writes or attempts. */
export function pollOf(
  view: TaskView,
  entry: StageEntry,
  target: Target,
  about: { readonly mine: Mine; readonly now: Instant },
): Act | null {
  const { status } = view;
  const stage = mustSpec(view).stages[target.index];
  if (stage === undefined || status.plan === null) return null;
  const { planned } = planStage(basisOf(view, status, target), target.index, target.direction);
  if (planned === null) return null;
  const limits = limitsOf(stage, mustSpec(view), status.plan.effective);
  const fence = formatFence(status.epoch, entry.seq);
  const act = actOf(view, status, {
    stage,
    target,
    planned,
    entry,
    fences: { fence, base: fence },
    limits: { ...limits, attemptTimeout: null },
    now: about.now,
  });
  return { ...act, ran: millisOf(entry.ran + about.mine.elapsed), memo: about.mine.memo };
}

interface Hindered {
  readonly stage: StageSpec;
  readonly target: Target;
  readonly now: Instant;
}

/** Why the claim has to wait; null where it need not. */
function hindrance(view: TaskView, status: Status, { stage, target, now }: Hindered): Decision | null {
  const name = endpointName(stage.config);
  if (name !== null && view.settings.endpoints[name] === undefined) {
    const message = `stage ${stage.name} needs endpoint ${name}, which is not in the operator's settings`;
    return rest(
      view,
      waitFor(view, status, { reason: "EndpointUnavailable", message, stage: stage.name }, now),
      null,
      "EndpointUnavailable",
    );
  }
  if (name === null || view.settings.endpoints[name]?.fencing !== "None" || target.role === "verify") return null;
  const quiet = quietUntil(status, { except: stage.name, part: target.part });
  if (quiet === null || quiet <= now) return null;
  const message = `stage ${stage.name} goes to a receiver without fences; what was sent before may still arrive`;
  return rest(
    view,
    waitFor(view, status, { reason: "Quiescing", message, stage: stage.name, until: quiet }, now),
    between(now, quiet),
    "Quiescing",
  );
}

/** Until when something that another operation of this task sent without a fence may still arrive; null: nothing may. */
export function quietUntil(
  status: Status,
  own: { readonly except: string; readonly part: string | null } | null,
): Instant | null {
  const others = status.stages.filter((entry) => own === null || entry.name !== own.except || entry.part !== own.part);
  const times = others.flatMap((entry) => entry.quietUntil ?? []);
  return times.length === 0 ? null : times.reduce((a, b) => (a > b ? a : b));
}

export function endpointName(config: Readonly<Record<string, Json>>): string | null {
  return typeof config["endpoint"] === "string" ? config["endpoint"] : null;
}

interface NotRendered {
  readonly target: Target;
  readonly now: Instant;
  readonly path: string;
  readonly first: string;
}

/** The plan rendered when it was frozen and does not now: an output is missing, or a policy was narrowed. */
function cannotRender(
  view: TaskView,
  status: Status,
  stage: StageSpec,
  { target, now, path, first }: NotRendered,
): Decision {
  const failed = withFailure(status, fault("InvalidSpec", { count: "1", path, message: first }), stage.name, now);
  if (target.direction === "Back") {
    return rest(
      view,
      enter(reach(failed, "RollingBack", now), "RollbackFailed", "UndoFailed", now),
      null,
      "UndoFailed",
    );
  }
  if (status.phase === "Pending") {
    const issues = [{ severity: "error" as const, path, value: "", message: first }];
    return rest(
      view,
      { ...enter({ ...failed, issues }, "ValidationFailed", "SpecInvalid", now), finishedAt: now },
      null,
      "SpecInvalid",
    );
  }
  return rest(view, enter(reach(failed, "Running", now), "Failed", "StageFailed", now), null, "StageFailed");
}

/** In `phase`, entered if need be. */
const reach = (status: Status, phase: Phase, now: Instant): Status =>
  status.phase === phase ? status : enter(status, phase, "RetryAsked", now);
