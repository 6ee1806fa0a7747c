import { between, type Millis, parseInstant } from "../lib/time.ts";
import { isTerminal, PHASES } from "../domain/phase.ts";
import { WAITING_REASONS, type WaitingReason } from "../domain/reasons.ts";
import { fieldsOf, oneOf, textOf } from "../api/wire.ts";
import type { ApiTime } from "../kube/clock.ts";
import type { OpenedLog } from "../infra/clog/log.ts";
import type { Metrics } from "../infra/metrics/metrics.ts";
import type { Caches } from "./caches.ts";

/** Gauges that are read from the caches when somebody scrapes: they cannot drift from what there is. */
export function feedMetrics({
  metrics,
  caches,
  log,
  time,
  loopDelay,
}: {
  readonly metrics: Metrics;
  readonly caches: Caches;
  readonly log: Pick<OpenedLog, "dropped">;
  readonly time: ApiTime;
  readonly loopDelay: () => Millis;
}): void {
  const dropped = growth();
  const queues = [
    { controller: "tasks", queue: caches.taskQueue, adds: growth() },
    { controller: "tenants", queue: caches.tenantQueue, adds: growth() },
  ];
  metrics.onScrape(() => {
    const phases = new Map<string, number>(PHASES.filter((phase) => !isTerminal(phase)).map((phase) => [phase, 0]));
    for (const task of caches.live.all()) {
      const phase = oneOf(fieldsOf(task["status"])["phase"], PHASES) ?? "Created";
      if (phases.has(phase)) phases.set(phase, (phases.get(phase) ?? 0) + 1);
    }
    for (const [phase, count] of phases) metrics.set("turnout_tasks", { phase }, count);
    metrics.set("turnout_tasks_active", {}, caches.live.countBy("active", "yes"));
    metrics.set(
      "turnout_diverged_tenants",
      {},
      caches.tenants.all().filter((tenant) => fieldsOf(tenant["status"])["diverged"] !== undefined).length,
    );
    for (const [reason, age] of oldestWaits(caches, time))
      metrics.set("turnout_oldest_waiting_seconds", { reason }, age / 1000);
    for (const { controller, queue, adds } of queues) {
      metrics.count("turnout_workqueue_adds_total", { controller }, adds(queue.adds));
      metrics.set("turnout_workqueue_depth", { controller }, queue.depth());
      metrics.set("turnout_workqueue_oldest_seconds", { controller }, queue.oldest() / 1000);
    }
    for (const reflector of caches.reflectors)
      metrics.set("turnout_watch_age_seconds", { resource: reflector.resource.plural }, reflector.age() / 1000);
    metrics.set("turnout_event_loop_lag_seconds", {}, loopDelay() / 1000);
    metrics.count("turnout_log_dropped_total", {}, dropped(log.dropped()));
  });
}

/** How much a running total has grown since it was told last. */
function growth(): (total: number) => number {
  let before = 0;
  return (total) => {
    const grown = total - before;
    before = total;
    return grown;
  };
}

/** Age of the oldest wait for every reason there is; 0 where nothing waits for it. */
function oldestWaits({ live }: Caches, time: ApiTime): ReadonlyMap<WaitingReason, number> {
  const oldest = new Map<WaitingReason, number>(WAITING_REASONS.map((reason) => [reason, 0]));
  if (!time.known) return oldest;
  const now = time.now();
  for (const task of live.all()) {
    const waiting = fieldsOf(fieldsOf(task["status"])["waiting"]);
    const reason = oneOf(waiting["reason"], WAITING_REASONS);
    const since = parseInstant(textOf(waiting["since"]) ?? "");
    if (reason !== null && since !== null) oldest.set(reason, Math.max(oldest.get(reason) ?? 0, between(since, now)));
  }
  return oldest;
}
