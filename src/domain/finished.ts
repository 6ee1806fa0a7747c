import { between, type Instant, seconds } from "../lib/time.ts";
import { quietUntil, rest } from "./claims.ts";
import { rollbackOfCompleted } from "./backward.ts";
import { releaseLock } from "./lock.ts";
import type { Decision, TaskView } from "./task.ts";

/** Events of the end are waited for this long; after that the watch may forget the task without them. */
const EVENT_GRACE = seconds(10);

/** A Completed task may still be told to go back; otherwise it ends as every terminal task does. */
export function completed(view: TaskView, now: Instant): Decision {
  return rollbackOfCompleted(view, now) ?? ended(view, now);
}

/**
 * Terminal status → release → Events → finalizer off and label on (protocol.md, Lock). Each step is found again after a crash, and the
 * last one is decided on a consistent read of the lock (◆).
 */
export function ended(view: TaskView, now: Instant): Decision {
  const { status, tenant, ref } = view;
  const lock = tenant.status;
  if (lock !== null && lock.holder?.uid === ref.uid) {
    const quiet = quietUntil(status, null);
    if (quiet !== null && quiet > now) return rest(view, status, between(now, quiet), "Quiescing");
    return { do: "release", tenant: releaseLock(view, lock, now), because: "Finished" };
  }
  if (view.done && !view.finalizer) return rest(view, status, null, "NothingToDo");
  if (view.finalizer && !tenant.fresh) return { do: "read", what: "tenant", because: "MustReadTenant" };
  if (view.eventsPending && between(status.finishedAt ?? now, now) < EVENT_GRACE)
    return { do: "sleep", after: seconds(1), because: "EventsPending" };
  return { do: "remove", because: "TenantReleased" };
}
