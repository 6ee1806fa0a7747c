import type { Decision } from "../../src/domain/task.ts";
import { wrongTask } from "./checks.ts";
import { PLACE } from "./facts.ts";
import type { Machine } from "./machine.ts";
import type { Step } from "./search.ts";
import { type Turn, changed, memoryOf, replaced, stale } from "./turn.ts";
import type { TaskObject, TenantObject, World } from "./world.ts";

// The API server: what it holds, and writes that get there late.

// One turn of one process: src/controllers/act.ts, requests.ts and tenant-state.ts, request by request. Between two requests of a process
// anything else may happen.

/** What becomes of a write: taken and answered; taken, the answer lost; given up, and perhaps taken later. */
export type Fate = "ok" | "answer lost" | "late";

export const FATES: readonly Fate[] = ["ok", "answer lost", "late"];

/** The API server takes the write. */
export function takenBy(
  turn: Turn,
  decision: Decision | null,
  after: TaskObject,
): { readonly world: World; readonly wrong: string | null } {
  const { world, index, process } = turn;
  const before = world.tasks[index];
  if (before === undefined) throw new Error(`no task ${index}`);
  const wrong = wrongTask(turn.machine, world, {
    before,
    after,
    process: process.index,
    inHand: memoryOf(turn).inHand,
    decision,
  });
  return { world: stored(turn.machine, world, after), wrong };
}

/** `after` is what the API server holds from now on: every copy of it is old, and so is every write on the way. */
export function stored(machine: Machine, world: World, after: TaskObject): World {
  const { index } = after;
  const processes = world.processes.map((process) => {
    const copy = process.copies[index];
    return copy === undefined || !copy.current
      ? process
      : changed(machine, process, { copies: replaced(process.copies, index, stale(copy)) });
  });
  const late = world.late.filter((write) => write.on !== "task" || write.after.index !== index || !write.checked);
  const next: World = { ...world, tasks: replaced(world.tasks, index, after), processes, late };
  return firstClaim(machine, world, next, index);
}

/** What stores held when the first claim of a task was stored: what its undo must bring back (S7). */
export function firstClaim(machine: Machine, before: World, after: World, index: number): World {
  const seq = before.tasks[index]?.status?.seq ?? 0;
  if (seq > 0 || (after.tasks[index]?.status?.seq ?? 0) === 0 || before.past.before[index] !== null)
    return noted(machine, after);
  const held = Object.fromEntries(Object.entries(before.receivers.at).map(([address, { value }]) => [address, value]));
  const at = { ...held, [PLACE]: before.tenant.status?.current?.planVersion ?? null };
  return { ...after, past: machine.past({ ...after.past, before: replaced(after.past.before, index, at) }) };
}

/** A Completed task that is told to go back: was there a moment at which that could not be done? */
export function noted(machine: Machine, world: World): World {
  if (!world.tasks.some(({ rollback }) => rollback)) return world;
  const refusable = world.tasks.map(
    ({ rollback, uid, status }, i) =>
      world.past.refusable[i] === true || (rollback && status?.phase === "Completed" && !mayGoBack(world.tenant, uid)),
  );
  return { ...world, past: machine.past({ ...world.past, refusable }) };
}

export function mayGoBack({ exists, status }: TenantObject, uid: string): boolean {
  if (!exists || status === null || status.diverged !== null) return false;
  if (status.holder !== null) return status.holder.uid === uid;
  return status.current?.task?.uid === uid && status.current.restorable;
}

/** `after` is what the API server holds of the tenant from now on. */
export function storedTenant(machine: Machine, world: World, after: TenantObject): World {
  const processes = world.processes.map((process) =>
    process.tenant.current ? changed(machine, process, { tenant: stale(process.tenant) }) : process,
  );
  const late = world.late.filter((write) => write.on !== "tenant");
  return noted(machine, { ...world, tenant: after, processes, late });
}

/** A write that was given up gets to the API server after all. */
export function landings(machine: Machine, world: World, telling: boolean): readonly Step<World>[] {
  return world.late.map((write, i) => {
    const left = { ...world, late: world.late.filter((_, other) => other !== i) };
    const says = telling ? `late   a write of p${write.from + 1} gets to the API server` : "";
    if (write.on === "tenant")
      return { world: storedTenant(machine, left, write.after), wrong: null, fair: true, says };
    const before = world.tasks[write.after.index];
    if (before === undefined) return { world: left, wrong: null, fair: true, says };
    // Without a version in it, a metadata patch changes what it names and leaves the rest.
    const after = write.checked
      ? write.after
      : machine.task({ ...before, finalizer: write.after.finalizer, done: write.after.done });
    const wrong = wrongTask(machine, world, {
      before,
      after,
      process: write.from,
      inHand: write.inHand,
      decision: null,
    });
    return { world: stored(machine, left, after), wrong, fair: true, says };
  });
}
