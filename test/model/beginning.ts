import { arrivals, goesOn } from "./acting.ts";
import { keyOf } from "./key.ts";
import type { Machine } from "./machine.ts";
import { turns } from "./shell.ts";
import { type Turn, current } from "./turn.ts";
import { syncsTask, syncsTenant } from "./watch.ts";
import type { World } from "./world.ts";

// Where a search begins.

/** The world from which the search begins: after process 1 alone did what the scenario says, without any fault. */
export function begunBy(machine: Machine): World {
  const { from, first } = machine.scenario;
  let world = machine.start();
  if (from === undefined) return world;
  for (let step = 0; step < 400; step += 1) {
    if (from(world)) return inSync(machine, world);
    world = (first ?? [0]).reduce((seen, index) => driven(machine, seen, index), world);
  }
  throw new Error(`${machine.scenario.name} never gets to where it begins`);
}

/** The next step of process 1 for task `index`, or the next message that arrives. */
export function driven(machine: Machine, world: World, index: number): World {
  const [arrival] = arrivals(machine, world, false).filter(({ fair }) => fair);
  if (arrival !== undefined) return arrival.world;
  const [process] = world.processes;
  if (process === undefined) return world;
  const here: Turn = { machine, world, process, index, telling: false };
  const [step] = [
    ...turns(here),
    ...goesOn(here),
    ...syncsTask(here),
    ...syncsTenant(machine, world, process, false),
  ].filter(({ fair, world: next }) => fair && keyOf(next) !== keyOf(world));
  return step?.world ?? world;
}

/** Everybody begins with the newest copies. */
export function inSync(machine: Machine, world: World): World {
  const processes = world.processes.map((process) =>
    machine.process({
      ...process,
      copies: world.tasks.map((task) => current(task)),
      tenant: current(world.tenant),
    }),
  );
  return { ...world, processes };
}
