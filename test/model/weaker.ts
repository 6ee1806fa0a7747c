import { NO_FENCE } from "../../src/lib/fence.ts";
import { millisOf } from "../../src/lib/time.ts";
import { freeze } from "../../src/domain/basis.ts";
import { decide } from "../../src/domain/decide.ts";
import { fenceOf, releaseLock } from "../../src/domain/lock.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import type { StageEntry } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { decideTenant } from "../../src/domain/tenant.ts";
import { receive } from "./receivers.ts";
import type { Receiver, Rules } from "./world.ts";

// Looser readings of the protocol: each is one rule replaced, in the model's shell or at its receivers, never in the product.

type Looser = Partial<Rules>;

/** Both what is stored and what is wanted: a process that sees it so sees no difference between them. */
const seenAs = (view: TaskView, stages: readonly StageEntry[]): TaskView => {
  const status = { ...view.status, stages };
  return { ...view, status, stored: view.stored === null ? null : status };
};

const forgetful = (receiver: Receiver): Receiver =>
  receiver.is === "service"
    ? { ...receiver, seen: NO_FENCE }
    : { ...receiver, record: receiver.record === null ? null : { ...receiver.record, seen: NO_FENCE, last: "" } };

/** Receivers take whatever comes, in the order in which it comes. */
export const NO_FENCES: Looser = { receive: (receiver, message) => receive(forgetful(receiver), message) };

/** Who finds a claim whose maker is gone sends again under it, without one of his own. */
export const SENT_AGAIN: Looser = { adopts: true };

/** The undo writes its fence only where there is something to take back. */
export const UNDO_WITHOUT_FENCE: Looser = {
  receive(receiver, message) {
    const isBare = receiver.is === "store" ? receiver.record?.opId !== message.undoes.opId : false;
    if (message.does === "undo" && isBare) return { receiver, verdict: "applied" };
    return receive(receiver, message);
  },
};

/** What an undo leaves is no record at all where there was none before. ◆ */
export const NOTHING_REMAINS: Looser = {
  receive(receiver, message) {
    const { receiver: after, verdict } = receive(receiver, message);
    if (message.does !== "undo" || after.is !== "store" || verdict !== "applied") return { receiver: after, verdict };
    return { receiver: { ...after, record: null }, verdict };
  },
};

/** What an undo leaves does not say whose undo it was. ◆ */
export const UNDO_UNSIGNED: Looser = {
  receive(receiver, message) {
    const { receiver: after, verdict } = receive(receiver, message);
    if (after.is !== "store" || after.record === null) return { receiver: after, verdict };
    return { receiver: { ...after, record: { ...after.record, undo: null } }, verdict };
  },
};

/** Only what settled Completed is undone. */
export const COMPLETED_ONLY: Looser = {
  sees(view) {
    if (view.status.direction === "Forward" && !view.control.rollback) return view;
    const undone = ["write", "announce"];
    const stages = view.status.stages.map((entry) =>
      entry.outputs !== null || entry.state === "RolledBack"
        ? entry
        : { ...entry, state: "RollingBack" as const, claim: null, undone },
    );
    return { ...view, status: { ...view.status, stages } };
  },
};

/** Announces of the undo go to the previous unit alone. */
export const PREVIOUS_ONLY: Looser = {
  audience({ addresses, direction, endpoint }, { status }) {
    const places = status.plan?.previous?.endpoints ?? [];
    if (direction === "Forward" || endpoint === "store") return addresses;
    const before = places.map(({ key, host, port }) => `${key}|${host}:${port}`);
    return addresses.filter((address) => before.includes(address));
  },
};

/** The base of a rollback of Completed is the task's own last claim, as it is for every other. ◆ */
export const OWN_BASE: Looser = {
  decide(view, now) {
    const decision = decide(view, now);
    if (decision.do !== "act" || decision.status === null || view.status.epoch === 0) return decision;
    return { ...decision, act: { ...decision.act, base: fenceOf(view.status) } };
  },
};

const holds = ({ tenant, ref }: TaskView): boolean => tenant.status?.holder?.uid === ref.uid;

