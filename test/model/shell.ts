import { never } from "../../src/lib/never.ts";
import { openEntry } from "../../src/domain/status.ts";
import type { TenantStatus } from "../../src/domain/stored.ts";
import type { Act, Decision } from "../../src/domain/task.ts";
import type { Machine } from "./machine.ts";
import type { Step } from "./search.ts";
import { type Turn, memoryOf, named, remembering, spend, withProcess } from "./turn.ts";
import { decided, foreignClaim, freeNonce, isHeld } from "./view.ts";
import type { Process, TaskFields, TaskObject, TenantObject, World } from "./world.ts";
import { created, listed, lockWritten, readTenant, refused, reread, sent, written } from "./writes.ts";

// One turn of one process: src/controllers/act.ts, request by request. Between two requests of a process anything else may happen.

/** Everything this process may do next for this task. */
export function turns(turn: Turn): readonly Step<World>[] {
  const { machine, world, process, index } = turn;
  const memory = memoryOf(turn);
  if (memory.doing !== null) return [];
  if (memory.reread !== null) return [reread(turn, memory.reread)];
  const copy = process.copies[index];
  if (copy === undefined || !copy.of.exists) return [];
  if (copy.blind === true) return [refused(turn)];
  const uid = process.tenant.of.status?.holder?.uid;
  const isBetweenTurns = memory.inHand === null && !memory.fresh;
  if (isBetweenTurns && copy.of.done && !copy.of.rollback && uid !== copy.of.uid) return [];
  const foreign = foreignClaim(copy.of, memory);
  const held = foreign !== null && isHeld(world, index, foreign);
  const waits = one({ ...turn, process: looked(turn, foreign) }, false);
  if (foreign === null || (held && world.may.early === 0)) return waits;
  const takes = one({ ...turn, process: looked(turn, foreign) }, true);
  const costs = held
    ? takes.map((step) => ({ ...step, fair: false, world: spend(machine, step.world, "early") }))
    : takes;
  return [...waits, ...costs];
}

/** First sight of a claim that is not its own starts this process's wait. */
export function looked({ machine, process, index }: Turn, foreign: string | null): Process {
  const memory = process.memories[index];
  if (!machine.timed || memory === undefined || memory.seen?.nonce === (foreign ?? undefined)) return process;
  const seen = foreign === null ? null : { nonce: foreign, age: 0 };
  return remembering(machine, process, index, machine.memory({ seen }, memory));
}

function one(turn: Turn, gone: boolean): readonly Step<World>[] {
  const { machine, world, process, index } = turn;
  const memory = memoryOf(turn);
  const task = process.copies[index]?.of;
  if (task === undefined) return [];
  const nonce = freeNonce(world, process, index);
  const { decision, view } = decided(machine, {
    process: process.index,
    task,
    tenant: process.tenant.of,
    memory,
    nonce,
    gone,
  });
  if (machine.rules.adopts && gone && decision.do === "act" && isSameAct(task, decision.act))
    return [adopted(turn, decision)];
  const key = `${process.index} ${task.id} ${process.tenant.of.id} ${memory.id} ${nonce} ${gone}`;
  return carriedOut(turn, decision, { key, task, uid: view.ref.uid });
}

/** What would be claimed is what is claimed already. */
function isSameAct({ status }: TaskObject, { stage, part }: Act): boolean {
  const open = status === null ? undefined : openEntry(status);
  return open?.name === stage && open.part === part && open.claim !== null;
}

interface Deciding {
  /** Stands for everything that the decision rests on. */
  readonly key: string;
  readonly task: TaskObject;
  readonly uid: string;
}

