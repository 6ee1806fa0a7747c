import { NO_FENCE } from "../../src/lib/fence.ts";
import { statusTo } from "../../src/api/status-wire.ts";
import { tenantFrom, tenantTo } from "../../src/api/tenant-wire.ts";
import { announcements, sequenceAfter } from "../../src/domain/announcements.ts";
import { sidesOf } from "../../src/domain/backward.ts";
import { conditionsOf } from "../../src/domain/conditions.ts";
import { fenceOf } from "../../src/domain/lock.ts";
import type { Status, TenantStatus } from "../../src/domain/stored.ts";
import type { Rival } from "../../src/domain/task.ts";
import {
  type Happening,
  type Memory,
  NO_MEMORY,
  type Process,
  type Put,
  type TaskObject,
  type World,
} from "./run-world.ts";
import { type Run, statusOf, viewOf, withMemory, withProcess } from "./run-process.ts";

export interface Turn {
  readonly run: Run;
  readonly process: Process;
  readonly name: string;
  readonly put: Put;
}

export const memoryOf = ({ process, name }: Turn): Memory => process.memory[name] ?? NO_MEMORY;

export const remember = (at: Turn, change: Partial<Memory>): Run => ({
  ...at.run,
  world: withProcess(at.run.world, withMemory(at.process, at.name, { ...memoryOf(at), ...change })),
});

/** A write of this process with its version check. Answer lost: what was stored is read afterwards, as after a 409. */
export function stored(at: Turn, status: Status): { readonly run: Run; readonly ok: boolean } {
  const { run, process, name, put } = at;
  const current = run.world.tasks[name];
  const copy = process.tasks[name];
  if (current === undefined || copy === undefined) return { run, ok: false };
  if (copy.version !== current.version || put === "lost") return { run: reread(at), ok: false };
  const view = viewOf(run.world, process, name);
  const made = announcements(view.stored, status, { spec: copy.spec, manager: null, sides: sidesOf(view, status) });
  const next: Status = { ...status, eventSequence: sequenceAfter(view.stored, made) };
  const raw = statusTo(copy.status, next, {
    generation: copy.generation,
    total: copy.spec.stages.length,
    conditions: conditionsOf(next, run.world.now),
  });
  const wire: unknown = JSON.parse(JSON.stringify(raw));
  const object: TaskObject = { ...current, status: wire, version: current.version + 1 };
  const after = statusOf(object);
  if (after === null) throw new Error(`${name}: what was stored is no status`);
  const happened: Happening = {
    is: "version",
    task: name,
    uid: object.uid,
    process: process.identity,
    before: view.stored,
    after,
    control: object.control,
    bytes: Buffer.byteLength(JSON.stringify(raw)),
    now: run.world.now,
    inHand: memoryOf(at).inHand,
  };
  const world = { ...run.world, tasks: { ...run.world.tasks, [name]: object } };
  const kept = put === "answer-lost" ? memoryOf(at) : { ...memoryOf(at), inHand: null };
  const holder = withMemory({ ...process, tasks: { ...process.tasks, [name]: object } }, name, kept);
  return { run: { world: withProcess(world, holder), trace: [...run.trace, happened] }, ok: true };
}

/** After a 409 or an answer that got lost: the task is read, the outcome in hand stays in hand. */
function reread({ run, process, name }: Turn): Run {
  const current = run.world.tasks[name];
  if (current === undefined) return run;
  return { ...run, world: withProcess(run.world, { ...process, tasks: { ...process.tasks, [name]: current } }) };
}

export function onTask(at: Turn, change: Partial<TaskObject>, on: boolean): Run {
  const { run, process, name, put } = at;
  const current = run.world.tasks[name];
  const copy = process.tasks[name];
  if (current === undefined || copy === undefined || copy.version !== current.version || put === "lost")
    return reread(at);
  const object = { ...current, ...change, version: current.version + 1 };
  const world = { ...run.world, tasks: { ...run.world.tasks, [name]: object } };
  const happened: Happening = { is: "finalizer", task: name, uid: object.uid, on };
  return {
    world: withProcess(world, { ...process, tasks: { ...process.tasks, [name]: object } }),
    trace: [...run.trace, happened],
  };
}

export function createdTenant(at: Turn): Run {
  const { run, process } = at;
  const tenant = run.world.tenant ?? { version: 1, status: null };
  const memory = { ...memoryOf(at), fresh: true };
  return { ...run, world: withProcess({ ...run.world, tenant }, withMemory({ ...process, tenant }, at.name, memory)) };
}

export function readTenant(at: Turn): Run {
  const { run, process } = at;
  const memory = { ...memoryOf(at), fresh: true };
  const reader = withMemory({ ...process, tenant: run.world.tenant }, at.name, memory);
  return { ...run, world: withProcess(run.world, reader) };
}

export function lockStored(at: Turn, status: TenantStatus): Run {
  const { run, process, put } = at;
  const current = run.world.tenant;
  if (current === null || process.tenant?.version !== current.version || put === "lost") return readTenant(at);
  const tenant = { version: current.version + 1, status: tenantFrom(JSON.parse(JSON.stringify(tenantTo({}, status)))) };
  const happened: Happening = { is: "lock", process: process.identity, before: current.status, after: status };
  const writer = withMemory({ ...process, tenant }, at.name, { ...memoryOf(at), fresh: true });
  return { world: withProcess({ ...run.world, tenant }, writer), trace: [...run.trace, happened] };
}

export function rivalsOf({ tasks }: World, uid: string): readonly Rival[] {
  return Object.values(tasks)
    .filter((task) => task.uid !== uid)
    .map((task) => {
      const status = statusOf(task);
      const fence = status === null || status.epoch === 0 ? NO_FENCE : fenceOf(status);
      return { name: task.name, uid: task.uid, phase: status?.phase ?? null, finalizer: task.finalizer, fence };
    });
}
