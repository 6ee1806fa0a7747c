import { isTerminal } from "../../src/domain/phase.ts";
import { greatest, placeOf } from "./facts.ts";
import { type Machine, nameOf } from "./machine.ts";
import type { Step } from "./search.ts";
import { noted, stored, storedTenant } from "./store.ts";
import { replaced, spend } from "./turn.ts";
import type { TaskFields, TaskObject, World } from "./world.ts";

// What people do.

/** Each command that a person may still give. */
export const people = (machine: Machine, world: World, telling: boolean): readonly Step<World>[] =>
  [...world.tasks.flatMap((task) => toTask(machine, world, task)), ...toTenant(machine, world)].map((done) => ({
    world: noted(machine, done.world),
    wrong: null,
    fair: false,
    says: telling ? `person ${done.says}` : "",
  }));

interface Done {
  readonly world: World;
  readonly says: string;
}

function toTask(machine: Machine, world: World, task: TaskObject): readonly Done[] {
  const { index } = task;
  const { rollbacks, cancels, again } = world.may;
  if (!task.exists) return [];
  const may = (list: readonly number[]): boolean => (list[index] ?? 0) > 0;
  const spent = (list: readonly number[]): readonly number[] => replaced(list, index, (list[index] ?? 0) - 1);
  const done = (change: Partial<TaskFields>, paid: Partial<World["may"]>, says: string): Done => {
    const next = stored(machine, world, machine.task({ ...task, ...change }));
    return { world: { ...next, may: machine.budget({ ...next.may, ...paid }) }, says: `${says} ${nameOf(index)}` };
  };
  const found: Done[] = [];
  if (may(rollbacks) && !task.rollback)
    found.push(done({ rollback: true }, { rollbacks: spent(rollbacks) }, "rollback"));
  if (may(cancels) && !task.cancel) found.push(done({ cancel: true }, { cancels: spent(cancels) }, "cancel"));
  if (may(again) && task.status !== null && isTerminal(task.status.phase) && !task.finalizer) {
    const gone = { fence: greatest(world), planVersion: placeOf(machine, world) };
    const fresh = { uid: `${task.uid}b`, status: null, done: false, rollback: false, cancel: false };
    const { world: next, says } = done(fresh, { again: spent(again) }, "deletes, and makes again under its name,");
    found.push({ world: { ...next, past: machine.past({ ...next.past, gone }) }, says });
  }
  return found;
}

function toTenant(machine: Machine, world: World): readonly Done[] {
  const { tenant, may } = world;
  const found: Done[] = [];
  const holder = tenant.status?.holder ?? null;
  if (may.releases > 0 && tenant.exists && tenant.status !== null && holder !== null && tenant.release === null) {
    const release = { epoch: tenant.status.epoch, by: "ann", reason: "stuck", fence: null };
    const next = spend(machine, storedTenant(machine, world, machine.tenant({ ...tenant, release })), "releases");
    found.push({
      world: { ...next, past: machine.past({ ...next.past, released: true }) },
      says: "forces the lock free",
    });
  }
  if (may.vanishings > 0 && tenant.exists) {
    const gone = machine.tenant({ exists: false, status: null, release: null });
    const next = spend(machine, storedTenant(machine, world, gone), "vanishings");
    found.push({
      world: { ...next, past: machine.past({ ...next.past, vanished: true }) },
      says: "deletes TenantState and takes its finalizer off",
    });
  }
  return found;
}
