import { systemClock } from "../../src/kube/clock.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import type { BenchCluster } from "./cluster.ts";
import type { Figure } from "./figures.ts";
import { startBenchOperator, waitFor } from "./operator.ts";
import { cpuSeconds, rssBytes } from "./proc.ts";
import { createNamespace, createTasks, isOver, watchTasks } from "./tasks.ts";

const STAGES = 3;
const LONG_WAIT = 7200;
const SETTLE = seconds(10);

/** P7 (memory), P9 (growth), P10 (event loop) over rising numbers of tasks, each in a namespace of its own. */
export async function growth(
  cluster: BenchCluster,
  machine: Machine,
  { sizes }: { readonly sizes: readonly number[] },
): Promise<readonly Figure[]> {
  const grown: Grown[] = [];
  for (const size of sizes) {
    machine.print(`growth: ${size} tasks`);
    grown.push(await atSize(cluster, machine, size));
  }
  const last = grown.at(-1);
  if (last === undefined) return [];
  const exponent = (what: string, of: (one: Grown) => number): Figure => ({
    id: "P9",
    what: `growth exponent of ${what}, ${sizes.join(" → ")} tasks`,
    goal: "≤ 1.02",
    values: [slope(grown.map((one) => [one.size, of(one)]))],
    unit: "",
    holds: slope(grown.map((one) => [one.size, of(one)])) <= 1.02,
  });
  const memory = (last.memory / 2 ** 20) * (10_000 / last.size);
  const gap = Math.max(...grown.map(({ gap: one }) => one));
  return [
    figure("P7", `RSS per 10,000 live tasks, from ${last.size}`, { value: memory, unit: "MB", most: 60 }),
    exponent("wall time", ({ wall }) => wall),
    exponent("operator CPU", ({ cpu }) => cpu),
    ...(sizes.length > 1 ? [exponent("restart", ({ restart }) => restart)] : []),
    figure("P10", `longest event-loop gap while ${last.size} rest`, { value: last.restingGap, unit: "ms", most: 10 }),
    figure("P10", `longest event-loop gap at start with ${last.size}`, { value: last.startGap, unit: "ms", most: 10 }),
    figure("P10", "longest event-loop gap while busy, all sizes", { value: gap, unit: "ms", most: 10 }),
  ];
}

interface Grown {
  readonly size: number;
  /** Seconds from the first creation until all are Completed. */
  readonly wall: number;
  readonly cpu: number;
  /** Bytes that the live tasks added. */
  readonly memory: number;
  /** Seconds from the start of a process until it has seen and queued nothing more of the live tasks. */
  readonly restart: number;
  /** Milliseconds. */
  readonly gap: number;
  readonly restingGap: number;
  readonly startGap: number;
}

async function atSize(cluster: BenchCluster, machine: Machine, size: number): Promise<Grown> {
  const name = `bench-growth-${size}`;
  const { client } = cluster;
  await createNamespace(client, name);
  const operator = await startBenchOperator(cluster, machine, { name });
  const lag = async (of = operator): Promise<number> =>
    1000 * (await of.metrics()).sum("turnout_event_loop_lag_seconds");
  await machine.clock.sleep(seconds(3));
  await lag();

  const since = systemClock.monotonic();
  const before = await cpuSeconds(operator.pid);
  await using watcher = await watchTasks(client, name);
  await createTasks(client, name, { count: size, stages: STAGES, gather: 0 });
  await waitFor("every task to complete", () => watcher.count(isOver) === size, { machine });
  const wall = (systemClock.monotonic() - since) / 1000;
  const cpu = (await cpuSeconds(operator.pid)) - before;
  const gap = await lag();
  await operator.stop();
  return { size, wall, cpu, gap, ...(await alive(cluster, machine, size)) };
}

/** As many tasks that wait for a long time: what they cost while they live. */
async function alive(
  cluster: BenchCluster,
  machine: Machine,
  size: number,
): Promise<Pick<Grown, "memory" | "restart" | "restingGap" | "startGap">> {
  const name = `bench-alive-${size}`;
  const { client } = cluster;
  await createNamespace(client, name);
  const first = await startBenchOperator(cluster, machine, { name });
  await machine.clock.sleep(SETTLE);
  const empty = await rssBytes(first.pid);
  {
    await using watcher = await watchTasks(client, name);
    await createTasks(client, name, { count: size, stages: STAGES, gather: LONG_WAIT });
    await waitFor("every task to wait", () => watcher.count(({ waiting }) => waiting === "Waiting") === size, {
      machine,
    });
  }
  await machine.clock.sleep(SETTLE);
  const memory = (await rssBytes(first.pid)) - empty;
  await first.metrics();
  await machine.clock.sleep(SETTLE);
  const restingGap = 1000 * (await first.metrics()).sum("turnout_event_loop_lag_seconds");
  await first.stop();

  const since = systemClock.monotonic();
  const second = await startBenchOperator(cluster, machine, { name, start: 2 });
  let startGap = 0;
  await waitFor(
    "every task to be taken up",
    async () => {
      const seen = await second.metrics();
      startGap = Math.max(startGap, 1000 * seen.sum("turnout_event_loop_lag_seconds"));
      return (
        seen.sum("turnout_tasks", { phase: "Running" }) === size &&
        seen.sum("turnout_workqueue_depth") === 0 &&
        seen.sum("turnout_reconcile_duration_seconds_count", { controller: "tasks" }) >= size
      );
    },
    { machine, every: millisOf(100) },
  );
  const restart = (systemClock.monotonic() - since) / 1000;
  await second.stop();
  return { memory, restart, restingGap, startGap };
}

/** Slope of the least-squares line through the logarithms: 1 where cost grows with the number of tasks. */
function slope(points: readonly (readonly [size: number, cost: number])[]): number {
  const logs = points.map(([size, cost]) => [Math.log(size), Math.log(cost)] as const);
  const mean = (of: (point: readonly [number, number]) => number): number =>
    logs.reduce((sum, point) => sum + of(point), 0) / logs.length;
  const [x, y] = [mean(([a]) => a), mean(([, b]) => b)];
  return logs.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0) / logs.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
}

const figure = (
  id: string,
  what: string,
  { value, unit, most }: { readonly value: number; readonly unit: string; readonly most: number },
): Figure => ({ id, what, goal: `≤ ${most}`, values: [value], unit, holds: value <= most });
