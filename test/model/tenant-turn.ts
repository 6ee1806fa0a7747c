import { abandon } from "../../src/domain/guards.ts";
import type { Step } from "./search.ts";
import { storedTenant, takenBy } from "./store.ts";
import { NOW } from "./time.ts";
import { wrongTenant } from "./truth.ts";
import { type Turn, changed, copied, current, memoryOf, nameOfTask, named, replaced, withProcess } from "./turn.ts";
import { decidedTenant, viewOf } from "./view.ts";
import type { InHand, World } from "./world.ts";

// src/controllers/tenant-state.ts.

/** One decision of a process about the tenant's record: src/controllers/tenant-state.ts. */
export function tenantTurn(turn: Omit<Turn, "index">): readonly Step<World>[] {
  const { machine, world, process, telling } = turn;
  if (!process.tenant.of.exists) return [];
  const { decision, holder } = decidedTenant(machine, process);
  const at: Turn = { ...turn, index: holder?.index ?? 0 };
  const reads = (): Step<World> => ({
    world: withProcess(world, changed(machine, process, { tenant: current(world.tenant) })),
    wrong: null,
    fair: true,
    says: telling ? `${named(at)} 409, reads TenantState` : "",
  });
  switch (decision.do) {
    case "abandon-holder": {
      if (holder === undefined || process.copies[holder.index]?.current !== true)
        return holder === undefined ? [] : [{ ...reads(), world: copied(at, world, holder.index, memoryOf(at)) }];
      const looking = {
        process: process.index,
        task: holder,
        tenant: process.tenant.of,
        memory: machine.memory({}),
        nonce: "",
        gone: false,
      };
      const status = machine.once(`abandon ${holder.id} ${process.tenant.of.id}`, () =>
        machine.task({ ...holder, status: abandon(viewOf(machine, looking), decision, NOW) }),
      );
      const taken = takenBy(at, null, status);
      const own = taken.world.processes[process.index];
      const next =
        own === undefined
          ? taken.world
          : withProcess(
              taken.world,
              changed(machine, own, { copies: replaced(own.copies, holder.index, current(status)) }),
            );
      return [
        { world: next, wrong: taken.wrong, fair: true, says: telling ? `${named(at)} abandons ${nameOfTask(at)}` : "" },
      ];
    }
    case "write": {
      if (!process.tenant.current) return [reads()];
      const after = machine.tenant({ ...process.tenant.of, status: decision.status });
      const wrong = wrongTenant(machine, world, after);
      const taken = storedTenant(machine, world, after);
      const own = taken.processes[process.index];
      const next = own === undefined ? taken : withProcess(taken, changed(machine, own, { tenant: current(after) }));
      return [
        {
          world: next,
          wrong,
          fair: true,
          says: telling
            ? `${named(at)} ${after.status?.holder === null ? "frees the lock" : "writes TenantState"}`
            : "",
        },
      ];
    }
    default:
      return [];
  }
}

export type { InHand };
