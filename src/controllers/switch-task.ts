import { millisOf } from "../lib/time.ts";
import { fieldsOf } from "../api/wire.ts";
import type { Attention, Next } from "../kube/controller.ts";
import { isDeleting } from "../kube/finalizer.ts";
import { keyOf, type KubeObject, namespaceOfKey } from "../kube/resource.ts";
import { act } from "./act.ts";
import type { ControllerDeps } from "./deps.ts";
import { emitAgain } from "./emit.ts";
import { type Situation, viewOf } from "./gather.ts";

/** A namespace that has as many turns under way as it may comes back after this (SEC-40); no worker waits for it. */
const CROWDED = millisOf(20);

/** Reconciles one SwitchTask: gather, then act until nothing is due. */
export async function reconcileTask(key: string, deps: ControllerDeps, attention: Attention): Promise<Next> {
  const task = deps.tasks.get(key);
  if (task === undefined) {
    deps.memories.forget(key);
    return { again: "never" };
  }
  const leave = deps.turns.enter(namespaceOfKey(key));
  if (leave === null) return { again: "after", after: CROWDED };
  try {
    const situation = await situationOf(task, deps);
    announceAgain(situation, key, deps);
    return await act(situation, deps, attention);
  } finally {
    leave();
  }
}

async function situationOf(task: KubeObject, deps: ControllerDeps): Promise<Situation> {
  const control = fieldsOf(fieldsOf(task["spec"])["control"]);
  const named = control["approvals"] !== undefined || control["skip"] !== undefined;
  return {
    task,
    tenant: control["rollback"] === undefined ? releasedTenant(task, deps) : undefined,
    rivals: null,
    namespaceTerminating: isDeleting(task) && (await deps.namespaceTerminating(task.metadata.namespace ?? "")),
    policiesMissing: named && (await deps.policiesMissing()),
  };
}

/**
 * A task that waits for its last Events before it leaves the watch need not read the lock again that it gave back itself, while nothing
 * newer is known of it: only a rollback could make it holder again, and that changes the task, whose version the last patch is checked against.
 */
function releasedTenant(task: KubeObject, deps: ControllerDeps): KubeObject | undefined {
  const { released } = deps.memories.of(keyOf(task), task.metadata.uid);
  const known = released === null ? undefined : deps.tenants.get(keyOf(released));
  return known?.metadata.resourceVersion === released?.metadata.resourceVersion ? (released ?? undefined) : undefined;
}

function announceAgain(situation: Situation, key: string, deps: ControllerDeps): void {
  const memory = deps.memories.of(key, situation.task.metadata.uid);
  if (memory.announced) return;
  memory.announced = true;
  emitAgain(viewOf(situation, deps), deps);
}
