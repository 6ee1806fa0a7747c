import type { Machine } from "./machine.ts";
import type { Copy, Memory, Process, ProcessFields, World } from "./world.ts";

// What one turn of a process works on, and the small changes it makes to a world.

export interface Turn {
  readonly machine: Machine;
  readonly world: World;
  readonly process: Process;
  readonly index: number;
  readonly telling: boolean;
}

export const replaced = <T>(list: readonly T[], index: number, item: T): readonly T[] =>
  list.map((old, i) => (i === index ? item : old));

export const withProcess = (world: World, process: Process): World => ({
  ...world,
  processes: replaced(world.processes, process.index, process),
});

/** The process with some of what it has replaced. */
export function changed(machine: Machine, process: Process, change: Partial<ProcessFields>): Process {
  return machine.process({ ...process, ...change });
}

export const remembering = (machine: Machine, process: Process, index: number, memory: Memory): Process =>
  changed(machine, process, { memories: replaced(process.memories, index, memory) });

export const current = <T>(of: T): Copy<T> => ({ of, current: true });

export const stale = <T>(copy: Copy<T>): Copy<T> => (copy.current ? { ...copy, current: false } : copy);

export const named = ({ process }: Turn): string => `p${process.index + 1}`;

export const memoryOf = ({ process, index }: Turn): Memory => {
  const memory = process.memories[index];
  if (memory === undefined) throw new Error(`no memory of task ${index}`);
  return memory;
};

export const nameOfTask = ({ index }: Turn): string => `acme-${index + 1}`;

export const spend = (
  machine: Machine,
  world: World,
  what: "early" | "losses" | "refusals" | "crashes" | "releases" | "vanishings",
): World => ({
  ...world,
  may: machine.budget({ ...world.may, [what]: world.may[what] - 1 }),
});

/** The task is read; an object of another uid under its name is none of this turn's business (S13). */
export function copied(turn: Turn, world: World, index: number, memory: Memory): World {
  const { machine } = turn;
  const task = world.tasks[index];
  const process = world.processes[turn.process.index];
  if (task === undefined || process === undefined) return world;
  const same = task.exists && task.uid === process.copies[index]?.of.uid;
  const own = changed(machine, process, { copies: replaced(process.copies, index, current(task)) });
  return withProcess(world, remembering(machine, own, index, same ? memory : machine.memory({})));
}
