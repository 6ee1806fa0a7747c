import { isTerminal } from "../../src/domain/phase.ts";
import { deepEqual } from "../../src/lib/deep-equal.ts";
import { NO_FENCE } from "../../src/lib/fence.ts";
import { claimedFence, first, greatest, isDirty, placeBefore, placeOf } from "./facts.ts";
import type { Machine } from "./machine.ts";
import type { Message, TaskObject, TenantObject, Verdict, World } from "./world.ts";

// What must hold of the tenant, of effects, and of every world as it stands.

/** What is wrong with a version of the tenant's record that is about to be taken. */
export function wrongTenant(_machine: Machine, world: World, after: TenantObject): string | null {
  const old = world.tenant.status;
  const now = after.status;
  if (old === null || now === null) return null;
  if (now.fence < old.fence || now.epoch < old.epoch) return "[S10] fence or epoch of the tenant fell";
  if (old.holder === null || now.holder?.uid === old.holder.uid) {
    if (now.holder !== null && old.holder === null && now.epoch <= old.epoch) return "[S10] a lock with an old epoch";
    return null;
  }
  const holder = world.tasks.find(({ uid }) => uid === old.holder?.uid);
  const phase = holder?.status?.phase ?? "Created";
  if (!isTerminal(phase)) return `[S28] the lock is taken from a task that is ${phase}`;
  return phase === "Completed" && old.holder.direction === "Back"
    ? "[S28] a lock with direction Back is freed before anything went back"
    : null;
}

/** What is wrong with an effect: that it happens at all, or now. */
export function wrongEffect(world: World, message: Message, verdict: Verdict): string | null {
  const task = world.tasks[message.task];
  if (task === undefined || task.uid !== message.uid) return null;
  const { status } = task;
  const entry = status?.stages.find(({ name }) => name === message.stage);
  if (entry === undefined || entry.seq < message.seq) return `[S3] ${message.stage} took effect without a claim`;
  if (verdict !== "applied") return null;
  const part = message.part ?? (message.store ? "write" : "announce");
  const undone = entry.state === "RolledBack" || entry.undone.includes(part);
  if (message.direction === "Forward" && undone && (status?.abandoned ?? null) === null)
    return `[S8] ${message.stage} took force after its undo settled`;
  const over = status !== null && isTerminal(status.phase) && status.abandoned === null;
  return over && message.fenced ? `[S12] ${message.stage} took force although the task is ${status.phase}` : null;
}

/** What is wrong with a world as it stands. */
export function wrongWorld(machine: Machine, world: World): string | null {
  let key = `world ${world.tenant.id} ${world.receivers.id} ${world.past.id}`;
  for (const { id } of world.tasks) key += ` ${id}`;
  return machine.once(key, () => ({ wrong: first([...mutex(world), ...truth(machine, world)]) })).wrong;
}

export function mutex(world: World): readonly string[] {
  const dirty = world.tasks.filter(isDirty);
  if (dirty.length > 1) return ["[S9] two tasks of the tenant are dirty"];
  const holder = world.tenant.status?.holder?.uid;
  const loose = dirty.find(({ uid }) => uid !== holder);
  return loose === undefined || world.past.vanished ? [] : [`[S9] ${loose.uid} is dirty and does not hold the tenant`];
}

/** The task that moved last says where the tenant is, and receivers and TenantState agree. */
export function truth(machine: Machine, world: World): readonly string[] {
  const fence = greatest(world);
  const last = world.tasks.find((task) => fence !== NO_FENCE && claimedFence(task) === fence);
  return [...(last === undefined ? [] : reached(machine, world, last)), ...recorded(machine, world)];
}

export function reached(machine: Machine, world: World, task: TaskObject): readonly string[] {
  const { index, status } = task;
  if (status === null || status.abandoned !== null) return [];
  const spec = machine.spec(index);
  const back = status.phase === "RolledBack" || (status.phase === "Cancelled" && status.direction === "Back");
  if (!back && status.phase !== "Completed") return [];
  const claimed = status.stages.filter(({ seq }) => seq > 0);
  return claimed.flatMap((entry) => {
    const kind = spec.stages.find(({ name }) => name === entry.name)?.kind;
    if (kind === "look" || kind === "wait" || kind === "approval") return [];
    return entry.audience.flatMap((i) => {
      const address = status.instances[i] ?? "";
      const { value } = machine.receiver(world.receivers, address, { store: kind === "write", fenced: true });
      const before =
        kind === "write" ? (world.past.before[index]?.[address] ?? null) : { version: placeBefore(world, task) };
      const wanted = back ? before : { version: spec.plan.version };
      if (deepEqual(value, wanted)) return [];
      const held = `${address} holds ${JSON.stringify(value)} and not ${JSON.stringify(wanted)}`;
      return [`${back ? "[S7]" : "[L9]"} ${status.phase}, but ${held}`];
    });
  });
}

/** TenantState, once nobody holds it: the place, and a fence that nothing exceeds. */
export function recorded(machine: Machine, world: World): readonly string[] {
  const { status } = world.tenant;
  if (!world.tenant.exists || status === null || status.holder !== null || status.diverged !== null) return [];
  const highest = greatest(world);
  if (status.fence < highest) return [`[S10] TenantState says fence ${status.fence}, claimed was ${highest}`];
  if (world.past.vanished) return [];
  const wanted = placeOf(machine, world);
  const said = status.current?.planVersion ?? null;
  const isForgotten = world.past.released && said === null;
  return said === wanted || isForgotten
    ? []
    : [`[L9] TenantState says plan version ${said}, the tenant is at ${JSON.stringify(wanted)}`];
}
