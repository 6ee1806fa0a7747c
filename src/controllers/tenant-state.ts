import type { Fence } from "../lib/fence.ts";
import { never } from "../lib/never.ts";
import { quietUntil } from "../domain/claims.ts";
import { abandon } from "../domain/guards.ts";
import { fenceAbove, fenceLeft } from "../domain/lock.ts";
import { isTerminal } from "../domain/phase.ts";
import {
  decideTenant,
  type ForceRelease,
  type HolderFact,
  rebuilt,
  type TenantDecision,
  type TenantFacts,
} from "../domain/tenant.ts";
import type { TenantStatus } from "../domain/stored.ts";
import { FINALIZER, SWITCH_TASKS, TENANT_STATES } from "../api/group.ts";
import { tenantFrom } from "../api/tenant-wire.ts";
import { fieldsOf, numberOf, textOf } from "../api/wire.ts";
import { isAmbiguous, isConflict, isNotFound } from "../kube/errors.ts";
import type { Attention, Next } from "../kube/controller.ts";
import { hasFinalizer, isDeleting, withoutFinalizer } from "../kube/finalizer.ts";
import { type KubeObject, refOf, refOfKey } from "../kube/resource.ts";
import { act, storeStatus, storeTenantStatus } from "./act.ts";
import type { ControllerDeps } from "./deps.ts";
import { situationOf, viewOf } from "./gather.ts";

const MAX_STEPS = 16;

/** Reconciles one TenantState: releases that people ask for, holders that vanished or forgot to release, deletion. */
export async function reconcileTenant(key: string, deps: ControllerDeps, attention: Attention): Promise<Next> {
  let tenant = deps.tenants.get(key);
  let holder: Holder = { fact: { is: "unread" }, task: null };
  for (let step = 0; step < MAX_STEPS; step += 1) {
    if (tenant === undefined) return { again: "never" };
    if (holder.fact.is === "unread") holder = cachedHolder(tenant, deps);
    const decision = decideTenant(await factsOf(tenant, holder.fact, deps), deps.time.now());
    if (decision.do === "sleep")
      return decision.after === null ? { again: "never" } : { again: "after", after: decision.after };
    try {
      const done = await carryOut(decision, { tenant, holder }, deps, attention);
      tenant = done.tenant;
      holder = done.holder;
    } catch (error) {
      if (!isConflict(error) && !isAmbiguous(error) && !isNotFound(error)) throw error;
      tenant = await read(key, deps);
      holder = { fact: { is: "unread" }, task: null };
    }
  }
  return { again: "now", lane: "continuation" };
}

interface Holder {
  readonly fact: HolderFact;
  readonly task: KubeObject | null;
}
interface Hand {
  readonly tenant: KubeObject | undefined;
  readonly holder: Holder;
}

async function factsOf(tenant: KubeObject, holder: HolderFact, deps: ControllerDeps): Promise<TenantFacts> {
  const release = releaseOf(tenant);
  const deleting = isDeleting(tenant);
  return {
    status: tenantFrom(tenant["status"]),
    release,
    deleting,
    finalizer: hasFinalizer(tenant, FINALIZER),
    namespaceTerminating: deleting && (await deps.namespaceTerminating(tenant.metadata.namespace ?? "")),
    policiesMissing: release !== null && (await deps.policiesMissing()),
    holder,
  };
}

function releaseOf(tenant: KubeObject): ForceRelease | null {
  const { epoch, by, reason, fence } = fieldsOf(fieldsOf(tenant["spec"])["forceRelease"]);
  const at = numberOf(epoch);
  return at === null ? null : { epoch: at, by: textOf(by) ?? "", reason: textOf(reason) ?? "", fence: textOf(fence) };
}

/** A holder in the cache is there; one that is not is read before anything is said about it. */
function cachedHolder(tenant: KubeObject, deps: ControllerDeps): Holder {
  const held = tenantFrom(tenant["status"])?.holder ?? null;
  const task = held === null ? undefined : deps.tasks.get(`${tenant.metadata.namespace ?? ""}/${held.task}`);
  return task === undefined || task.metadata.uid !== held?.uid
    ? { fact: { is: "unread" }, task: null }
    : { fact: factOf(task, deps), task };
}

async function readHolder(tenant: KubeObject, deps: ControllerDeps): Promise<Holder> {
  const held = tenantFrom(tenant["status"])?.holder ?? null;
  if (held === null) return { fact: { is: "vanished" }, task: null };
  try {
    const task = await deps.client.get(SWITCH_TASKS, { namespace: tenant.metadata.namespace ?? "", name: held.task });
    return task.metadata.uid === held.uid
      ? { fact: factOf(task, deps), task }
      : { fact: { is: "vanished" }, task: null };
  } catch (error) {
    if (isNotFound(error)) return { fact: { is: "vanished" }, task: null };
    throw error;
  }
}

