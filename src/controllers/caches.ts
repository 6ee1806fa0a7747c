import type { Clock, Rng } from "../lib/seams.ts";
import type { WaitingReason } from "../domain/reasons.ts";
import { DONE_LABEL, SWITCH_TASKS, TENANT_STATES } from "../api/group.ts";
import { fieldsOf, textOf } from "../api/wire.ts";
import type { KubeClient } from "../kube/client.ts";
import type { KubeLog } from "../kube/log.ts";
import type { ReflectorHandlers } from "../kube/mirror.ts";
import { openReflector, type Reflector } from "../kube/reflector.ts";
import { compareVersions, keyOf, type KubeObject } from "../kube/resource.ts";
import { type Applied, createStore, type Store } from "../kube/store.ts";
import { type Lane, openWorkqueue, type Workqueue } from "../kube/workqueue.ts";
import { tenantKey } from "./gather.ts";
import { isHolding, laneOf } from "./lanes.ts";
import type { Memories } from "./memory.ts";

export interface CachesDeps {
  readonly client: KubeClient;
  readonly namespace: string | null;
  readonly memories: Memories;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: KubeLog;
}

/** What is watched, and who is woken by it. Caches wake workers; they authorise nothing (protocol.md). */
export interface Caches {
  readonly tasks: {
    get(key: string): KubeObject | undefined;
    refresh(object: KubeObject): void;
    lastManager(key: string): string | null;
  };
  /** A copy that comes as an answer wakes as one of the watch would, whose echo is the same and wakes nobody. */
  readonly tenants: Pick<Store, "get" | "all" | "apply" | "refresh">;
  readonly taskQueue: Workqueue;
  readonly tenantQueue: Workqueue;
  /** One key, which stands for a pass over the finished tasks. */
  readonly sweepQueue: Workqueue;
  readonly reflectors: readonly Reflector[];
  /** Unfinished tasks. */
  readonly live: Store;
  /** Tasks of a namespace that hold a tenant. */
  holding(namespace: string): number;
  wakeTask(uid: string, lane: Lane): void;
  /** Who waits for that looks again. */
  wakeWaiting(reason: WaitingReason): void;
}

const namespaceOf = ({ metadata }: KubeObject): string => metadata.namespace ?? "";
const tenantOf = (task: KubeObject): string =>
  tenantKey(namespaceOf(task), textOf(fieldsOf(task["spec"])["tenantId"]) ?? "");

const INDEXES = {
  tenant: (task: KubeObject) => [tenantOf(task)],
  uid: (task: KubeObject) => [task.metadata.uid],
  holding: (task: KubeObject) => (isHolding(task) ? [namespaceOf(task)] : []),
  active: (task: KubeObject) => (isHolding(task) ? ["yes"] : []),
} as const;
const MANAGED = ["f:spec", "f:control"] as const;

