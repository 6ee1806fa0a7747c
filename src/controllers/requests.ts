import { NO_FENCE } from "../lib/fence.ts";
import { fenceLeft } from "../domain/lock.ts";
import type { Rival, TaskView } from "../domain/task.ts";
import { API_VERSION, DONE_LABEL, FINALIZER, SWITCH_TASKS, TENANT_STATES } from "../api/group.ts";
import { statusFrom } from "../api/status-wire.ts";
import { KubeError, isNotFound } from "../kube/errors.ts";
import { withFinalizer, withoutFinalizer } from "../kube/finalizer.ts";
import { type KubeObject, refOf } from "../kube/resource.ts";
import type { ControllerDeps } from "./deps.ts";
import type { Situation } from "./gather.ts";

// The requests of a turn that write no status. None is repeated here: what failed is decided again.

const subject = ({ ref }: TaskView): string => `${ref.namespace}/${ref.name}`;

/** Finalizer on, and the label off that had taken a Completed task out of the watch. */
export async function addFinalizer(view: TaskView, task: KubeObject, deps: ControllerDeps): Promise<KubeObject> {
  const { uid, resourceVersion } = task.metadata;
  const patch = {
    uid,
    resourceVersion,
    finalizers: withFinalizer(task, FINALIZER),
    ...(view.done ? { labels: { [DONE_LABEL]: null } } : {}),
  };
  const stored = await deps.client.patchMetadata(SWITCH_TASKS, refOf(task), patch, {
    point: { class: "api/finalizer", subject: subject(view) },
  });
  deps.tasks.refresh(stored);
  return stored;
}

/** Finalizer off and label on, in one patch that is checked against the version that was decided on (◆). */
export async function removeFromWatch(view: TaskView, task: KubeObject, deps: ControllerDeps): Promise<void> {
  const { uid, resourceVersion } = task.metadata;
  const finalizers = withoutFinalizer(task, FINALIZER);
  const patch = { uid, resourceVersion, labels: { [DONE_LABEL]: "true" }, ...(view.finalizer ? { finalizers } : {}) };
  const stored = await deps.client.patchMetadata(SWITCH_TASKS, refOf(task), patch, {
    point: { class: "api/finalizer", subject: subject(view) },
  });
  deps.tasks.refresh(stored);
}

/** A consistent read of the tenant's state. */
export async function readTenant(situation: Situation, view: TaskView, deps: ControllerDeps): Promise<Situation> {
  const ref = { namespace: view.ref.namespace, name: view.tenant.name };
  try {
    const tenant = await deps.client.get(TENANT_STATES, ref);
    deps.tenants.apply(tenant);
    return { ...situation, tenant };
  } catch (error) {
    if (isNotFound(error)) return { ...situation, tenant: null };
    throw error;
  }
}

/** A TenantState with its finalizer; its status comes with the lock. Made already by somebody else is as good. */
export async function createTenant(situation: Situation, view: TaskView, deps: ControllerDeps): Promise<Situation> {
  const object = {
    apiVersion: API_VERSION,
    metadata: { name: view.tenant.name, namespace: view.ref.namespace, finalizers: [FINALIZER] },
    spec: { tenantId: view.spec?.tenantId ?? "" },
  };
  try {
    const tenant = await deps.client.create(TENANT_STATES, object, {
      point: { class: "api/create", subject: subject(view) },
    });
    deps.tenants.apply(tenant);
    return { ...situation, tenant };
  } catch (error) {
    if (error instanceof KubeError && error.kind === "AlreadyExists") return readTenant(situation, view, deps);
    throw error;
  }
}

/** Every other task of the tenant, from a consistent list: who might still hold a lock that is gone (◆). */
export async function readRivals(situation: Situation, view: TaskView, deps: ControllerDeps): Promise<Situation> {
  const { namespace, uid } = view.ref;
  const rivals: Rival[] = [];
  for await (const page of deps.client.listAll(SWITCH_TASKS, {
    namespace,
    fieldSelector: `spec.tenantId=${view.spec?.tenantId ?? ""}`,
  })) {
    if (page.restarted) rivals.length = 0;
    rivals.push(...page.items.filter((task) => task.metadata.uid !== uid).map(rivalOf));
  }
  return { ...situation, rivals };
}

function rivalOf(task: KubeObject): Rival {
  const status = statusFrom(task["status"], 0);
  const fence = status === null ? NO_FENCE : fenceLeft(status);
  const finalizer = task.metadata.finalizers?.includes(FINALIZER) === true;
  return { name: task.metadata.name, uid: task.metadata.uid, phase: status?.phase ?? null, finalizer, fence };
}
