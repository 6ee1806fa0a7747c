import { describe, expect, test } from "vitest";
import { openLog } from "../../../src/infra/clog/log.ts";
import {
  aggregate,
  type Checker,
  type Health,
  type HealthStatus,
  openHealth,
} from "../../../src/infra/health/health.ts";
import { openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { seconds } from "../../../src/lib/time.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const health = (status: HealthStatus): Health => ({ status, message: status });
const checker = (component: string, critical: boolean, check: Checker["check"]): Checker => ({
  component,
  critical,
  check,
});

describe("aggregation", () => {
  const ROWS: readonly (readonly [critical: HealthStatus, optional: HealthStatus, whole: HealthStatus])[] = [
    ["healthy", "healthy", "healthy"],
    ["healthy", "degraded", "degraded"],
    ["healthy", "unhealthy", "degraded"],
    ["degraded", "healthy", "degraded"],
    ["degraded", "unhealthy", "degraded"],
    ["unhealthy", "healthy", "unhealthy"],
    ["unhealthy", "unhealthy", "unhealthy"],
  ];
  test.each(ROWS)("critical %s, optional %s: %s", (critical, optional, whole) => {
    const checkers = [
      { component: "kube", critical: true },
      { component: "cache", critical: false },
    ];
    expect(aggregate(checkers, { kube: health(critical), cache: health(optional) }).status).toBe(whole);
  });
  test("no checker, no complaint; one without an answer is unhealthy", () => {
    expect(aggregate([], {}).status).toBe("healthy");
    expect(aggregate([{ component: "kube", critical: true }], {}).status).toBe("unhealthy");
  });
});

describe("rounds", () => {
  test("a checker that is late or throws is unhealthy, is told to stop, and delays nobody beyond its timeout", async () => {
    const clock = new ManualClock();
    const board = openHealth({ clock });
    let stopped = false;
    board.add({
      ...checker("slow", true, (signal) => new Promise(() => signal.addEventListener("abort", () => (stopped = true)))),
      timeout: seconds(2),
    });
    board.add(checker("broken", false, () => Promise.reject(new Error("password=1234"))));
    board.add(checker("fine", true, () => Promise.resolve(health("healthy"))));
    const asking = board.report();
    await clock.advance(seconds(2));
    const report = await asking;
    expect(report.components).toEqual({
      slow: { status: "unhealthy", message: "gave no answer within 2s" },
      broken: { status: "unhealthy", message: "its check failed" },
      fine: health("healthy"),
    });
    expect({ whole: report.status, stopped, sleeping: clock.sleeping }).toEqual({
      whole: "unhealthy",
      stopped: true,
      sleeping: 0,
    });
  });

  test("askers within a second share a round", async () => {
    const clock = new ManualClock();
    const board = openHealth({ clock });
    let asked = 0;
    board.add(checker("kube", true, () => Promise.resolve(health(++asked > 1 ? "degraded" : "healthy"))));
    const reports = await Promise.all([board.report(), board.report(), board.report()]);
    expect({ asked, same: new Set(reports).size }).toEqual({ asked: 1, same: 1 });
    await clock.advance(seconds(1));
    expect(await board.report()).toMatchObject({ status: "degraded" });
  });

  test("a change is logged once, and shown as a metric", async () => {
    const clock = new ManualClock();
    const lines: string[] = [];
    const metrics = openMetrics();
    const log = openLog({ level: "debug", clock, destination: { write: (line) => void lines.push(line) } });
    const board = openHealth({ clock, metrics, log });
    let status: HealthStatus = "healthy";
    board.add(checker("cache", false, () => Promise.resolve(health(status))));
    for (const next of ["healthy", "healthy", "unhealthy", "unhealthy", "healthy"] as const) {
      status = next;
      await board.report();
      await clock.advance(seconds(1));
    }
    const said = lines.map((line) => JSON.parse(line) as { level: string; message: string });
    expect(said.map(({ level, message }) => `${level} ${message}`)).toEqual([
      "warn cache is unhealthy: unhealthy",
      "info cache is healthy: healthy",
    ]);
    expect(await metrics.text()).toContain('turnout_health{component="cache"} 1');
  });

  test("the list of checkers is bounded; the same component replaces its own", () => {
    const board = openHealth({ clock: new ManualClock() });
    const add = (name: string): void => board.add(checker(name, false, () => Promise.resolve(health("healthy"))));
    for (let i = 0; i < 63; i += 1) add(`c${i}`);
    for (let i = 0; i < 10; i += 1) add("same");
    expect(() => add("one more")).toThrow(/64/);
  });
});
