import type { Machine } from "./machine.ts";
import { decided, freeNonce, rivalsOf } from "./view.ts";
import type { World } from "./world.ts";

// Which worlds may stay as they are for ever.

/** Nothing is left to do, and of every task that is not over it is said what it waits for (L11). */
export function mayRest(machine: Machine, world: World): boolean {
  if (world.processes.some(({ memories }) => memories.some(({ doing, inHand }) => doing !== null || inHand !== null)))
    return false;
  return world.tasks.every((task) => !task.exists || rests(machine, world, task.index));
}

export function rests(machine: Machine, world: World, index: number): boolean {
  const task = world.tasks[index];
  const [process] = world.processes;
  if (task === undefined || process === undefined) return false;
  const holds = world.tenant.status?.holder?.uid === task.uid;
  if (
    task.done &&
    !task.finalizer &&
    !holds &&
    !(task.rollback && task.status?.phase === "Completed" && task.status.commands.rollback?.result !== "Rejected")
  )
    return true;
  const { status } = task;
  const named =
    status !== null && (status.waiting !== null || status.phase === "Failed" || status.phase === "RollbackFailed");
  if (!named) return false;
  const key = `rests ${task.id} ${world.tenant.id} ${world.tasks.map(({ id }) => id).join(" ")}`;
  return machine.once(key, () => {
    const memory = machine.memory({ fresh: true, rivals: machine.rivals(rivalsOf(world, task.uid)) });
    const nonce = freeNonce(world, process, index);
    const { decision } = decided(machine, { process: 0, task, tenant: world.tenant, memory, nonce, gone: true });
    const reason = status.waiting?.reason;
    // Whoever else may hold a lock that is gone is looked for again and again, and found.
    const listsAgain = reason === "Diverged" || reason === "WaitingForLock";
    return decision.do === "sleep" && (decision.after === null || listsAgain);
  });
}
