import { openEntry } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import type { Decision } from "../../src/domain/task.ts";
import type { Step } from "./search.ts";
import { FATES, storedTenant, takenBy } from "./store.ts";
import { sayTask, sayTenant } from "./story.ts";
import { wrongTenant } from "./truth.ts";
import {
  type Turn,
  changed,
  copied,
  current,
  memoryOf,
  nameOfTask,
  named,
  remembering,
  replaced,
  spend,
  withProcess,
} from "./turn.ts";
import { messagesOf, rivalsOf, viewOf } from "./view.ts";
import type { KeptAct, Memory, MemoryFields, TaskObject, TenantObject, World } from "./world.ts";

// The requests of a turn to the API server, and what becomes of each (src/controllers/act.ts, requests.ts).

/** A write of the task's object with its version check. */
export function written(turn: Turn, decision: Decision, after: TaskObject): readonly Step<World>[] {
  const { machine, world, process, index, telling } = turn;
  const claimed =
    decision.do === "act"
      ? machine.once(`act ${after.id} ${process.tenant.of.id} ${decision.act.nonce}`, () => machine.act(decision.act))
      : null;
  if (process.copies[index]?.current !== true) return [refused(turn)];
  const fates = world.may.losses > 0 ? FATES : FATES.slice(0, 1);
  return fates.map((fate) => {
    const says = telling ? sayTask(turn, decision, after, fate) : "";
    const taken = fate === "late" ? setOff(turn, decision, after) : takenBy(turn, decision, after);
    if (fate === "ok")
      return { ...taken, world: answered(turn, taken.world, { decision, after, claimed }), fair: true, says };
    const paid = spend(machine, taken.world, "losses");
    return {
      ...taken,
      world: fate === "late" ? unanswered(turn, paid) : doubting(turn, paid, claimed, false),
      fair: false,
      says,
    };
  });
}

export interface Answered {
  readonly decision: Decision;
  readonly after: TaskObject;
  readonly claimed: KeptAct | null;
}

/** 200: go on from the answer. */
export function answered(turn: Turn, world: World, { decision, after, claimed }: Answered): World {
  const { machine, index } = turn;
  const process = world.processes[turn.process.index];
  if (process === undefined) return world;
  const own = changed(machine, process, { copies: replaced(process.copies, index, current(after)) });
  const before = memoryOf(turn);
  if (claimed !== null) return begun({ ...turn, world, process: own }, claimed, before);
  const memory =
    decision.do === "remove"
      ? machine.memory({})
      : machine.memory({ inHand: null, polling: stillPolling(after.status, before) }, before);
  return withProcess(world, remembering(machine, own, index, memory));
}

export const stillPolling = (status: Status | null, { polling }: MemoryFields): string | null =>
  status !== null && openEntry(status)?.claim?.nonce === polling ? polling : null;

/** The claim is stored and ours: ask or send. */
export function begun(turn: Turn, claimed: KeptAct, before: MemoryFields): World {
  const { machine, world, process, index } = turn;
  const { act } = claimed;
  if (act.attemptTimeout === null) {
    const memory = machine.memory({ inHand: null, polling: act.nonce, reread: null }, before);
    return withProcess(world, remembering(machine, process, index, memory));
  }
  const step = act.probe !== "no" ? "probe" : machine.timed ? "send" : "wait";
  const doing = machine.doing({ act: claimed, step, answers: {}, age: 0, adopted: false });
  const memory = machine.memory({ inHand: null, polling: null, reread: null, doing }, before);
  const next = { ...turn, process: remembering(machine, process, index, memory) };
  return step === "wait" ? sent(next, claimed) : withProcess(world, next.process);
}

/** One message to each address. */
export function sent(turn: Turn, claimed: KeptAct): World {
  const { machine, world, process, index } = turn;
  const task = process.copies[index]?.of;
  const doing = process.memories[index]?.doing ?? null;
  if (task === undefined || doing === null) return world;
  const messages = machine.once(`messages ${claimed.id} ${task.id}`, () => {
    const looking = {
      process: process.index,
      task,
      tenant: process.tenant.of,
      memory: machine.memory({}),
      nonce: "",
      gone: false,
    };
    return messagesOf(machine, claimed.act, task, viewOf(machine, looking)).map((message) =>
      machine.flight({ message, from: process.index, act: claimed.id, age: 0 }),
    );
  });
  const answers = Object.fromEntries(messages.map(({ message }) => [message.to, null]));
  const waiting = machine.doing({ ...doing, step: "wait", answers });
  const memory = machine.memory({ doing: waiting }, process.memories[index]);
  const flights = [...world.flights, ...messages].sort((a, b) => a.id - b.id);
  return withProcess({ ...world, flights }, remembering(machine, process, index, memory));
}

/** Given up before it arrived: what is read now shows the old version, so the claim is not ours. */
export function unanswered(turn: Turn, world: World): World {
  const { machine, index } = turn;
  const process = world.processes[turn.process.index];
  if (process === undefined) return world;
  const memory = machine.memory({ fresh: false, rivals: null, reread: null }, memoryOf(turn));
  return withProcess(world, remembering(machine, process, index, memory));
}

/** Taken, and nobody said so: the task is read next. */
export function doubting(turn: Turn, world: World, claimed: KeptAct | null, tenant: boolean): World {
  const { machine, index } = turn;
  const process = world.processes[turn.process.index];
  if (process === undefined) return world;
  return withProcess(
    world,
    remembering(machine, process, index, machine.memory({ reread: { claimed, tenant } }, memoryOf(turn))),
  );
}

