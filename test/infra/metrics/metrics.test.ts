import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { register } from "prom-client";
import { describe, expect, test } from "vitest";
import { FAILURE_TYPES, FAILURES, fault, type FailureCode } from "../../../src/lib/failures.ts";
import { METRICS, type MetricName } from "../../../src/infra/metrics/metric-table.ts";
import { noMetrics, openMetrics } from "../../../src/infra/metrics/metrics.ts";
import { MOST_SERIES } from "../../../src/infra/metrics/series.ts";

/** Series of the text, without those that a histogram of no observation has. */
const seriesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));

describe("the table", () => {
  test("names say their kind and unit, help is a sentence", () => {
    for (const [name, metric] of Object.entries(METRICS)) {
      expect(name).toMatch(/^(?:turnout|infra)_[a-z_]+$/);
      expect(name.endsWith("_total")).toBe(metric.kind === "counter");
      expect(metric.kind !== "histogram" || name.endsWith("_seconds")).toBe(true);
      expect(metric.help).toMatch(/^[A-Z0-9].*\.$/);
    }
    expect(Object.keys(METRICS).length).toBeGreaterThanOrEqual(25);
  });

  test("something feeds each of them", () => {
    const source = join(import.meta.dirname, "..", "..", "..", "src");
    const files = readdirSync(source, { recursive: true, encoding: "utf8" }).filter(
      (path) => path.endsWith(".ts") && !path.endsWith("metric-table.ts") && !path.endsWith("kit-metrics.ts"),
    );
    const code = files.map((path) => readFileSync(join(source, path), "utf8")).join("\n");
    expect(Object.keys(METRICS).filter((name) => !code.includes(`"${name}"`))).toEqual([]);
  });

  test("no label is an object's name, and buckets rise", () => {
    const labels = new Set(Object.values(METRICS).flatMap((metric) => [...metric.labels]));
    expect([...labels].toSorted()).toEqual(
      [
        "cause",
        "code",
        "component",
        "controller",
        "kind",
        "layer",
        "method",
        "outcome",
        "phase",
        "reason",
        "resource",
        "result",
        "route",
        "rule",
        "signal",
        "state",
        "to",
        "topic",
        "type",
        "verb",
      ].toSorted(),
    );
    for (const metric of Object.values(METRICS)) {
      const buckets: readonly number[] = metric.kind === "histogram" ? metric.buckets : [];
      expect(buckets).toEqual(buckets.toSorted((a, b) => a - b));
    }
  });

  test("every metric shows up under its name", async () => {
    const text = await openMetrics().text();
    const shown = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => `${kind} ${name}`);
    expect(shown.toSorted()).toEqual(
      Object.entries(METRICS)
        .map(([name, { kind }]) => `${kind} ${name}`)
        .toSorted(),
    );
  });
});

describe("numbers", () => {
  test("are counted, set and observed", async () => {
    const metrics = openMetrics();
    metrics.count("turnout_rollbacks_total", { cause: "user", outcome: "RolledBack" });
    metrics.count("turnout_rollbacks_total", { cause: "user", outcome: "RolledBack" }, 2);
    metrics.set("turnout_tasks", { phase: "Running" }, 7);
    metrics.set("turnout_tasks", { phase: "Running" }, 5);
    metrics.observe("turnout_lock_held_seconds", {}, 4);
    const text = await metrics.text();
    expect(text).toContain('turnout_rollbacks_total{cause="user",outcome="RolledBack"} 3');
    expect(text).toContain('turnout_tasks{phase="Running"} 5');
    expect(text).toContain('turnout_lock_held_seconds_bucket{le="5"} 1');
    expect(text).toContain("turnout_lock_held_seconds_sum 4");
  });

  test("gauges that are read are filled before each scrape", async () => {
    const metrics = openMetrics();
    let age = 0;
    metrics.onScrape(() => metrics.set("turnout_watch_age_seconds", { resource: "switchtasks" }, (age += 1)));
    await metrics.text();
    expect(await metrics.text()).toContain('turnout_watch_age_seconds{resource="switchtasks"} 2');
  });

  test("two registries know nothing of each other, and the process-wide one stays empty", async () => {
    const [one, two] = [openMetrics(), openMetrics()];
    one.count("turnout_fenced_total", {});
    expect(await one.text()).toContain("turnout_fenced_total 1");
    expect(await two.text()).toContain("turnout_fenced_total 0");
    expect(await register.metrics()).toBe("\n");
  });

  test("what is no number is refused and counted, not thrown", async () => {
    const metrics = openMetrics();
    metrics.set("turnout_tasks", { phase: "Running" }, Number.NaN);
    metrics.count("turnout_fenced_total", {}, -5);
    const text = await metrics.text();
    expect(text).not.toContain('turnout_tasks{phase="Running"}');
    expect(text).toContain("turnout_fenced_total 0");
    expect(text).toContain('infra_errors_total{component="metrics",type="VALIDATION"} 1');
  });
});