function factOf(task: KubeObject, deps: ControllerDeps): HolderFact {
  const { status, stored } = viewOf(situationOf(task), deps);
  const isOver =
    stored !== null && isTerminal(status.phase) && !(status.phase === "Completed" && isGoingBack(task, deps));
  if (!isOver) return { is: "moving", diverged: status.waiting?.reason === "Diverged" ? status.waiting.message : null };
  return {
    is: "over",
    abandoned: status.abandoned !== null,
    fence: fenceLeft(status),
    quietUntil: quietUntil(status, null),
  };
}

/** A Completed holder whose lock points back is about to move again: nobody releases it (◆). */
function isGoingBack(task: KubeObject, deps: ControllerDeps): boolean {
  return viewOf(situationOf(task), deps).tenant.status?.holder?.direction === "Back";
}

async function carryOut(
  decision: Exclude<TenantDecision, { readonly do: "sleep" }>,
  { tenant, holder }: { readonly tenant: KubeObject; readonly holder: Holder },
  deps: ControllerDeps,
  attention: Attention,
): Promise<Hand> {
  switch (decision.do) {
    case "read-holder":
      return { tenant, holder: await readHolder(tenant, deps) };
    case "abandon-holder": {
      const task = holder.task === null ? null : await abandonTask(holder.task, decision, deps);
      return { tenant, holder: task === null ? holder : { fact: factOf(task, deps), task } };
    }
    case "finish-holder":
      if (holder.task !== null) await act(situationOf(holder.task), deps, attention);
      return { tenant: await read(subject(tenant), deps), holder: { fact: { is: "unread" }, task: null } };
    case "rebuild":
      return { tenant: await rebuild(tenant, decision.release, deps), holder };
    case "write":
      return { tenant: await write(tenant, decision.status, deps), holder };
    case "remove-finalizer":
      return { tenant: await removeFinalizer(tenant, deps), holder };
    default:
      return never(decision);
  }
}

async function abandonTask(
  task: KubeObject,
  about: { readonly by: string; readonly reason: string },
  deps: ControllerDeps,
): Promise<KubeObject> {
  const situation = situationOf(task);
  const view = viewOf(situation, deps);
  return storeStatus(abandon(view, about, deps.time.now()), view, situation, deps);
}

/** Every task of the tenant that may be dirty is abandoned; the record then begins above all their fences. */
async function rebuild(tenant: KubeObject, release: ForceRelease, deps: ControllerDeps): Promise<KubeObject> {
  const tenantId = textOf(fieldsOf(tenant["spec"])["tenantId"]) ?? "";
  const fences: Fence[] = [];
  for await (const page of deps.client.listAll(SWITCH_TASKS, {
    namespace: tenant.metadata.namespace ?? "",
    fieldSelector: `spec.tenantId=${tenantId}`,
  })) {
    if (page.restarted) fences.length = 0;
    for (const task of page.items) {
      const { status, stored } = viewOf(situationOf(task), deps);
      const mayBeDirty = stored !== null && status.epoch > 0 && !isTerminal(status.phase);
      if (mayBeDirty) await abandonTask(task, release, deps);
      fences.push(mayBeDirty ? fenceAbove(status.epoch) : fenceLeft(status));
    }
  }
  return write(tenant, rebuilt(release, fences, deps.time.now()), deps);
}

const subject = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ""}/${metadata.name}`;

const write = (tenant: KubeObject, status: TenantStatus, deps: ControllerDeps): Promise<KubeObject> =>
  storeTenantStatus(tenant, status, subject(tenant), deps);

async function removeFinalizer(tenant: KubeObject, deps: ControllerDeps): Promise<KubeObject | undefined> {
  const { uid, resourceVersion } = tenant.metadata;
  const patch = { uid, resourceVersion, finalizers: withoutFinalizer(tenant, FINALIZER) };
  await deps.client.patchMetadata(TENANT_STATES, refOf(tenant), patch, {
    point: { class: "api/finalizer", subject: subject(tenant) },
  });
  return undefined;
}

async function read(key: string, deps: ControllerDeps): Promise<KubeObject | undefined> {
  try {
    const tenant = await deps.client.get(TENANT_STATES, refOfKey(key));
    deps.tenants.refresh(tenant);
    return tenant;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
