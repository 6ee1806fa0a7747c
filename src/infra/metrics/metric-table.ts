// metrics: every number that the operator shows, declared once. Feeding them is the business of whoever knows the fact.
// Nothing here may be read to decide anything; no object names become labels.
import { KIT_METRICS } from "./kit-metrics.ts";

interface Declared {
  readonly help: string;
  readonly labels: readonly string[];
}
export type Metric =
  | (Declared & { readonly kind: "counter" | "gauge" })
  | (Declared & { readonly kind: "histogram"; readonly buckets: readonly number[] });

/** Seconds. A reconcile, a request, a stage that only sends. */
const SHORT = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15] as const;
/** Seconds. A stage or a lock, which may wait for retries. */
const MIDDLE = [0.1, 0.5, 1, 2.5, 5, 15, 60, 300, 1800] as const;
/** Seconds. A whole task, which may wait for people. */
const LONG = [1, 5, 15, 60, 300, 1800, 7200, 86_400] as const;

/** Every metric once: names, labels, help and buckets of docs, dashboards and alerts come from here (operations.md). */
export const METRICS = {
  turnout_tasks: { kind: "gauge", labels: ["phase"], help: "Tasks by phase, finished ones left out." },
  turnout_tasks_active: { kind: "gauge", labels: [], help: "Tasks that hold their tenant." },
  turnout_task_transitions_total: { kind: "counter", labels: ["to"], help: "Phases entered." },
  turnout_task_duration_seconds: {
    kind: "histogram",
    labels: ["outcome"],
    buckets: LONG,
    help: "Time from the first claim to the end of a task, waits for people left out.",
  },
  turnout_task_waiting_seconds: {
    kind: "histogram",
    labels: ["reason"],
    buckets: LONG,
    help: "Time that tasks waited, by what they waited for.",
  },
  turnout_stage_duration_seconds: {
    kind: "histogram",
    labels: ["kind", "outcome"],
    buckets: MIDDLE,
    help: "Time from the first claim of a stage to its last settle.",
  },
  turnout_stage_attempts_total: {
    kind: "counter",
    labels: ["kind", "outcome"],
    help: "Attempts of stages that settled; of an undo those of its last part.",
  },
  turnout_rollbacks_total: {
    kind: "counter",
    labels: ["cause", "outcome"],
    help: "Rollbacks by what asked for them and how they ended.",
  },
  turnout_commands_total: {
    kind: "counter",
    labels: ["verb", "result"],
    help: "Commands of people and how they were answered.",
  },
  turnout_oldest_waiting_seconds: {
    kind: "gauge",
    labels: ["reason"],
    help: "Age of the oldest wait for each reason.",
  },
  turnout_lock_held_seconds: {
    kind: "histogram",
    labels: [],
    buckets: LONG,
    help: "Time that a task held its tenant.",
  },
  turnout_unknown_outcomes_total: {
    kind: "counter",
    labels: [],
    help: "Effects sent of which nobody knew whether they took force.",
  },
  turnout_fenced_total: {
    kind: "counter",
    labels: [],
    help: "Effects that a receiver refused because it had seen a newer fence.",
  },
  turnout_diverged_tenants: {
    kind: "gauge",
    labels: [],
    help: "Tenants whose world differs from the recorded history.",
  },
  turnout_reconcile_duration_seconds: {
    kind: "histogram",
    labels: ["controller"],
    buckets: SHORT,
    help: "Time of one reconcile.",
  },
  turnout_workqueue_depth: { kind: "gauge", labels: ["controller"], help: "Keys that wait for a worker." },
  turnout_workqueue_adds_total: {
    kind: "counter",
    labels: ["controller"],
    help: "Keys queued, coalesced ones counted once.",
  },
  turnout_workqueue_oldest_seconds: {
    kind: "gauge",
    labels: ["controller"],
    help: "Age of the key that waits longest.",
  },
  turnout_kube_requests_total: { kind: "counter", labels: ["verb", "code"], help: "Requests to the API server." },
  turnout_watch_age_seconds: {
    kind: "gauge",
    labels: ["resource"],
    help: "Time since a watch last said anything, bookmarks included.",
  },
  turnout_event_loop_lag_seconds: {
    kind: "gauge",
    labels: [],
    help: "Longest delay of the event loop since the last scrape.",
  },
  turnout_health: { kind: "gauge", labels: ["component"], help: "1 healthy, 0.5 degraded, 0 unhealthy." },
  turnout_egress_refused_total: {
    kind: "counter",
    labels: ["rule"],
    help: "Connections and requests that the egress guard refused.",
  },
  turnout_events_dropped_total: {
    kind: "counter",
    labels: ["reason"],
    help: "Kubernetes Events that were not written.",
  },
  turnout_log_dropped_total: { kind: "counter", labels: [], help: "Log lines that were not written." },
  turnout_config_applied_total: {
    kind: "counter",
    labels: ["component"],
    help: "Changes of configuration that took force.",
  },
  turnout_config_rejected_total: {
    kind: "counter",
    labels: ["component"],
    help: "Configurations that were refused; the last good one stays in force.",
  },
  turnout_config_degraded: {
    kind: "gauge",
    labels: ["component"],
    help: "1 while the centre is not heard, or a newer value is refused.",
  },
  turnout_config_stale_seconds: {
    kind: "gauge",
    labels: ["component"],
    help: "Time since the configuration centre was last heard; 0 while it is.",
  },
  ...KIT_METRICS,
} as const satisfies Readonly<Record<string, Metric>>;

type Named<K extends Metric["kind"]> = {
  readonly [N in keyof typeof METRICS]: (typeof METRICS)[N]["kind"] extends K ? N : never;
}[keyof typeof METRICS];

export type MetricName = keyof typeof METRICS;
export type CounterName = Named<"counter">;
export type GaugeName = Named<"gauge">;
export type HistogramName = Named<"histogram">;
export type LabelName = (typeof METRICS)[MetricName]["labels"][number];
export type Labels<N extends MetricName> = Readonly<Record<(typeof METRICS)[N]["labels"][number], string>>;
