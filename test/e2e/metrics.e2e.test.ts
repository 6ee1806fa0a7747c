import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { METRICS } from "../../src/infra/metrics/metric-table.ts";
import { aSwitch, CHECK, NOTIFY, openTestStand, ROUTE, type TestOperator, type TestStand } from "../support/stand.ts";
import type { Metrics } from "../support/stand-metrics.ts";

const GATE = { name: "gate", approval: {} };
const FAILS = {
  name: "fails",
  redis: { endpoint: "routing", key: "${namespace}:${tenantId}:list", string: { value: "x" } },
};

let stand: TestStand;
let operator: TestOperator;
beforeAll(async () => {
  stand = await openTestStand(inject("env"));
  operator = await stand.operator();
});
afterAll(() => stand[Symbol.asyncDispose]());

const create = (name: string, stages: readonly unknown[], spec = {}): Promise<void> =>
  stand.create(aSwitch(stand, { name, tenantId: name, stages, spec }));

describe("after two switches that complete, one that rolls back, and one that waits for a person and was paused", () => {
  let seen: Metrics;
  beforeAll(async () => {
    const route = ROUTE(stand.namespace);
    await stand.redis.rpush(`${stand.namespace}:back:list`, "not a string");
    await create("one", [route, NOTIFY, CHECK]);
    await create("two", [route, NOTIFY, CHECK]);
    await create("back", [route, NOTIFY, FAILS], { onFailure: "Rollback" });
    await create("gated", [route, GATE]);
    await Promise.all([
      stand.over("one", "Completed"),
      stand.over("two", "Completed"),
      stand.over("back", "RolledBack"),
      stand.waits("gated", "AwaitingApproval"),
    ]);
    await stand.patch("gated", { paused: true });
    await stand.answered("gated", "paused", "Done");
    await stand.patch("gated", { paused: false });
    await stand.answered("gated", "paused", "Done");
    await stand.waits("gated", "AwaitingApproval");
    seen = await operator.metrics();
  });

  test("[R76] gauges are what there is now", () => {
    expect(seen.sum("turnout_tasks")).toBe(1);
    expect(seen.sum("turnout_tasks", { phase: "Running" })).toBe(1);
    expect(seen.sum("turnout_tasks_active")).toBe(1);
    expect(seen.sum("turnout_oldest_waiting_seconds", { reason: "AwaitingApproval" })).toBeGreaterThanOrEqual(0);
    expect(seen.sum("turnout_diverged_tenants")).toBe(0);
    expect(seen.sum("turnout_workqueue_depth")).toBe(0);
    expect(seen.sum("turnout_event_loop_lag_seconds")).toBeGreaterThan(0);
  });

  test("[R76] counters are what happened", () => {
    const transitions = (to: string): number => seen.sum("turnout_task_transitions_total", { to });
    expect(["Validating", "Completed", "Failed", "RollingBack", "RolledBack", "Paused"].map(transitions)).toEqual([
      4, 2, 1, 1, 1, 1,
    ]);
    expect(seen.sum("turnout_rollbacks_total", { cause: "Failure", outcome: "RolledBack" })).toBe(1);
    expect(seen.sum("turnout_commands_total", { verb: "paused", result: "Done" })).toBe(2);
    expect(seen.sum("turnout_workqueue_adds_total", { controller: "tasks" })).toBeGreaterThanOrEqual(4);
    expect(seen.sum("turnout_kube_requests_total", { verb: "create" })).toBeGreaterThanOrEqual(4);
  });

  test("[R76] histograms have one observation for each stage, task and lock that ended", () => {
    const count = (name: string, labels = {}): number => seen.sum(`${name}_count`, labels);
    // Route of all four and notify of three; back all that was claimed, the stage that failed too: it leaves its fence.
    expect(count("turnout_stage_duration_seconds", { kind: "redis", outcome: "Completed" })).toBe(4);
    expect(count("turnout_stage_duration_seconds", { kind: "http", outcome: "Completed" })).toBe(3);
    expect(count("turnout_stage_duration_seconds", { outcome: "RolledBack" })).toBe(3);
    expect(count("turnout_stage_duration_seconds", { kind: "redis", outcome: "Failed" })).toBe(1);
    expect(seen.sum("turnout_stage_attempts_total", { kind: "redis", outcome: "Failed" })).toBe(1);
    expect(seen.sum("turnout_stage_attempts_total", { kind: "verify" })).toBeGreaterThanOrEqual(2);
    expect(count("turnout_task_duration_seconds", { outcome: "Completed" })).toBe(2);
    expect(count("turnout_task_duration_seconds", { outcome: "RolledBack" })).toBe(1);
    expect(count("turnout_lock_held_seconds")).toBe(3);
    expect(count("turnout_reconcile_duration_seconds", { controller: "tasks" })).toBeGreaterThanOrEqual(4);
  });

  test("[R76] no name of an object is a label, and the table names all there is", () => {
    const labels = seen.labels();
    for (const name of [stand.namespace, "one", "two", "back", "gated"]) expect(labels).not.toContain(name);
    expect(seen.names().filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
  });

  test("[R76] tasks_active falls again", async () => {
    await stand.patch("gated", { cancel: true });
    await stand.over("gated", "Cancelled");
    expect((await operator.metrics()).sum("turnout_tasks_active")).toBe(0);
  });
});
