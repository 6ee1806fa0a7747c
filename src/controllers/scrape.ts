import { isTerminal, PHASES } from "../domain/phase.ts";
import { fieldsOf, oneOf } from "../api/wire.ts";
import type { OpenedLog } from "../infra/clog/log.ts";
import type { Metrics } from "../infra/metrics/metrics.ts";
import type { Caches } from "./caches.ts";

/** Gauges that are read from the caches when somebody scrapes: they cannot drift from what there is. */
export function feedMetrics({
  metrics,
  caches,
  log,
}: {
  readonly metrics: Metrics;
  readonly caches: Caches;
  readonly log: Pick<OpenedLog, "dropped">;
}): void {
  let dropped = 0;
  metrics.onScrape(() => {
    const phases = new Map<string, number>(PHASES.filter((phase) => !isTerminal(phase)).map((phase) => [phase, 0]));
    for (const task of caches.live.all()) {
      const phase = oneOf(fieldsOf(task["status"])["phase"], PHASES) ?? "Created";
      if (phases.has(phase)) phases.set(phase, (phases.get(phase) ?? 0) + 1);
    }
    for (const [phase, count] of phases) metrics.set("turnout_tasks", { phase }, count);
    metrics.set("turnout_tasks_active", {}, caches.live.byIndex("active", "yes").length);
    metrics.set(
      "turnout_diverged_tenants",
      {},
      caches.tenants.all().filter((tenant) => fieldsOf(tenant["status"])["diverged"] !== undefined).length,
    );
    for (const [controller, queue] of [
      ["tasks", caches.taskQueue],
      ["tenants", caches.tenantQueue],
    ] as const) {
      metrics.set("turnout_workqueue_depth", { controller }, queue.depth());
      metrics.set("turnout_workqueue_oldest_seconds", { controller }, queue.oldest() / 1000);
    }
    for (const reflector of caches.reflectors)
      metrics.set("turnout_watch_age_seconds", { resource: reflector.resource.plural }, reflector.age() / 1000);
    const now = log.dropped();
    if (now > dropped) metrics.count("turnout_log_dropped_total", {}, now - dropped);
    dropped = now;
  });
}