export function setOff(
  turn: Turn,
  decision: Decision,
  after: TaskObject,
): { readonly world: World; readonly wrong: null } {
  const { machine, world, process } = turn;
  const checked = decision.do !== "remove" || machine.rules.patchChecked;
  const write = machine.late({ on: "task", after, checked, from: process.index, inHand: memoryOf(turn).inHand });
  return { world: { ...world, late: [...world.late, write].sort((a, b) => a.id - b.id) }, wrong: null };
}

/** Whatever is written on an old copy, that is what comes of it. */
export const refused = (turn: Turn): Step<World> => ({
  world: reread409(turn),
  wrong: null,
  fair: true,
  says: turn.telling ? `${named(turn)} 409, reads ${nameOfTask(turn)}` : "",
});

/** 409: the newest version is in hand; what was read of the tenant may be older than that and counts no longer (readAnew). */
export const reread409 = (turn: Turn): World =>
  copied(turn, turn.world, turn.index, turn.machine.memory({ fresh: false, rivals: null }, memoryOf(turn)));

/** After an answer that got lost: our nonce in the open claim means that the write was ours. */
export function reread(turn: Turn, doubt: NonNullable<Memory["reread"]>): Step<World> {
  const { machine, world, index, telling } = turn;
  const status = world.tasks[index]?.status ?? null;
  const open = status === null ? undefined : openEntry(status)?.claim?.nonce;
  const { claimed } = doubt;
  const isOurs = claimed !== null && open === claimed.act.nonce;
  const anew = isOurs ? {} : { fresh: doubt.tenant, rivals: null };
  const memory = machine.memory({ reread: null, ...anew }, memoryOf(turn));
  const read = copied(turn, world, index, memory);
  const says = telling ? `${named(turn)} reads ${nameOfTask(turn)}` : "";
  const process = read.processes[turn.process.index];
  if (process === undefined) return { world: read, wrong: null, fair: true, says };
  const synced = doubt.tenant ? withProcess(read, changed(machine, process, { tenant: current(world.tenant) })) : read;
  return {
    world: isOurs ? begun({ ...turn, world: read, process }, claimed, memory) : synced,
    wrong: null,
    fair: true,
    says,
  };
}

/** Lock and release, on the copy that was decided on. */
export function lockWritten(turn: Turn, decision: Decision, after: TenantObject): readonly Step<World>[] {
  const { machine, world, process, index, telling } = turn;
  if (!process.tenant.current) {
    const says = telling ? `${named(turn)} 409, reads ${nameOfTask(turn)} and TenantState` : "";
    const memory = machine.memory({ fresh: true, rivals: null }, memoryOf(turn));
    const read = copied(turn, world, index, memory);
    const own = read.processes[process.index];
    const next = own === undefined ? read : withProcess(read, changed(machine, own, { tenant: current(world.tenant) }));
    return [{ world: next, wrong: null, fair: true, says }];
  }
  const wrong = wrongTenant(machine, world, after);
  const taken = storedTenant(machine, world, after);
  const fates = world.may.losses > 0 ? FATES : FATES.slice(0, 1);
  return fates.map((fate) => {
    const says = telling ? sayTenant(turn, decision, after, fate) : "";
    if (fate === "late") {
      const write = machine.late({ on: "tenant", after, checked: true, from: process.index });
      const set = spend(machine, { ...world, late: [...world.late, write].sort((a, b) => a.id - b.id) }, "losses");
      const memory = machine.memory({ fresh: true, rivals: null }, memoryOf(turn));
      return { world: copied(turn, set, index, memory), wrong: null, fair: false, says };
    }
    if (fate === "answer lost")
      return { world: doubting(turn, spend(machine, taken, "losses"), null, true), wrong, fair: false, says };
    const own = taken.processes[process.index];
    if (own === undefined) return { world: taken, wrong, fair: true, says };
    const knows = changed(machine, own, { tenant: current(after) });
    const memory = machine.memory({ fresh: true }, memoryOf(turn));
    return { world: withProcess(taken, remembering(machine, knows, index, memory)), wrong, fair: true, says };
  });
}

/** Made already by somebody else is as good. */
export function created(turn: Turn): Step<World> {
  const { machine, world, telling } = turn;
  const says = telling ? `${named(turn)} makes a TenantState` : "";
  if (world.tenant.exists)
    return { world: readTenant(turn), wrong: null, fair: true, says: `${says}: there is one, reads it` };
  const tenant = machine.tenant({ exists: true, status: null, release: null });
  return { world: readTenant({ ...turn, world: storedTenant(machine, world, tenant) }), wrong: null, fair: true, says };
}

export function readTenant(turn: Turn): World {
  const { machine, world, index } = turn;
  const process = world.processes[turn.process.index];
  if (process === undefined) return world;
  const own = changed(machine, process, { tenant: current(world.tenant) });
  return withProcess(world, remembering(machine, own, index, machine.memory({ fresh: true }, memoryOf(turn))));
}

export function listed(turn: Turn, uid: string): World {
  const { machine, world, process, index } = turn;
  const rivals = machine.rivals(rivalsOf(world, uid));
  return withProcess(world, remembering(machine, process, index, machine.memory({ rivals }, memoryOf(turn))));
}
