import { arrivals, goesOn, withoutDead } from "./acting.ts";
import { begunBy } from "./beginning.ts";
import { keyOf } from "./key.ts";
import { type Machine, older } from "./machine.ts";
import { people } from "./people.ts";
import { mayRest } from "./rest.ts";
import type { Model, Step } from "./search.ts";
import { turns } from "./shell.ts";
import { landings } from "./store.ts";
import { tenantTurn } from "./tenant-turn.ts";
import { REQUEST } from "./time.ts";
import { wrongWorld } from "./truth.ts";
import { changed, spend, withProcess } from "./turn.ts";
import { syncsTask, syncsTenant } from "./watch.ts";
import type { Process, World } from "./world.ts";

// Everything that may happen next: turns of processes, messages that arrive or do not, crashes, people, time.

/** The model of a scenario: the same world, the same steps in the same order. */
export function modelOf(machine: Machine): Model<World> {
  return {
    start: begunBy(machine),
    steps: (world, telling) =>
      steps(machine, world, telling).map((step) => ({
        ...step,
        world: withoutDead(machine, step.world),
        wrong: looked(machine, step.wrong),
      })),
    wrong: (world) => looked(machine, wrongWorld(machine, world)),
    key: keyOf,
    mayRest: (world) => mayRest(machine, world),
  };
}

/** Only what the scenario looks for counts. */
export function looked({ scenario: { only } }: Machine, wrong: string | null): string | null {
  return wrong === null || only === undefined || only.some((id) => wrong.startsWith(id)) ? wrong : null;
}

export function steps(machine: Machine, world: World, telling: boolean): readonly Step<World>[] {
  const found: Step<World>[] = [];
  for (const process of world.processes) {
    // A turn keeps the tenant's record as it read it. The process has one copy here, so meanwhile its other turns wait (those of the
    // other process do not).
    const reading = process.memories.findIndex(({ fresh }) => fresh);
    for (const index of world.tasks.keys()) {
      if (reading >= 0 && reading !== index) continue;
      found.push(...turns({ machine, world, process, index, telling }));
      found.push(...goesOn({ machine, world, process, index, telling }));
      found.push(...syncsTask({ machine, world, process, index, telling }));
    }
    if (reading < 0) found.push(...tenantTurn({ machine, world, process, telling }));
    found.push(...syncsTenant(machine, world, process, telling));
    found.push(...crashes(machine, world, process, telling));
  }
  found.push(
    ...arrivals(machine, world, telling),
    ...landings(machine, world, telling),
    ...people(machine, world, telling),
  );
  if (machine.timed) found.push(...ticks(machine, world, telling));
  return found;
}

/** The process dies: what it remembers is gone, what it sent is not. */
export function crashes(machine: Machine, world: World, process: Process, telling: boolean): readonly Step<World>[] {
  if (world.may.crashes === 0) return [];
  const memories = process.memories.map(() => machine.memory({}));
  const fresh = changed(machine, process, { memories });
  if (fresh === process) return [];
  const next = spend(machine, withProcess(world, fresh), "crashes");
  return [
    { world: next, wrong: null, fair: false, says: telling ? `crash  p${process.index + 1} dies and begins anew` : "" },
  ];
}

/** One tick. A request that did not arrive within its time never will (the bound that `fencing: None` rests on). */
export function ticks(machine: Machine, world: World, telling: boolean): readonly Step<World>[] {
  const flights = world.flights
    .filter(({ age }) => age < REQUEST)
    .map((flight) => machine.flight({ ...flight, age: flight.age + 1 }))
    .sort((a, b) => a.id - b.id);
  const processes = world.processes.map((process) => {
    const memories = process.memories.map((memory) => {
      const { doing, seen } = memory;
      return machine.memory(
        {
          doing: doing === null ? null : machine.doing({ ...doing, age: older(doing.age) }),
          seen: seen === null ? null : { ...seen, age: older(seen.age) },
        },
        memory,
      );
    });
    const copies = process.copies.map(({ of, current: is }) => ({ of: machine.older(of), current: is }));
    return machine.process({ ...process, copies, memories });
  });
  const next: World = { ...world, tasks: world.tasks.map((task) => machine.older(task)), processes, flights };
  return keyOf(next) === keyOf(world) ? [] : [{ world: next, wrong: null, fair: true, says: telling ? "tick" : "" }];
}
