#!/usr/bin/env node
import { writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openMachine } from "../../deployment/local/machine.ts";
import { buildOperator } from "../../deployment/demo/stand.ts";
import { openBenchCluster } from "./cluster.ts";
import { config } from "./config.ts";
import { type Figure, spread } from "./figures.ts";
import { growth } from "./growth.ts";
import { latency } from "./latency.ts";
import { pipelines } from "./pipelines.ts";
import { report } from "./report.ts";
import { restart } from "./restart.ts";

const USAGE = `npm run bench -- [--repeat N] [--tasks N] [--flight N] [--sizes N,N,…] [--only PART]… [--profile DIR] [--write]

Measures the operator against the raw ceiling of the same API server in the same minutes (docs/performance.md says how).

  --repeat N      repetitions of the pipelines (3)
  --tasks N       tasks at once in them (1000)
  --flight N      tasks in flight when the operator is killed (2000)
  --sizes N,N,…   numbers of tasks over which growth is measured (100,1000,4000)
  --only PART     pipelines, latency, restart, growth, config; may be given several times (all)
  --profile DIR   leaves a CPU profile of each operator there; what is measured then is slower
  --write         writes docs/performance.md from this run
`;
const ROOT = join(import.meta.dirname, "..", "..");

const PARTS = ["pipelines", "latency", "restart", "growth", "config"] as const;
const COMMANDS = 100;
const INSTANCES = 200;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repeat: { type: "string", default: "3" },
      tasks: { type: "string", default: "1000" },
      flight: { type: "string", default: "2000" },
      sizes: { type: "string", default: "100,1000,4000" },
      only: { type: "string", multiple: true, default: [...PARTS] },
      profile: { type: "string" },
      write: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  await using machine = await openMachine({ print: (line) => console.error(line) });
  await buildOperator(machine);
  await using cluster = await openBenchCluster(machine, values.profile ?? null);
  const sizes = values.sizes.split(",").map(Number);
  const parts: Readonly<Record<(typeof PARTS)[number], () => Promise<readonly Figure[]>>> = {
    pipelines: () => pipelines(cluster, machine, { repeat: Number(values.repeat), tasks: Number(values.tasks) }),
    latency: () => latency(cluster, machine, { commands: COMMANDS }),
    restart: () => restart(cluster, machine, { tasks: Number(values.flight) }),
    growth: () => growth(cluster, machine, { sizes }),
    config: () => config(machine, { instances: INSTANCES }),
  };
  const figures: Figure[] = [];
  for (const part of PARTS.filter((name) => values.only.includes(name))) {
    const measured = await parts[part]();
    for (const figure of measured) console.log(lineOf(figure));
    figures.push(...measured);
  }
  if (values.write) {
    const folder = join(ROOT, "docs", "performance");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "latest.json"), `${JSON.stringify(figures, null, 2)}\n`);
    await writeFile(join(ROOT, "docs", "performance.md"), report(figures));
  }
  return 0;
}

function lineOf({ id, what, values, unit, goal, holds }: Figure): string {
  const verdict = holds === null ? "" : holds ? "  ok" : "  missed";
  return `${id.padEnd(4)} ${what.padEnd(74)} ${spread(values).padStart(22)} ${unit.padEnd(6)} ${goal === "" ? "" : `goal ${goal}`}${verdict}`;
}

process.exitCode = await main();