describe("[SEC-40] labels", () => {
  test("outside a closed set are `other`", async () => {
    const metrics = openMetrics({ values: { phase: ["Running", "Paused"] } });
    for (const phase of ["Running", "Hacked", "acme-1", "acme-2"])
      metrics.count("turnout_task_transitions_total", { to: phase });
    for (const phase of ["Running", "acme-1", "acme-2"]) metrics.set("turnout_tasks", { phase }, 1);
    const text = await metrics.text();
    expect(seriesOf(text).filter((line) => line.startsWith("turnout_tasks{"))).toEqual([
      'turnout_tasks{phase="Running"} 1',
      'turnout_tasks{phase="other"} 1',
    ]);
  });

  test("without a set, 32 plain words count, anything else is `other`", async () => {
    const metrics = openMetrics();
    for (let i = 0; i < 1000; i += 1) metrics.count("turnout_task_transitions_total", { to: `phase${i}` });
    metrics.count("turnout_commands_total", { verb: 'x"} 1\nevil 1', result: "Done" });
    const text = await metrics.text();
    expect(seriesOf(text).filter((line) => line.startsWith("turnout_task_transitions_total"))).toHaveLength(33);
    expect(text).toContain('turnout_task_transitions_total{to="other"} 968');
    expect(text).toContain('turnout_commands_total{verb="other",result="Done"} 1');
    expect(text).not.toContain("evil");
  });

  test("whatever callers pass, there are at most 2,000 series, and the refused ones are counted", async () => {
    const metrics = openMetrics();
    const names = Object.keys(METRICS) as MetricName[];
    for (let i = 0; i < 40; i += 1) {
      for (let k = 0; k < 40; k += 1) {
        for (const name of names) feed(metrics, name, [`a${i}`, `b${k}`]);
      }
    }
    const text = await metrics.text();
    expect(seriesOf(text).length).toBeLessThanOrEqual(MOST_SERIES);
    expect(seriesOf(text).length).toBeGreaterThan(MOST_SERIES / 2);
    expect(
      Number(/^infra_errors_total\{component="metrics",type="VALIDATION"\} (\d+)$/m.exec(text)?.[1]),
    ).toBeGreaterThan(1000);
  });
});

