import type { Machine } from "../../deployment/local/machine.ts";
import { until } from "../../deployment/local/poll.ts";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { fieldsOf, textOf } from "../../src/api/wire.ts";
import { fanOut } from "../../src/stages/stage.ts";
import { millisOf, minutes } from "../../src/lib/time.ts";
import { systemClock } from "../../src/kube/clock.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import type { BenchCluster } from "./cluster.ts";
import { rawCeiling, rawTasks, writeRoundTrip } from "./ceiling.ts";
import { type Figure, median } from "./figures.ts";
import { type BenchOperator, startBenchOperator, waitFor } from "./operator.ts";
import { cpuSeconds, foreignCpuSeconds } from "./proc.ts";
import { createNamespace, createTask, createTasks, watchTasks } from "./tasks.ts";

export interface Size {
  readonly repeat: number;
  readonly tasks: number;
}

/** Stages of the measured pipeline: a wait that gathers the tasks, then twelve that do nothing. */
const STAGES = 12;
const GATHER_SECONDS = 40;

/** P1 (writes per second against L), P2 (writes per stage), P3 (one task alone), P8 (CPU per write). */
export async function pipelines(cluster: BenchCluster, machine: Machine, size: Size): Promise<readonly Figure[]> {
  const runs: Run[] = [];
  for (let repetition = 1; repetition <= size.repeat; repetition += 1) {
    machine.print(`repetition ${repetition} of ${size.repeat}: ${size.tasks} tasks of ${STAGES} stages`);
    runs.push(await oneRun(cluster, machine, { ...size, name: `bench-${repetition}` }));
  }
  const of = (pick: (run: Run) => number): readonly number[] => runs.map(pick);
  return [
    {
      id: "L",
      what: "raw ceiling, status writes per second",
      goal: "",
      values: of(({ ceiling }) => ceiling),
      unit: "/s",
      holds: null,
    },
    {
      id: "RTTw",
      what: "one status write, nothing else running",
      goal: "",
      values: of(({ rtt }) => rtt),
      unit: "ms",
      holds: null,
    },
    {
      id: "P1",
      what: `status writes/s ÷ L, ${size.tasks} tasks midway, no-op stages`,
      goal: "≥ 0.95",
      values: of(({ rate, ceiling }) => rate / ceiling),
      unit: "",
      holds: median(of(({ rate, ceiling }) => rate / ceiling)) >= 0.95,
    },
    {
      id: "P2",
      what: "status writes per stage",
      goal: "1.00",
      values: of(({ perStage }) => perStage),
      unit: "",
      holds: runs.every(({ perStage }) => perStage === 1),
    },
    {
      id: "P3",
      what: `one task of ${STAGES} stages alone ÷ (${STAGES + 1} RTTw)`,
      goal: "≤ 1.15",
      values: of(({ alone, rtt }) => alone / ((STAGES + 1) * rtt)),
      unit: "",
      holds: median(of(({ alone, rtt }) => alone / ((STAGES + 1) * rtt))) <= 1.15,
    },
    {
      id: "P8",
      what: "operator CPU per stage, watch included",
      goal: "≤ 0.40",
      values: of(({ cpuPerWrite }) => cpuPerWrite),
      unit: "ms",
      holds: median(of(({ cpuPerWrite }) => cpuPerWrite)) <= 0.4,
    },
    {
      id: "P8",
      what: "the same ÷ CPU of a bare client's write, watch included",
      goal: "",
      values: of(({ cpuPerWrite, bare }) => cpuPerWrite / bare),
      unit: "",
      holds: null,
    },
    {
      id: "",
      what: "CPU of other processes during the run",
      goal: "≤ 5",
      values: of(({ foreign }) => 100 * foreign),
      unit: "%",
      holds: runs.every(({ foreign }) => foreign <= 0.05),
    },
  ];
}

interface Run {
  readonly ceiling: number;
  readonly bare: number;
  readonly rtt: number;
  readonly rate: number;
  readonly perStage: number;
  readonly alone: number;
  readonly cpuPerWrite: number;
  readonly foreign: number;
}

async function oneRun(
  cluster: BenchCluster,
  machine: Machine,
  { tasks, name }: Size & { readonly name: string },
): Promise<Run> {
  const { client } = cluster;
  await createNamespace(client, name);
  const operator = await startBenchOperator(cluster, machine, { name });
  try {
    const alone = await oneAlone(cluster, machine, name);
    const samples = await samplesFor(cluster, name);
    const { median: rtt } = await writeRoundTrip(client, samples[0] as KubeObject, 200);
    const before = await watchedCeiling(cluster, samples);
    const crowd = await manyAtOnce(cluster, machine, { name, tasks, operator });
    const after = await watchedCeiling(cluster, samples);
    return { ceiling: (before.rate + after.rate) / 2, bare: (before.cpu + after.cpu) / 2, rtt, alone, ...crowd };
  } finally {
    await operator.stop();
  }
}

