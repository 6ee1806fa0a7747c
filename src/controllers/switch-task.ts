import { millisOf } from "../lib/time.ts";
import { waitFor } from "../domain/status.ts";
import { fieldsOf } from "../api/wire.ts";
import type { Attention, Next } from "../kube/controller.ts";
import { isForbidden, isNamespaceTerminating } from "../kube/errors.ts";
import { keyOf, type KubeObject, namespaceOfKey } from "../kube/resource.ts";
import { act, storeStatus } from "./act.ts";
import type { ControllerDeps } from "./deps.ts";
import { emitAgain } from "./emit.ts";
import { type Situation, situationOf, viewOf } from "./gather.ts";

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
    const situation = beginning(task, deps);
    announceAgain(situation, key, deps);
    return await act(situation, deps, attention);
  } catch (error) {
    if (isForbidden(error) && !isNamespaceTerminating(error)) await sayForbidden(key, error, deps);
    throw error;
  } finally {
    leave();
  }
}

/**
 * A right that the operator lacks before it took the tenant is shown on the task with its verb and resource; later there is the log. What
 * cannot be written now is said at the next turn.
 */
async function sayForbidden(key: string, { message }: Error, deps: ControllerDeps): Promise<void> {
  const task = deps.tasks.get(key);
  if (task === undefined) return;
  const situation = situationOf(task);
  const view = viewOf(situation, deps);
  if (view.stored?.phase !== "Pending") return;
  const status = waitFor(view, view.stored, { reason: "PermissionMissing", message, fresh: true }, deps.time.now());
  if (status !== view.stored) await storeStatus(status, view, situation, deps).catch(() => undefined);
}

function beginning(task: KubeObject, deps: ControllerDeps): Situation {
  const control = fieldsOf(fieldsOf(task["spec"])["control"]);
  return { ...situationOf(task), tenant: control["rollback"] === undefined ? releasedTenant(task, deps) : undefined };
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
