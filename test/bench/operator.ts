import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startOperator, type OperatorProcess } from "../../deployment/demo/children.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { until } from "../../deployment/local/poll.ts";
import { type Millis, millisOf, minutes } from "../../src/lib/time.ts";
import { type Metrics, scrape } from "../support/stand-metrics.ts";
import type { BenchCluster } from "./cluster.ts";

export interface BenchOperator extends OperatorProcess {
  metrics(): Promise<Metrics>;
}

export interface Chosen {
  /** Its namespace; also the name of its files. */
  readonly name: string;
  /** How often it was started with that name. */
  readonly start?: number;
  /** With a lease, as in production; without one nothing but tasks is written. */
  readonly elects?: boolean;
}

/** The shipped bundle as a process of its own, with the operator's account and rights. */
export async function startBenchOperator(
  cluster: BenchCluster,
  machine: Machine,
  { name, start = 1, elects = false }: Chosen,
): Promise<BenchOperator> {
  const settings = join(cluster.environment.stateDir, `${name}.json`);
  const election = { enabled: elects };
  await writeFile(settings, JSON.stringify({ operator: { ...OPERATOR, leaderElection: election }, endpoints: [] }));
  const kubeconfig = cluster.env["KUBECONFIG_OPERATOR"] ?? "";
  const log = join(cluster.environment.stateDir, `${name}-${start}.log`);
  const args = ["--settings", settings, "--kubeconfig", kubeconfig, "--namespace", name, "--identity", name];
  const env = cluster.profiles === null ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${cluster.profiles}` };
  const operator = await startOperator({ bundle: "dist/turnout.mjs", args, env, log }, machine);
  return { ...operator, metrics: () => scrape(log) };
}

const OPERATOR = {
  log: { level: "info" },
  listen: { host: "127.0.0.1", port: 0 },
  limits: { claimed: 10_000, acts: 1000 },
  ceiling: { cidrs: ["127.0.0.0/8"], ports: [] },
} as const;

/** Looks every `every` until `right`; a bench that waits for minutes must not cost what it measures. */
export const waitFor = (
  what: string,
  right: () => boolean | Promise<boolean>,
  { machine, every = millisOf(20), timeout = minutes(30) }: Waiting,
): Promise<unknown> =>
  until(async () => (await right()) || null, {
    clock: machine.clock,
    timeout,
    every,
    what,
    signal: machine.signal,
  });

interface Waiting {
  readonly machine: Machine;
  readonly every?: Millis;
  readonly timeout?: Millis;
}