/** Milliseconds from the first claim to the last settle of a single task, as a watcher beside the operator sees them. */
async function oneAlone({ client }: BenchCluster, machine: Machine, namespace: string): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < 7; i += 1) {
    const name = `alone-${i}`;
    await createTask(client, { namespace, name }, { stages: STAGES, gather: 0 });
    const done = await until(
      async () => {
        const task = await client.get(SWITCH_TASKS, { namespace, name });
        return textOf(fieldsOf(task["status"])["phase"]) === "Completed" ? task : null;
      },
      { clock: machine.clock, timeout: minutes(1), what: `${name} to complete` },
    );
    const status = fieldsOf(done["status"]);
    took.push(Date.parse(textOf(status["finishedAt"]) ?? "") - Date.parse(textOf(status["startedAt"]) ?? ""));
  }
  // The first one warms code and connections.
  return median(took.slice(1));
}

/** Objects as they are in the middle of the pipeline. */
async function samplesFor({ client }: BenchCluster, namespace: string): Promise<readonly KubeObject[]> {
  const model = await client.get(SWITCH_TASKS, { namespace, name: "alone-1" });
  const status = fieldsOf(model["status"]);
  const half = {
    ...status,
    phase: "Running",
    stages: (status["stages"] as readonly unknown[]).slice(0, STAGES / 2),
    conditions: (status["conditions"] as readonly unknown[]).slice(0, 6 + STAGES / 2),
  };
  return rawTasks(client, { ...model, status: half }, 16);
}

/** With one watcher, as every controller has one: what is written must be told. */
async function watchedCeiling(cluster: BenchCluster, samples: readonly KubeObject[]): Promise<Ceiling> {
  await using _watcher = await watchTasks(cluster.client, samples[0]?.metadata.namespace ?? "");
  const objects = await fresh(cluster, samples);
  const before = process.cpuUsage();
  const rate = await rawCeiling(cluster.client, objects, CEILING_SECONDS);
  const { user, system } = process.cpuUsage(before);
  return { rate, cpu: (user + system) / 1000 / (rate * CEILING_SECONDS) };
}
const CEILING_SECONDS = 8;

interface Ceiling {
  /** Writes per second. */
  readonly rate: number;
  /** Milliseconds of our own CPU per write, the watch included: what a Node client cannot do without. */
  readonly cpu: number;
}

const fresh = ({ client }: BenchCluster, samples: readonly KubeObject[]): Promise<readonly KubeObject[]> =>
  fanOut(samples, 4, ({ metadata }) =>
    client.get(SWITCH_TASKS, { namespace: metadata.namespace ?? "", name: metadata.name }),
  );

interface Crowd {
  readonly name: string;
  readonly tasks: number;
  readonly operator: BenchOperator;
}

/** All tasks gather in their first wait; then each runs its twelve stages while the others do. */
async function manyAtOnce(
  cluster: BenchCluster,
  machine: Machine,
  { name: namespace, tasks, operator }: Crowd,
): Promise<Pick<Run, "rate" | "perStage" | "cpuPerWrite" | "foreign">> {
  const { client } = cluster;
  const looking = { machine, every: millisOf(250) };
  const written = await cluster.statusWrites();
  const { settled, completed } = await counts(operator);
  // Asked of the operator: a watcher of our own would take from the API server what is measured.
  const stages = async (): Promise<number> => (await counts(operator)).settled - settled;
  const over = async (): Promise<number> => (await counts(operator)).completed - completed;
  await createTasks(client, namespace, { count: tasks, stages: STAGES, gather: GATHER_SECONDS });
  // From the first stages behind the gathering one until a tenth is left: all that counts is midway.
  await waitFor("the first tasks to go on", async () => (await stages()) > tasks * 0.02, looking);
  const start = await measure(cluster, operator.pid);
  await waitFor("the last tasks to come to their end", async () => (await over()) > tasks * 0.9, looking);
  const stop = await measure(cluster, operator.pid);
  await waitFor("every task to complete", async () => (await over()) === tasks, looking);
  const seconds = (stop.at - start.at) / 1000;
  const writes = stop.writes - start.writes;
  const all = (await cluster.statusWrites()) - written;
  return {
    rate: writes / seconds,
    perStage: (all - tasks * BESIDE_STAGES) / ((STAGES + 1) * tasks),
    cpuPerWrite: (1000 * (stop.cpu - start.cpu)) / writes,
    foreign: Math.max(0, stop.foreign - start.foreign) / seconds / 2,
  };
}

/** Stages that settled and tasks that completed since the operator's start. */
async function counts(operator: BenchOperator): Promise<{ readonly settled: number; readonly completed: number }> {
  const seen = await operator.metrics();
  return {
    settled: seen.sum("turnout_stage_attempts_total"),
    completed: seen.sum("turnout_task_transitions_total", { to: "Completed" }),
  };
}

/** Writes of a task that belong to no stage: the initial status, what the gathering wait waits for, and the +1 of N+1. */
const BESIDE_STAGES = 3;

interface Measured {
  readonly at: number;
  readonly writes: number;
  readonly cpu: number;
  readonly foreign: number;
}

async function measure(cluster: BenchCluster, operator: number): Promise<Measured> {
  const writes = await cluster.statusWrites();
  const ours = [operator, cluster.pids.apiserver, cluster.pids.etcd];
  return {
    at: systemClock.monotonic(),
    writes,
    cpu: await cpuSeconds(operator),
    foreign: await foreignCpuSeconds(ours),
  };
}
