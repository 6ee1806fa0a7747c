import { SWITCH_TASKS } from "../../src/api/group.ts";
import { fieldsOf, textOf } from "../../src/api/wire.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { openReflector } from "../../src/kube/reflector.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { createStore } from "../../src/kube/store.ts";
import { fanOut } from "../../src/stages/stage.ts";

export const POINT = { class: "api/create", subject: null } as const;
const NAMESPACES = { group: "", version: "v1", plural: "namespaces", kind: "Namespace", namespaced: false } as const;
const CREATORS = 8;

export const createNamespace = async (client: KubeClient, name: string): Promise<void> =>
  void (await client.create(NAMESPACES, { metadata: { name } }, { point: POINT }));

export interface Pipeline {
  /** Stages that do nothing, after the first wait. */
  readonly stages: number;
  /** Seconds of a first wait; 0: there is none. */
  readonly gather: number;
}

export async function createTask(
  client: KubeClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  { stages, gather }: Pipeline,
): Promise<KubeObject> {
  const noop = Array.from({ length: stages }, (_, i) => ({ name: `stage-${i}`, wait: { duration: "0s" } }));
  const manifest = {
    metadata: { name, namespace },
    spec: {
      tenantId: name,
      plan: { id: 1, version: 42 },
      target: { deployUnit: { id: 2, name: "green", version: 7 } },
      stages: gather === 0 ? noop : [{ name: "gather", wait: { duration: `${gather}s` } }, ...noop],
    },
  };
  return client.create(SWITCH_TASKS, manifest, { point: POINT });
}

export async function createTasks(
  client: KubeClient,
  namespace: string,
  { count, ...pipeline }: Pipeline & { readonly count: number },
): Promise<void> {
  const names = Array.from({ length: count }, (_, i) => `crowd-${String(i).padStart(5, "0")}`);
  await fanOut(names, CREATORS, (name) => createTask(client, { namespace, name }, pipeline));
}

export interface Seen {
  /** Stages that settled. */
  readonly done: number;
  readonly phase: string;
  readonly waiting: string | null;
  readonly version: string;
}

/** Every task of a namespace as a watcher beside the operator sees it. */
export interface Watcher extends AsyncDisposable {
  count(right: (task: Seen) => boolean): number;
  readonly tasks: ReadonlyMap<string, Seen>;
}

/** Tasks whose name begins with `alone` are left out. `on` is told each version. */
export async function watchTasks(
  client: KubeClient,
  namespace: string,
  on: (task: KubeObject) => void = () => undefined,
): Promise<Watcher> {
  const tasks = new Map<string, Seen>();
  const reflector = openReflector({
    client,
    resource: SWITCH_TASKS,
    namespace,
    store: createStore(),
    clock: systemClock,
    rng: systemRng,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    on: {
      upsert: (task) => {
        on(task);
        if (!task.metadata.name.startsWith("alone")) tasks.set(task.metadata.name, seenOf(task));
      },
      gone: () => {},
      synced: () => {},
      rewound: () => {},
    },
  });
  await reflector.whenSynced(AbortSignal.timeout(60_000));
  return {
    tasks,
    count: (right) => [...tasks.values()].filter(right).length,
    [Symbol.asyncDispose]: () => reflector.close(),
  };
}

function seenOf(task: KubeObject): Seen {
  const status = fieldsOf(task["status"]);
  return {
    done: Number((textOf(status["progress"]) ?? "0").split("/")[0]),
    phase: textOf(status["phase"]) ?? "",
    waiting: textOf(fieldsOf(status["waiting"])["reason"]),
    version: task.metadata.resourceVersion ?? "",
  };
}

export const isOver = ({ phase }: Seen): boolean => phase === "Completed";