describe("failures", () => {
  test("each code of the catalogue has a type of the kit", async () => {
    const metrics = openMetrics();
    for (const code of Object.keys(FAILURES) as FailureCode[])
      metrics.failed("egress", { ...fault("PlanChanged", {}), code });
    const types = [
      ...(await metrics.text()).matchAll(/^infra_errors_total\{component="egress",type="(\w+)"\} (\d+)$/gm),
    ];
    const known = ["CONFIG", "CONNECTION", "TIMEOUT", "VALIDATION", "CONFLICT", "NOT_FOUND", "UNAVAILABLE", "INTERNAL"];
    expect(types.map(([, type]) => type).filter((type) => !known.includes(type ?? ""))).toEqual([]);
    expect(types.reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(Object.keys(FAILURES).length);
    expect(FAILURE_TYPES.length).toBeGreaterThan(5);
  });
});

test("no metrics take everything and show nothing", async () => {
  noMetrics.count("turnout_fenced_total", {});
  noMetrics.set("turnout_tasks_active", {}, 1);
  noMetrics.observe("turnout_lock_held_seconds", {}, 1);
  noMetrics.failed("egress", fault("PlanChanged", {}));
  noMetrics.onScrape(() => undefined);
  expect(await noMetrics.text()).toBe("");
});

test("the table stands in one place: no other file of the tree spells a metric's help", () => {
  expect(readFileSync("src/infra/metrics/metrics.ts", "utf8")).not.toContain("turnout_");
});

function feed(
  metrics: ReturnType<typeof openMetrics>,
  name: MetricName,
  [first = "", second = ""]: readonly string[],
): void {
  const [a, b] = METRICS[name].labels;
  const labels = Object.fromEntries([
    ...(a === undefined ? [] : [[a, first]]),
    ...(b === undefined ? [] : [[b, second]]),
  ]) as never;
  const { kind } = METRICS[name];
  if (kind === "counter") metrics.count(name as "turnout_fenced_total", labels);
  else if (kind === "gauge") metrics.set(name as "turnout_tasks_active", labels, 1);
  else metrics.observe(name as "turnout_lock_held_seconds", labels, 1);
}

describe("[R130] a service's own metrics", () => {
  const TABLE = {
    messages_total: { kind: "counter", labels: ["result"], help: "Messages." },
    batch_seconds: { kind: "histogram", labels: [], buckets: [0.1, 1], help: "Batches." },
    waiting: { kind: "gauge", labels: ["unit"], help: "Waiting." },
  } as const;

  test("are declared in one table and shown under the names of the service", async () => {
    const metrics = openMetrics();
    const own = metrics.declare(TABLE, { namespace: "im", subsystem: "task" });
    own.count("messages_total", { result: "stored" }, 2);
    own.observe("batch_seconds", {}, 0.5);
    own.set("waiting", { unit: "blue" }, 3);
    const text = await metrics.text();
    expect(text).toContain('im_task_messages_total{result="stored"} 2');
    expect(text).toContain('im_task_batch_seconds_bucket{le="1"} 1');
    expect(text).toContain('im_task_waiting{unit="blue"} 3');
    expect(metrics.declare({ waiting: TABLE.waiting }, { namespace: "im" })).toBeDefined();
  });

  test("a name that is taken or none is refused", () => {
    const metrics = openMetrics();
    metrics.declare(TABLE, { namespace: "im" });
    expect(() => metrics.declare(TABLE, { namespace: "im" })).toThrow("im_messages_total is no free name");
    expect(() => metrics.declare({ "Bad-Name": TABLE.waiting }, { namespace: "im" })).toThrow("no free name");
    expect(() => metrics.declare({ tasks: TABLE.waiting }, { namespace: "turnout" })).toThrow("no free name");
  });

  test("[SEC-40] count towards the same bound", async () => {
    const metrics = openMetrics();
    const labels = ["a", "b"] as const;
    const own = metrics.declare({ n: { kind: "gauge", labels, help: "N." } }, { namespace: "im" });
    for (let a = 0; a < 32; a += 1) for (let b = 0; b < 32; b += 1) own.set("n", { a: `a${a}`, b: `b${b}` }, 1);
    const more = metrics.declare({ m: { kind: "gauge", labels, help: "M." } }, { namespace: "im" });
    for (let a = 0; a < 32; a += 1) for (let b = 0; b < 32; b += 1) more.set("m", { a: `a${a}`, b: `b${b}` }, 1);
    expect(seriesOf(await metrics.text()).length).toBeLessThanOrEqual(MOST_SERIES);
    expect(await metrics.text()).toMatch(/infra_errors_total\{component="metrics",type="VALIDATION"\} \d+/);
  });
});
