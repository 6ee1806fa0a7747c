import { NO_FENCE } from "../../src/lib/fence.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { millisOf } from "../../src/lib/time.ts";
import { quietUntil } from "../../src/domain/claims.ts";
import { fenceOf } from "../../src/domain/lock.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import { freshStatus, openEntry } from "../../src/domain/status.ts";
import type { Control } from "../../src/domain/stored.ts";
import type { Act, Decision, Rival, TaskView } from "../../src/domain/task.ts";
import type { HolderFact, TenantDecision } from "../../src/domain/tenant.ts";
import { NO_CONTROL } from "../support/build.ts";
import { KINDS, SETTINGS } from "../support/domain-kinds.ts";
import { type Machine, nameOf } from "./machine.ts";
import { LIMITS, NOW, OLD, TICK } from "./time.ts";
import type { Memory, MemoryFields, Message, Process, TaskObject, TenantObject, World } from "./world.ts";

// What a process knows and what it decides: src/controllers/gather.ts over the values of the model, and the shipped functions.

const controlOf = ({ rollback, cancel }: TaskObject): Control => ({ ...NO_CONTROL, rollback, cancel });

export interface Looking {
  readonly process: number;
  readonly task: TaskObject;
  readonly tenant: TenantObject;
  readonly memory: MemoryFields;
  /** What the next claim will be called. */
  readonly nonce: string;
  /** Whoever made the open claim is taken to be gone. */
  readonly gone: boolean;
}

/** The view of one turn; `status` holds the outcome in hand as well. */
export function viewOf(machine: Machine, looking: Looking): TaskView {
  const { task, tenant, memory } = looking;
  const stored = task.status;
  const status = stored ?? freshStatus(1);
  const view: TaskView = {
    ref: { namespace: "prod", name: nameOf(task.index), uid: task.uid },
    generation: 1,
    deletedAt: task.deleted ? NOW : null,
    finalizer: task.finalizer,
    done: task.done,
    rerun: null,
    spec: machine.spec(task.index),
    issues: [],
    control: controlOf(task),
    stored,
    status,
    tenant: { name: "acme", exists: tenant.exists, fresh: memory.fresh, deleting: false, status: tenant.status },
    rivals: memory.rivals?.list ?? null,
    settings: machine.timed ? { ...SETTINGS, defaults: { ...SETTINGS.defaults, ...LIMITS } } : SETTINGS,
    kinds: KINDS,
    mine:
      memory.polling === null
        ? null
        : { nonce: memory.polling, elapsed: millisOf(0), waitLeft: millisOf(0), memo: null },
    self: { by: `p${looking.process + 1}`, nonce: looking.nonce, jitter: 0 },
    claimSeenFor: millisOf(machine.timed ? (memory.seen?.age ?? 0) * TICK : 0),
    claimantGone: looking.gone,
    rewound: false,
    namespaceTerminating: false,
    policiesMissing: false,
    crowd: { holding: 0, most: 100 },
    eventsPending: false,
  };
  const seen = machine.rules.sees(view, { memory });
  const { inHand } = memory;
  return inHand === null ? seen : { ...seen, status: machine.rules.settle(seen, inHand.act.act, inHand.outcome, NOW) };
}

export interface Decided {
  readonly view: TaskView;
  readonly decision: Decision;
}

/** What the process decides for a task; the same knowledge, the same decision, so it is asked once. */
export function decided(machine: Machine, looking: Looking): Decided {
  const { process, task, tenant, memory, nonce, gone } = looking;
  const key = `decide ${process} ${task.id} ${tenant.id} ${(memory as Memory).id} ${nonce} ${gone}`;
  return machine.once(key, () => {
    const view = viewOf(machine, looking);
    return { view, decision: machine.rules.decide(view, NOW) };
  });
}

