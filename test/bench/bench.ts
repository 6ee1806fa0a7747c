#!/usr/bin/env node
import { writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openMachine } from "../../deployment/local/machine.ts";
import { buildOperator } from "../../deployment/demo/stand.ts";
import { openBenchCluster } from "./cluster.ts";
import { type Figure, spread } from "./figures.ts";
import { pipelines } from "./pipelines.ts";
import { report } from "./report.ts";

const USAGE = `npm run bench -- [--repeat N] [--tasks N] [--write]

Measures the operator against the raw ceiling of the same API server in the same minutes (docs/performance.md says how).

  --repeat N   repetitions (3)
  --tasks N    tasks at once (1000)
  --write      writes docs/performance.md from this run
`;
const ROOT = join(import.meta.dirname, "..", "..");

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repeat: { type: "string", default: "3" },
      tasks: { type: "string", default: "1000" },
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
  await using cluster = await openBenchCluster(machine);
  const figures: readonly Figure[] = await pipelines(cluster, machine, {
    repeat: Number(values.repeat),
    tasks: Number(values.tasks),
  });
  for (const { id, what, values: measured, unit, goal, holds } of figures) {
    console.log(
      `${id.padEnd(4)} ${what.padEnd(58)} ${spread(measured).padStart(22)} ${unit.padEnd(10)} goal ${goal}${holds === null ? "" : holds ? "  ok" : "  missed"}`,
    );
  }
  const folder = join(ROOT, "docs", "performance");
  await mkdir(folder, { recursive: true });
  if (values.write) {
    await writeFile(join(folder, "latest.json"), `${JSON.stringify(figures, null, 2)}\n`);
    await writeFile(join(ROOT, "docs", "performance.md"), report(figures));
  }
  return 0;
}

process.exitCode = await main();
