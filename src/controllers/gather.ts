import { instantOf } from "../lib/time.ts";
import { controlOf } from "../api/decode-task.ts";
import { DONE_LABEL, FINALIZER, RERUN_ANNOTATION } from "../api/group.ts";
import { statusFrom } from "../api/status-wire.ts";
import { tenantFrom, tenantStateName } from "../api/tenant-wire.ts";
import { fieldsOf, instantAt, textOf } from "../api/wire.ts";
import { freshStatus, openEntry } from "../domain/status.ts";
import type { Status, TaskSpec, TenantStatus } from "../domain/stored.ts";
import type { Rival, TaskView, TenantView } from "../domain/task.ts";
import type { KubeObject } from "../kube/resource.ts";
import { keyOf } from "../kube/resource.ts";
import { isDeleting } from "../kube/finalizer.ts";
import type { ControllerDeps } from "./deps.ts";
import { mineOf, seenFor } from "./memory.ts";

/** What one turn knows of its task; replaced as answers come in. */
export interface Situation {
  readonly task: KubeObject;
  /** undefined: look into the cache; null: there is none. */
  readonly tenant: KubeObject | null | undefined;
  readonly rivals: readonly Rival[] | null;
  /** Null: nobody asked yet; {@link informed} does where it counts. */
  readonly namespaceTerminating: boolean | null;
  readonly policiesMissing: boolean | null;
}

/** A copy of the task of which nothing else is known. */
export const situationOf = (task: KubeObject): Situation => ({
  task,
  tenant: undefined,
  rivals: null,
  namespaceTerminating: null,
  policiesMissing: null,
});

/**
 * What the copy in hand makes worth knowing, asked for where nobody asked yet. Every copy goes through here before it is decided on:
 * one that came in the middle of a turn may be the first to name somebody (SEC-14).
 */
export async function informed(situation: Situation, deps: ControllerDeps): Promise<Situation> {
  const { task, namespaceTerminating, policiesMissing } = situation;
  const asksNamespace = namespaceTerminating === null && isDeleting(task);
  const asksPolicies = policiesMissing === null && namesPeople(task);
  if (!asksNamespace && !asksPolicies) return situation;
  return {
    ...situation,
    namespaceTerminating: asksNamespace
      ? await deps.namespaceTerminating(task.metadata.namespace ?? "")
      : namespaceTerminating,
    policiesMissing: asksPolicies ? await deps.policiesMissing() : policiesMissing,
  };
}

function namesPeople(task: KubeObject): boolean {
  const { approvals, skip } = fieldsOf(fieldsOf(task["spec"])["control"]);
  return approvals !== undefined || skip !== undefined;
}

/** The key that a tenant's state is cached under. */
export const tenantKey = (namespace: string, tenantId: string): string => `${namespace}/${tenantStateName(tenantId)}`;

/** The whole view of a task as of now. `stored` and `status` are the same object until an outcome is folded in. */
export function viewOf(situation: Situation, deps: ControllerDeps): TaskView {
  const { task } = situation;
  const { metadata } = task;
  const key = keyOf(task);
  const memory = deps.memories.of(key, metadata.uid);
  const generation = metadata.generation ?? 0;
  if (memory.decoded?.generation !== generation) memory.decoded = { generation, spec: deps.decodeSpec(task["spec"]) };
  const { spec, issues } = memory.decoded.spec;
  const stored = statusFrom(task["status"], generation);
  const status = stored ?? freshStatus(generation);
  const now = deps.clock.monotonic();
  const open = openEntry(status);
  const gate = isGate(deps, spec, open?.name);
  const tenant = tenantView(situation, spec, deps);
  return {
    ref: { namespace: metadata.namespace ?? "", name: metadata.name, uid: metadata.uid },
    generation,
    deletedAt: instantAt(metadata.deletionTimestamp),
    finalizer: metadata.finalizers?.includes(FINALIZER) === true,
    done: metadata.labels?.[DONE_LABEL] !== undefined,
    rerun: metadata.annotations?.[RERUN_ANNOTATION] ?? null,
    spec,
    issues,
    control: controlOf(task["spec"]),
    stored,
    status,
    tenant,
    rivals: situation.rivals,
    settings: deps.settings(),
    kinds: deps.kinds,
    mine: mineOf(memory, generation, gate, now),
    self: { by: deps.identity, nonce: deps.rng.id(), jitter: deps.rng.float() },
    claimSeenFor: seenFor(memory, open, now),
    claimantGone: open?.claim !== undefined && open.claim !== null && deps.hasEnded(open.claim.by),
    rewound: memory.rewound,
    namespaceTerminating: situation.namespaceTerminating ?? false,
    // Whoever was named without anybody asking is vouched for by nobody.
    policiesMissing: situation.policiesMissing ?? namesPeople(task),
    crowd: deps.crowd(metadata.namespace ?? ""),
    eventsPending: deps.events.pending(metadata.uid),
  };
}

function isGate(deps: ControllerDeps, spec: TaskSpec | null, stage: string | undefined): boolean {
  const found = spec?.stages.find(({ name }) => name === stage);
  return found !== undefined && deps.kinds[found.kind]?.effect(found.config) === "gate";
}

function tenantView(situation: Situation, spec: TaskSpec | null, deps: ControllerDeps): TenantView {
  const tenantId = spec?.tenantId ?? textOf(fieldsOf(situation.task["spec"])["tenantId"]) ?? "";
  const name = tenantStateName(tenantId);
  const fresh = situation.tenant !== undefined;
  const object = fresh
    ? situation.tenant
    : deps.tenants.get(tenantKey(situation.task.metadata.namespace ?? "", tenantId));
  if (object === null || object === undefined) return { name, exists: false, fresh, deleting: false, status: null };
  const status = tenantFrom(object["status"]);
  const named = textOf(fieldsOf(object["spec"])["tenantId"]);
  return {
    name,
    exists: true,
    fresh,
    deleting: object.metadata.deletionTimestamp !== undefined,
    status: named === tenantId ? status : notOurs(status, named ?? ""),
  };
}

/** SEC-5: an object under the right name that says it is for another tenant was not made by us. */
function notOurs(status: TenantStatus | null, tenantId: string): TenantStatus | null {
  const reason = `TenantState says that it is for tenant ${tenantId}`;
  return status === null ? null : { ...status, diverged: { reason, since: instantOf(0) } };
}

/** `status` laid over the view; the same view where nothing changes. */
export const withStatus = (view: TaskView, status: Status): TaskView =>
  status === view.status ? view : { ...view, status };