const facing = (view: TaskView, direction: "Forward" | "Back"): TaskView => {
  const { status } = view.tenant;
  if (status === null || status.holder === null) return view;
  return { ...view, tenant: { ...view.tenant, status: { ...status, holder: { ...status.holder, direction } } } };
};

/** A Completed task that still holds its lock goes back under that. ◆ */
export const BACK_UNDER_FORWARD: Looser = {
  sees: (view) =>
    view.status.phase === "Completed" && holds(view) && view.control.rollback ? facing(view, "Back") : view,
};

/** A Completed holder is released whatever its lock was taken for. ◆ */
export const RELEASED_WHILE_BACK: Looser = {
  sees: (view) =>
    view.status.phase === "Completed" && holds(view) && !view.tenant.fresh ? facing(view, "Forward") : view,
};

/** What was rolled back to may be rolled back as well. ◆ */
export const ALWAYS_RESTORABLE: Looser = {
  sees(view) {
    const { status } = view.tenant;
    const current = status?.current ?? null;
    if (status === null || current === null) return view;
    return { ...view, tenant: { ...view.tenant, status: { ...status, current: { ...current, restorable: true } } } };
  },
};

/** The cache is taken for a consistent read. ◆ */
export const CACHE_BELIEVED: Looser = { sees: (view) => ({ ...view, tenant: { ...view.tenant, fresh: true } }) };

/** `previous` is what TenantState says when the task is accepted. ◆ */
export const PREVIOUS_TOO_EARLY: Looser = {
  decide(view, now) {
    const decision = decide(view, now);
    if (decision.do !== "write" || decision.because !== "SpecValid") return decision;
    return { ...decision, status: { ...decision.status, plan: freeze(view, decision.status, now) } };
  },
};

/** Whoever ends says where the tenant is, whether anything was claimed under this lock or not. ◆ */
export const ALWAYS_SAYS_WHERE: Looser = {
  decide(view, now) {
    const decision = decide(view, now);
    const lock = view.tenant.status;
    if (decision.do !== "release" || lock === null) return decision;
    const { epoch } = lock;
    return { ...decision, tenant: { ...releaseLock(view, { ...lock, epoch: view.status.epoch }, now), epoch } };
  },
};

/** The patch that ends it carries no version. ◆ */
export const PATCH_UNCHECKED: Looser = { patchChecked: false };

/** A missing TenantState is made without a list of the tenant's tasks. ◆ */
export const NOT_LISTED: Looser = { sees: (view) => ({ ...view, rivals: view.rivals ?? [] }) };

/** Of the tasks in that list only those that are not over count. ◆ */
export const COMPLETED_NOT_COUNTED: Looser = {
  sees: (view) => ({
    ...view,
    rivals: view.rivals?.filter(({ phase }) => phase === null || !isTerminal(phase)) ?? null,
  }),
};

/** A TenantState that is made again begins without a fence. ◆ */
export const FENCE_FORGOTTEN: Looser = {
  sees: (view) => ({ ...view, rivals: view.rivals?.map((rival) => ({ ...rival, fence: NO_FENCE })) ?? null }),
};

/** How long a claim is waited for goes by its own `until` and a clock that is ahead. ◆ */
export const BY_THE_WALL: Looser = { sees: (view) => ({ ...view, claimSeenFor: millisOf(3_600_000) }) };

/** The lock is given back while something may still arrive. */
export const RELEASED_BEFORE_QUIET: Looser = {
  sees(view) {
    if (!isTerminal(view.status.phase)) return view;
    const stages = view.status.stages.map((entry) => ({ ...entry, quietUntil: null }));
    return seenAs(view, stages);
  },
};

/** A force release does not wait for it. ◆ */
export const FORCED_BEFORE_QUIET: Looser = {
  decideTenant(facts, now) {
    const { holder } = facts;
    return decideTenant({ ...facts, holder: holder.is === "over" ? { ...holder, quietUntil: null } : holder }, now);
  },
};

/** Only claims of the same stage are waited for, not those of the tenant. ◆ */
export const OWN_STAGE_ONLY: Looser = {
  sees(view) {
    if (isTerminal(view.status.phase)) return view;
    const stages = view.status.stages.map((entry) => ({ ...entry, quietUntil: null }));
    return seenAs(view, stages);
  },
};
