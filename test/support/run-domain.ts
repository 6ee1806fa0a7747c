import { never } from "../../src/lib/never.ts";
import { plus } from "../../src/lib/time.ts";
import { decide } from "../../src/domain/decide.ts";
import type { Status, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import { aSpec, aTenant, NO_CONTROL } from "./build.ts";
import { SETTINGS } from "./domain-kinds.ts";
import { NOON } from "./manual-clock.ts";
import type { Happening, Move, TaskObject, World } from "./run-world.ts";
import { lookedAt, newProcess, processOf, restarted, type Run, synced, viewOf, withProcess } from "./run-process.ts";
import { createdTenant, lockStored, onTask, readTenant, remember, rivalsOf, stored, type Turn } from "./run-store.ts";
import { acted, delivered } from "./run-effects.ts";

/** A world in which nothing has happened: the tasks exist, the tenant is where `tenant` says. */
export function aWorld(
  specs: Readonly<Record<string, TaskSpec>> = { "acme-green": aSpec() },
  about: { readonly tenant?: TenantStatus | null; readonly processes?: readonly string[] } = {},
): World {
  const tenant = about.tenant === undefined ? aTenant() : about.tenant;
  const tasks = Object.fromEntries(
    Object.entries(specs).map(([name, spec], i) => [name, aTaskObject(name, `uid-${i + 1}`, spec)] as const),
  );
  const world: World = {
    now: NOON,
    tasks,
    tenant: tenant === null ? null : { version: 1, status: tenant },
    receivers: {},
    flying: [],
    processes: {},
    settings: SETTINGS,
    nonces: 0,
  };
  const processes = (about.processes ?? ["p1"]).map((identity) => [identity, newProcess(identity, world)] as const);
  return { ...world, processes: Object.fromEntries(processes) };
}

const aTaskObject = (name: string, uid: string, spec: TaskSpec): TaskObject => ({
  name,
  uid,
  version: 1,
  generation: 1,
  spec,
  control: NO_CONTROL,
  finalizer: false,
  done: false,
  deletedAt: null,
  status: undefined,
});

/** One move; the same run and move give the same run. */
export function make(run: Run, move: Move): Run {
  const { world } = run;
  switch (move.move) {
    case "turn":
      return turn(run, move);
    case "sync":
      return { ...run, world: withProcess(world, synced(world, processOf(world, move.process))) };
    case "restart":
      return restarted(run, move.process);
    case "patch":
      return {
        ...run,
        world: patched(world, move.task, (task) => ({ control: { ...task.control, ...move.control } })),
      };
    case "delete":
      return { ...run, world: patched(world, move.task, ({ deletedAt }) => ({ deletedAt: deletedAt ?? world.now })) };
    case "arrive": {
      const message = world.flying[move.index];
      if (message === undefined) return run;
      return delivered({ ...run, world: { ...world, flying: world.flying.filter((one) => one !== message) } }, message)
        .run;
    }
    case "settings":
      return { ...run, world: { ...world, settings: settingsWithout(move.without) } };
    case "pass":
      return { ...run, world: { ...world, now: plus(world.now, move.time) } };
    default:
      return never(move);
  }
}

const settingsWithout = (name: string | null): World["settings"] => ({
  ...SETTINGS,
  endpoints: Object.fromEntries(Object.entries(SETTINGS.endpoints).filter(([endpoint]) => endpoint !== name)),
});

/** Somebody else's write to a task: a new version, and a new generation where the spec side of it changed. */
function patched(world: World, name: string, change: (task: TaskObject) => Partial<TaskObject>): World {
  const task = world.tasks[name];
  if (task === undefined) return world;
  const next = { ...task, ...change(task), version: task.version + 1, generation: task.generation + 1 };
  return { ...world, tasks: { ...world.tasks, [name]: next } };
}

/** One decision of one process for one task, carried out. */
function turn(run: Run, { process: identity, task: name, fate, put }: Extract<Move, { readonly move: "turn" }>): Run {
  const { world } = run;
  const looking = lookedAt(world, processOf(world, identity), name);
  const view = viewOf(world, looking, name);
  const decision = decide(view, world.now);
  const decided: Happening = { is: "decision", task: name, process: identity, decision };
  const at: Turn = {
    run: { world: withProcess(world, looking), trace: [...run.trace, decided] },
    process: looking,
    name,
    put,
  };
  switch (decision.do) {
    case "sleep":
    case "leave":
      return remember(at, { fresh: false, rivals: null });
    case "write":
      return stored(at, decision.status).run;
    case "act":
      return acted(at, view, decision, fate);
    case "finalizer":
      return onTask(at, { finalizer: true, done: false }, true);
    case "remove":
      return onTask(at, { finalizer: false, done: true }, false);
    case "create-tenant":
      return createdTenant(at);
    case "lock":
    case "release":
      return lockStored(at, decision.tenant);
    case "read":
      return decision.what === "tenant" ? readTenant(at) : remember(at, { rivals: rivalsOf(world, view.ref.uid) });
    default:
      return never(decision);
  }
}

/** Everything that `task` ever did: its stored versions in order. */
export const versionsOf = (run: Run, task: string): readonly Status[] =>
  run.trace.flatMap((one) => (one.is === "version" && one.task === task ? [one.after] : []));
