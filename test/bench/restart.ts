import { systemClock } from "../../src/kube/clock.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { seconds } from "../../src/lib/time.ts";
import { rawCeiling, rawTasks } from "./ceiling.ts";
import type { BenchCluster } from "./cluster.ts";
import type { Figure } from "./figures.ts";
import { startBenchOperator, waitFor } from "./operator.ts";
import { createNamespace, createTasks, isOver, watchTasks } from "./tasks.ts";
import type { KubeObject } from "../../src/kube/resource.ts";

const NAME = "bench-restart";
const STAGES = 12;

/**
 * P6: SIGKILL while `tasks` tasks are in the middle of twelve stages, started again with the same lease identity; until every task that was
 * not over has been written by the new process. Given as a multiple of 2 s + one write for each of them at L.
 */
export async function restart(
  cluster: BenchCluster,
  machine: Machine,
  { tasks }: { readonly tasks: number },
): Promise<readonly Figure[]> {
  const { client } = cluster;
  await createNamespace(client, NAME);
  const first = await startBenchOperator(cluster, machine, { name: NAME, elects: true });
  let model: KubeObject | null = null;
  await using watcher = await watchTasks(client, NAME, (task) => (model = task));
  await createTasks(client, NAME, { count: tasks, stages: STAGES, gather: gatherFor(tasks) });
  await waitFor("every task to be midway", () => watcher.count(({ done }) => done >= 2) > tasks * 0.9, { machine });
  await first.kill();
  await machine.clock.sleep(seconds(1)); // what the watcher has not been told yet
  const left = new Map(
    [...watcher.tasks].filter(([, task]) => !isOver(task)).map(([name, task]) => [name, task.version]),
  );
  const since = systemClock.monotonic();
  const second = await startBenchOperator(cluster, machine, { name: NAME, start: 2, elects: true });
  try {
    await waitFor(
      "every task to be moved again",
      () => [...left].every(([name, version]) => watcher.tasks.get(name)?.version !== version),
      { machine },
    );
    const took = (systemClock.monotonic() - since) / 1000;
    await waitFor("every task to complete", () => watcher.count(isOver) === tasks, { machine });
    const ceiling = await rawCeiling(client, await rawTasks(client, model as unknown as KubeObject, 16), 8);
    const ratio = took / (2 + left.size / ceiling);
    return [
      {
        id: "P6",
        what: `SIGKILL with ${left.size} in flight → all moved again ÷ (2 s + one write each at L)`,
        goal: "≤ 1",
        values: [ratio],
        unit: "",
        holds: ratio <= 1,
      },
    ];
  } finally {
    await second.stop();
  }
}

/** Seconds until all of them have been created and have begun to wait, at a few hundred writes per second. */
const gatherFor = (tasks: number): number => Math.ceil(10 + tasks / 35);
