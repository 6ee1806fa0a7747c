import { type Machine, nameOf } from "./machine.ts";
import type { Step } from "./search.ts";
import { type Turn, changed, current, remembering, replaced, withProcess } from "./turn.ts";
import type { Process, World } from "./world.ts";

// What the watch brings to a process.

/** The watch brings the newest version. A turn that looks at it is a new one: what the last one had read is forgotten. */
export function syncsTask({ machine, world, process, index, telling }: Turn): readonly Step<World>[] {
  const copy = process.copies[index];
  const task = world.tasks[index];
  const memory = process.memories[index];
  if (copy === undefined || task === undefined || memory === undefined || copy.current || copy.blind === true)
    return [];
  if (memory.reread !== null || memory.inHand !== null || memory.doing !== null) return [];
  const own = changed(machine, process, { copies: replaced(process.copies, index, current(task)) });
  const same = task.uid === copy.of.uid && task.exists;
  const begun = same ? machine.memory({ fresh: false, rivals: null }, memory) : machine.memory({});
  const says = telling ? `watch  p${process.index + 1} sees ${nameOf(index)}` : "";
  return [{ world: withProcess(world, remembering(machine, own, index, begun)), wrong: null, fair: true, says }];
}

/** A turn that has read the tenant's record, or written it, goes on with what it has to its end. */
export function syncsTenant(
  machine: Machine,
  world: World,
  process: Process,
  telling: boolean,
): readonly Step<World>[] {
  if (process.tenant.current || process.memories.some(({ fresh }) => fresh)) return [];
  const own = changed(machine, process, { tenant: current(world.tenant) });
  const says = telling ? `watch  p${process.index + 1} sees TenantState` : "";
  return [{ world: withProcess(world, own), wrong: null, fair: true, says }];
}