/** Watch 1: tasks without the label; watch 2: Completed ones that are told to go back (api.md, What the operator watches). */
export function openCaches(deps: CachesDeps): Caches {
  const live = createStore({ indexes: INDEXES, managed: MANAGED });
  const going = createStore({ indexes: INDEXES, managed: MANAGED });
  const tenants = createStore();
  const taskQueue = openWorkqueue(deps);
  const tenantQueue = openWorkqueue(deps);
  const sweepQueue = openWorkqueue(deps);
  sweepQueue.add("finished", "start-up");
  const about = { client: deps.client, namespace: deps.namespace, clock: deps.clock, rng: deps.rng, log: deps.log };
  const tasksOn = (store: Store): ReflectorHandlers => taskHandlers(store, taskQueue, tenantQueue, deps.memories);
  const onTenant = tenantHandlers(tenantQueue, taskQueue, live);
  const newest = (key: string): KubeObject | undefined => newer(live.get(key), going.get(key));
  return {
    tasks: {
      get: newest,
      refresh: (object) => {
        live.refresh(object);
        going.refresh(object);
      },
      lastManager: (key) => live.lastManager(key) ?? going.lastManager(key),
    },
    tenants: telling(tenants, onTenant),
    taskQueue,
    tenantQueue,
    sweepQueue,
    live,
    reflectors: [
      openReflector({
        ...about,
        resource: TENANT_STATES,
        store: tenants,
        on: onTenant,
      }),
      openReflector({
        ...about,
        resource: SWITCH_TASKS,
        labelSelector: `!${DONE_LABEL}`,
        store: live,
        on: tasksOn(live),
      }),
      openReflector({
        ...about,
        resource: SWITCH_TASKS,
        fieldSelector: "spec.control.rollback=true,status.phase=Completed",
        store: going,
        on: tasksOn(going),
      }),
    ],
    holding: (namespace) => live.countBy("holding", namespace),
    wakeTask: (uid, lane) => {
      for (const task of [...live.byIndex("uid", uid), ...going.byIndex("uid", uid)]) taskQueue.add(keyOf(task), lane);
    },
    wakeWaiting: (reason) => {
      for (const task of [...live.all(), ...going.all()]) {
        if (textOf(fieldsOf(fieldsOf(task["status"])["waiting"])["reason"]) === reason)
          taskQueue.add(keyOf(task), "continuation");
      }
    },
  };
}

function telling(store: Store, { upsert }: Pick<ReflectorHandlers, "upsert">): Caches["tenants"] {
  const told = (applied: Applied): Applied => {
    const { change, object, previous } = applied;
    if (object !== undefined && change !== "same" && change !== "older") upsert(object, previous, "watch");
    return applied;
  };
  return {
    get: (key) => store.get(key),
    all: () => store.all(),
    apply: (object) => told(store.apply(object)),
    refresh: (object) => told(store.refresh(object)),
  };
}

function newer(a: KubeObject | undefined, b: KubeObject | undefined): KubeObject | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareVersions(a.metadata.resourceVersion, b.metadata.resourceVersion) < 0 ? b : a;
}

function taskHandlers(
  store: Store,
  taskQueue: Workqueue,
  tenantQueue: Workqueue,
  memories: Memories,
): ReflectorHandlers {
  /** uid → newest version that was held when history went back. */
  const before = new Map<string, string>();
  return {
    upsert(task, previous, source) {
      const { uid, resourceVersion } = task.metadata;
      const known = before.get(uid);
      if (known !== undefined && compareVersions(resourceVersion, known) < 0)
        memories.of(keyOf(task), uid).rewound = true;
      before.delete(uid);
      taskQueue.add(keyOf(task), laneOf(task, previous, source));
    },
    gone(task) {
      taskQueue.add(keyOf(task), "continuation");
      // Its tenant may have lost its holder.
      tenantQueue.add(tenantOf(task), "continuation");
    },
    synced: () => undefined,
    rewound() {
      for (const { metadata } of store.all()) before.set(metadata.uid, metadata.resourceVersion);
    },
  };
}

/** A tenant that changes wakes whoever holds it and whoever waits for it. */
function tenantHandlers(tenantQueue: Workqueue, taskQueue: Workqueue, live: Store): ReflectorHandlers {
  const wake = (tenant: KubeObject, lane: Lane): void => {
    tenantQueue.add(keyOf(tenant), lane);
    for (const task of live.byIndex("tenant", keyOf(tenant)))
      taskQueue.add(keyOf(task), lane === "user" ? "continuation" : lane);
  };
  return {
    upsert(tenant, previous, source) {
      const asked = previous !== undefined && previous.metadata.generation !== tenant.metadata.generation;
      wake(tenant, source === "list" ? "start-up" : asked ? "user" : "continuation");
    },
    gone: (tenant) => wake(tenant, "continuation"),
    synced: () => undefined,
    rewound: () => undefined,
  };
}