/** The least name that no claim of this process bears: in a status, in its memory, or on its way to the API server. */
export function freeNonce(world: World, process: Process, index: number): string {
  const status = world.tasks[index]?.status ?? null;
  const stem = `p${process.index + 1}.${(process.copies[index]?.of.status?.seq ?? 0) + 1}`;
  const { doing, inHand } = process.memories[index] ?? {};
  const taken = new Set<string | undefined>([
    status === null ? undefined : openEntry(status)?.claim?.nonce,
    doing?.act.act.nonce,
    inHand?.act.act.nonce,
    ...world.late.map(({ on, after }) =>
      on === "task" && after.status !== null ? openEntry(after.status)?.claim?.nonce : undefined,
    ),
  ]);
  let nonce = stem;
  while (taken.has(nonce)) nonce += "'";
  return nonce;
}

/** The open claim of `task` that this process does not hold. */
export function foreignClaim(task: TaskObject, memory: MemoryFields): string | null {
  const nonce = task.status === null ? undefined : openEntry(task.status)?.claim?.nonce;
  const own =
    nonce === undefined ||
    nonce === memory.polling ||
    nonce === memory.inHand?.act.act.nonce ||
    nonce === memory.doing?.act.act.nonce;
  return own ? null : nonce;
}

/** Whether the maker of that claim still knows of it: it may act or settle. */
export const isHeld = (world: World, index: number, nonce: string): boolean =>
  world.processes.some(({ memories }) => {
    const memory = memories[index];
    return (
      memory?.doing?.act.act.nonce === nonce ||
      memory?.inHand?.act.act.nonce === nonce ||
      memory?.polling === nonce ||
      memory?.reread?.claimed?.act.nonce === nonce
    );
  });

export function messagesOf(machine: Machine, act: Act, task: TaskObject, view: TaskView): readonly Message[] {
  const value = at(act.inputs, act.part === "publish" ? "/told" : "/value") ?? null;
  return machine.rules.audience(act, view).map((to) => ({
    to,
    store: act.kind === "write",
    fenced: act.endpoint === null || SETTINGS.endpoints[act.endpoint]?.fencing !== "None",
    task: task.index,
    uid: task.uid,
    stage: act.stage,
    does: act.does,
    direction: act.direction,
    part: act.part,
    seq: act.seq,
    fence: act.fence,
    base: act.base,
    opId: act.opId,
    undoes: act.undoes,
    value,
  }));
}

/** A consistent list of the tenant's other tasks. */
export const rivalsOf = (world: World, uid: string): readonly Rival[] =>
  world.tasks
    .filter((task) => task.exists && task.uid !== uid)
    .map(({ index, uid: other, status, finalizer }) => ({
      name: nameOf(index),
      uid: other,
      phase: status?.phase ?? null,
      finalizer,
      fence: status === null || status.epoch === 0 ? NO_FENCE : fenceOf(status),
    }));

/** src/controllers/tenant-state.ts: what a process takes the holder to be. */
export function holderOf(task: TaskObject | undefined, tenant: TenantObject): HolderFact {
  const held = tenant.status?.holder ?? null;
  if (held === null || task === undefined || !task.exists || task.uid !== held.uid) return { is: "vanished" };
  const { status } = task;
  const over =
    status !== null && isTerminal(status.phase) && !(status.phase === "Completed" && held.direction === "Back");
  if (!over) return { is: "moving", diverged: status?.waiting?.reason === "Diverged" ? status.waiting.message : null };
  const fence = status.epoch === 0 ? NO_FENCE : fenceOf(status);
  return { is: "over", abandoned: status.abandoned !== null, fence, quietUntil: quietUntil(status, null) };
}

export function decidedTenant(
  machine: Machine,
  process: Process,
): { readonly decision: TenantDecision; readonly holder: TaskObject | undefined } {
  const tenant = process.tenant.of;
  const uid = tenant.status?.holder?.uid;
  const holder = process.copies.find(({ of }) => of.uid === uid)?.of;
  return machine.once(`tenant ${tenant.id} ${holder?.id}`, () => ({
    holder,
    decision: machine.rules.decideTenant(
      {
        status: tenant.status,
        release: tenant.release,
        deleting: false,
        finalizer: true,
        namespaceTerminating: false,
        policiesMissing: false,
        holder: holderOf(holder, tenant),
      },
      NOW,
    ),
  }));
}

/** Whether the claimant may be taken to be gone: never where receivers check no fence, there only time helps. */
export const ageNeeded = OLD;