function carriedOut(turn: Turn, decision: Decision, { key, task, uid }: Deciding): readonly Step<World>[] {
  const { machine, process } = turn;
  const says = (what: string): string => (turn.telling ? `${named(turn)} ${what}` : "");
  const after = (): TaskObject => machine.once(`after ${key}`, () => afterOf(machine, task, decision));
  switch (decision.do) {
    case "sleep":
    case "leave":
      return slept(turn, decision);
    case "act":
      return decision.status === null ? [polled(turn, decision)] : written(turn, decision, after());
    case "write":
    case "finalizer":
    case "remove":
      return written(turn, decision, after());
    case "lock":
    case "release": {
      const lock = machine.once(`lock ${key}`, () => lockAfter(machine, process.tenant.of, decision.tenant));
      return lockWritten(turn, decision, lock);
    }
    case "create-tenant":
      return [created(turn)];
    case "read":
      return decision.what === "tenant"
        ? [{ world: readTenant(turn), wrong: null, fair: true, says: says("reads TenantState") }]
        : [{ world: listed(turn, uid), wrong: null, fair: true, says: says("lists the tenant's tasks") }];
    default:
      return never(decision);
  }
}

/** The task's object as the decision wants it. */
export function afterOf(machine: Machine, task: TaskObject, decision: Decision): TaskObject {
  const fields: Partial<TaskFields> =
    decision.do === "finalizer"
      ? { finalizer: true, done: false }
      : decision.do === "remove"
        ? { finalizer: false, done: true }
        : { status: "status" in decision ? decision.status : null };
  return machine.task({ ...task, ...fields });
}

export const lockAfter = (machine: Machine, tenant: TenantObject, status: TenantStatus): TenantObject =>
  machine.tenant({ ...tenant, status });

/** The turn is over; what it read is forgotten, an outcome that fits nothing any more is dropped. */
export function slept(turn: Turn, decision: Decision): readonly Step<World>[] {
  const { machine, world, process, index, telling } = turn;
  const kept = machine.memory({ fresh: false, rivals: null, inHand: null }, memoryOf(turn));
  const next = withProcess(world, remembering(machine, process, index, kept));
  const says = telling ? `${named(turn)} waits: ${decision.because}` : "";
  return next.processes[process.index] === world.processes[process.index]
    ? []
    : [{ world: next, wrong: null, fair: true, says }];
}

/** One look of a read under its claim. */
export function polled(turn: Turn, decision: Extract<Decision, { readonly do: "act" }>): Step<World> {
  const { machine, world, process, index, telling } = turn;
  const { act } = decision;
  const right = act.addresses.every((address) => {
    const { value } = machine.receiver(world.receivers, address, { store: false, fenced: true });
    return JSON.stringify(value) === JSON.stringify(act.inputs);
  });
  const says = telling
    ? `${named(turn)} asks ${act.stage} ${act.direction}: ${right ? "all" : "not all"} report the version`
    : "";
  if (!right) return { world, wrong: null, fair: true, says };
  const inHand = machine.inHand(machine.act(act), { is: "done", outputs: {} });
  const memory = machine.memory({ inHand, polling: null }, memoryOf(turn));
  return { world: withProcess(world, remembering(machine, process, index, memory)), wrong: null, fair: true, says };
}

/** A looser reading: the process goes on under the claim that it finds. */
export function adopted(turn: Turn, decision: Extract<Decision, { readonly do: "act" }>): Step<World> {
  const { machine, world, process, index, telling } = turn;
  const status = process.copies[index]?.of.status ?? null;
  const open = status === null ? undefined : openEntry(status);
  const says = telling ? `${named(turn)} sends ${decision.act.stage} again under the claim that it finds` : "";
  if (status === null || open === undefined || open.claim === null) return { world, wrong: null, fair: true, says };
  const fence = `${decision.act.fence.slice(0, 11)}${String(open.seq).padStart(8, "0")}` as typeof decision.act.fence;
  const act = machine.act({ ...decision.act, seq: open.seq, nonce: open.claim.nonce, fence, probe: "no" });
  const doing = machine.doing({ act, step: "wait", answers: {}, age: 0, adopted: true });
  const own = remembering(machine, process, index, machine.memory({ inHand: null, doing }, memoryOf(turn)));
  return {
    world: sent({ ...turn, process: own }, act),
    wrong: "[S3] sent by a process that does not hold the claim",
    fair: true,
    says,
  };
}
