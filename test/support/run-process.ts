import { between, type Instant, millisOf } from "../../src/lib/time.ts";
import { statusFrom } from "../../src/api/status-wire.ts";
import { settle } from "../../src/domain/settle.ts";
import { freshStatus, openEntry } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import type { Mine, TaskView } from "../../src/domain/task.ts";
import { KINDS } from "./domain-kinds.ts";
import { type Happening, type Memory, NO_MEMORY, type Process, type TaskObject, type World } from "./run-world.ts";

/** A world and everything that happened in it. */
export interface Run {
  readonly world: World;
  readonly trace: readonly Happening[];
}

export const newProcess = (identity: string, { tasks, tenant }: World): Process => ({
  identity,
  tasks,
  tenant,
  memory: {},
});

export const statusOf = (task: TaskObject): Status | null => statusFrom(task.status, task.generation);

export const processOf = (world: World, name: string): Process => {
  const process = world.processes[name];
  if (process === undefined) throw new Error(`no process ${name}`);
  return process;
};

export const withProcess = (world: World, process: Process): World => ({
  ...world,
  processes: { ...world.processes, [process.identity]: process },
});

/** The process of that name is another one now, which remembers nothing. */
export const restarted = (run: Run, identity: string): Run => ({
  ...run,
  world: withProcess(run.world, newProcess(identity, run.world)),
});

export const synced = ({ tasks, tenant }: World, process: Process): Process => ({ ...process, tasks, tenant });

/** The view that `process` has of a task: from its own, possibly old copies, with what it has in hand laid over. */
export function viewOf(world: World, process: Process, name: string): TaskView {
  const task = process.tasks[name];
  if (task === undefined) throw new Error(`${process.identity} knows no task ${name}`);
  const memory = process.memory[name] ?? NO_MEMORY;
  const stored = statusOf(task);
  const status = stored ?? freshStatus(task.generation);
  const open = openEntry(status);
  const { foreign } = memory;
  const seen = open?.claim !== null && open?.claim.nonce === foreign?.nonce ? (foreign?.since ?? world.now) : world.now;
  const view: TaskView = {
    ref: { namespace: "prod", name, uid: task.uid },
    generation: task.generation,
    deletedAt: task.deletedAt,
    finalizer: task.finalizer,
    done: task.done,
    rerun: null,
    spec: task.spec,
    issues: [],
    control: task.control,
    stored,
    status,
    tenant: {
      name: "acme",
      exists: process.tenant !== null,
      fresh: memory.fresh,
      deleting: false,
      status: process.tenant?.status ?? null,
    },
    rivals: memory.rivals,
    settings: world.settings,
    kinds: KINDS,
    mine: mineOf(memory, task, world.now),
    self: { by: process.identity, nonce: `claim-${world.nonces + 1}`, jitter: 0.5 },
    claimSeenFor: between(seen, world.now),
    claimantGone: false,
    rewound: false,
    namespaceTerminating: false,
    policiesMissing: false,
    crowd: { holding: 0, most: 100 },
    eventsPending: false,
  };
  const { inHand } = memory;
  return inHand === null ? view : { ...view, status: settle(view, inHand.act, inHand.outcome, world.now) };
}

function mineOf({ polling }: Memory, { generation }: TaskObject, now: Instant): Mine | null {
  if (polling === null) return null;
  const asked = polling.generation !== generation;
  const left = polling.until === null ? null : between(now, polling.until);
  return {
    nonce: polling.nonce,
    elapsed: between(polling.since, now),
    waitLeft: asked ? millisOf(0) : left,
    memo: polling.memo,
  };
}

/** First sight of a claim that is not this process's own starts its wait (never the claim's own `until`, ◆). */
export function lookedAt(world: World, process: Process, name: string): Process {
  const memory = process.memory[name] ?? NO_MEMORY;
  const task = process.tasks[name];
  const nonce = task === undefined ? undefined : openEntry(statusOf(task) ?? freshStatus(0))?.claim?.nonce;
  const own = nonce === undefined || nonce === memory.polling?.nonce || nonce === memory.inHand?.act.nonce;
  const foreign = own ? null : memory.foreign?.nonce === nonce ? memory.foreign : { nonce, since: world.now };
  return withMemory(process, name, { ...memory, foreign });
}

export const withMemory = (process: Process, name: string, memory: Memory): Process => ({
  ...process,
  memory: { ...process.memory, [name]: memory },
});
