import { SWITCH_TASKS } from "../../src/api/group.ts";
import { fieldsOf, textOf } from "../../src/api/wire.ts";
import { systemClock } from "../../src/kube/clock.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { millisOf } from "../../src/lib/time.ts";
import { rawTasks, writeRoundTrip } from "./ceiling.ts";
import type { BenchCluster } from "./cluster.ts";
import { type Figure, median, quantile } from "./figures.ts";
import { startBenchOperator } from "./operator.ts";
import { createNamespace, createTask, POINT, watchTasks } from "./tasks.ts";

const NAME = "bench-latency";
const TASK = { namespace: NAME, name: "commanded" };
const WARM = 10;
/** A resume is followed by the claim and by what it waits for: only then nothing is under way. */
const REST = millisOf(150);

/** P4: a person patches `paused`; until a watcher sees it answered Done, with nothing else running. */
export async function latency(
  cluster: BenchCluster,
  machine: Machine,
  { commands }: { readonly commands: number },
): Promise<readonly Figure[]> {
  const { client } = cluster;
  await createNamespace(client, NAME);
  const operator = await startBenchOperator(cluster, machine, { name: NAME });
  const asked = new Map<string, () => void>();
  const entered = (phase: string): Promise<void> => new Promise((resolve) => void asked.set(phase, resolve));
  await using _watcher = await watchTasks(client, NAME, (task) =>
    asked.get(textOf(fieldsOf(task["status"])["phase"]) ?? "")?.(),
  );
  try {
    const running = entered("Running");
    await createTask(client, TASK, { stages: 1, gather: 3600 });
    await running;
    const [raw] = await rawTasks(client, await client.get(SWITCH_TASKS, TASK), 1);
    const { median: rtt } = await writeRoundTrip(client, raw, 200);
    const took = { pause: [] as number[], resume: [] as number[] };
    for (let turn = 0; turn < WARM + commands; turn += 1) {
      const paused = turn % 2 === 0;
      const answered = entered(paused ? "Paused" : "Running");
      const since = systemClock.monotonic();
      await client.mergePatch(SWITCH_TASKS, TASK, { spec: { control: { paused } } }, { point: POINT });
      await answered;
      if (turn >= WARM) took[paused ? "pause" : "resume"].push((systemClock.monotonic() - since) / rtt);
      await machine.clock.sleep(REST);
    }
    const alone = await patchAlone(cluster, raw);
    return [
      figure("paused: true → Paused (one write), idle, p50", median(took.pause), 2.2),
      figure("paused: true → Paused (one write), idle, p99", quantile(took.pause, 0.99), 4),
      figure("paused: false → Running (Resuming, then a claim: two writes), idle, p50", median(took.resume), null),
      {
        id: "P4",
        what: "of that the patch itself, before anybody knows of it, p50",
        goal: "",
        values: [alone / rtt],
        unit: "RTTw",
        holds: null,
      },
    ];
  } finally {
    await operator.stop();
  }
}

/** Milliseconds of a patch of a task that no operator watches (median). */
async function patchAlone({ client }: BenchCluster, { metadata }: KubeObject): Promise<number> {
  const ref = { namespace: metadata.namespace ?? "", name: metadata.name };
  const took: number[] = [];
  for (let turn = 0; turn < 100; turn += 1) {
    const since = systemClock.monotonic();
    const patch = { spec: { control: { paused: turn % 2 === 0 } } };
    await client.mergePatch(SWITCH_TASKS, ref, patch, { point: POINT });
    took.push(systemClock.monotonic() - since);
  }
  return median(took);
}

const figure = (what: string, value: number, goal: number | null): Figure => ({
  id: "P4",
  what: `patch of ${what}`,
  goal: goal === null ? "" : `≤ ${goal}`,
  values: [value],
  unit: "RTTw",
  holds: goal === null ? null : value <= goal,
});
