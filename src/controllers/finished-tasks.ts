import { between, type Instant, plus } from "../lib/time.ts";
import { isTerminal } from "../domain/phase.ts";
import { DONE_LABEL, SWITCH_TASKS } from "../api/group.ts";
import { statusFrom } from "../api/status-wire.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import { type KubeObject, refOf } from "../kube/resource.ts";
import { act } from "./act.ts";
import { situationOf } from "./gather.ts";
import type { Attention } from "../kube/controller.ts";
import type { ControllerDeps } from "./deps.ts";

/** Marks of objects that Argo CD tracks: it would make a deleted one again. */
const TRACKING = ["argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"] as const;

export interface Swept {
  readonly seen: number;
  readonly deleted: number;
  readonly taken: number;
}

/**
 * One pass over the finished tasks, page by page, since nothing watches them: those whose time to live is over are deleted; one that has
 * the label and no status, as a backup without status leaves it, gets its turn (api.md, Replay).
 */
export async function sweepFinished(
  namespace: string | null,
  deps: ControllerDeps,
  attention: Attention,
): Promise<Swept> {
  let swept: Swept = { seen: 0, deleted: 0, taken: 0 };
  for await (const page of deps.client.listAll(SWITCH_TASKS, {
    namespace,
    labelSelector: DONE_LABEL,
    signal: attention.signal,
  })) {
    for (const task of page.items) {
      const done = await sweepOne(task, deps, attention);
      swept = {
        seen: swept.seen + 1,
        deleted: swept.deleted + (done === "deleted" ? 1 : 0),
        taken: swept.taken + (done === "taken" ? 1 : 0),
      };
    }
  }
  return swept;
}

async function sweepOne(
  task: KubeObject,
  deps: ControllerDeps,
  attention: Attention,
): Promise<"deleted" | "taken" | "left"> {
  const status = statusFrom(task["status"], 0);
  try {
    if (status === null) {
      await act(situationOf(task), deps, attention);
      return "taken";
    }
    const { uid, resourceVersion } = task.metadata;
    if (!isTerminal(status.phase) || !isExpired(task, deps)) return "left";
    const subject = `${task.metadata.namespace ?? ""}/${task.metadata.name}`;
    await deps.client.delete(
      SWITCH_TASKS,
      refOf(task),
      { uid, resourceVersion },
      { point: { class: "api/delete", subject } },
    );
    return "deleted";
  } catch (error) {
    // Somebody changed or deleted it meanwhile: the next pass looks again.
    if (isConflict(error) || isNotFound(error)) return "left";
    throw error;
  }
}

function isExpired(task: KubeObject, deps: ControllerDeps): boolean {
  const { spec } = deps.decodeSpec(task["spec"]);
  const status = statusFrom(task["status"], 0);
  if (spec === null || spec.ttlAfterFinished === null || status === null || status.finishedAt === null) return false;
  if (
    TRACKING.some(
      (mark) => task.metadata.annotations?.[mark] !== undefined || task.metadata.labels?.[mark] !== undefined,
    )
  )
    return false;
  const end: Instant = status.phase === "Completed" ? plus(status.finishedAt, spec.rollbackWindow) : status.finishedAt;
  return between(end, deps.time.now()) > spec.ttlAfterFinished;
}
