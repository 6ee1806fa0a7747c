#!/usr/bin/env node
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";

import type { Clock } from "../src/lib/seams.ts";
import { millisOf, seconds } from "../src/lib/time.ts";
import { localClock } from "./local/clock.ts";
import { openMachine } from "./local/machine.ts";
import { untilOrphaned } from "./local/orphan.ts";
import { until } from "./local/poll.ts";
import { EnvironmentProblem } from "./local/problem.ts";
import { isAlive } from "./local/process-identity.ts";
import { chosenLayers, type Layer, LAYER_NAMES, type LayerName, ROOT, type TestRun } from "./testing/layers.ts";
import { leftoversOf, RUN_VARIABLE } from "./testing/leftovers.ts";
import { isGreen, type LayerResult, summaryOf } from "./testing/summary.ts";
import type { Tally } from "./testing/vitest-report.ts";

const USAGE = `npm test -- [--layer NAME]…   one or more of: ${LAYER_NAMES.join(", ")}; all where none is named`;

const print = (line: string): void => console.log(line);
const FAILED: Tally = { passed: 0, failed: 1, skipped: 0 };
const USAGE_ERROR = 2;

async function main(args: readonly string[]): Promise<number> {
  const asked = parse(args);
  if (asked === null) {
    console.error(USAGE);
    return USAGE_ERROR;
  }
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => ending.abort());
  await using machine = await openMachine({ print, signal: ending.signal });
  const watching = new AbortController();
  const orphaned = untilOrphaned({ clock: machine.clock, signal: watching.signal }).then(() => ending.abort());

  const run = machine.rng.id();
  process.env[RUN_VARIABLE] = run; // the environment's servers get it from here
  const seed = process.env.TURNOUT_TEST_SEED ?? commitSeed();
  print(`seed ${seed}`);
  const variables = { [RUN_VARIABLE]: run, TURNOUT_TEST_SEED: seed };
  const results = await runLayers(chosenLayers(asked), { machine, variables });
  const wasStopped = ending.signal.aborted;
  watching.abort();
  await orphaned;

  results.push(await timed("nothing left", () => nothingLeft(run), machine.clock));
  for (const line of summaryOf(wasStopped ? [...results, stopped] : results)) print(line);
  return isGreen(results) && !wasStopped ? 0 : 1;
}

const stopped: LayerResult = { name: "stopped", took: millisOf(0), ...FAILED };

function parse(args: readonly string[]): readonly LayerName[] | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { layer: { type: "string", multiple: true, default: [] } },
    });
    const known: readonly string[] = LAYER_NAMES;
    return values.layer.every((name) => known.includes(name)) ? (values.layer as LayerName[]) : null;
  } catch {
    return null;
  }
}

/** One commit, one order of tests. Outside a checkout it is always the same. */
function commitSeed(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short=8", "HEAD"], {
      cwd: ROOT,
      encoding: "utf8",
      stdio: "pipe",
    }).trim();
  } catch {
    return "1";
  }
}

async function runLayers(
  layers: readonly Layer[],
  { machine, variables }: Omit<TestRun, "atEnd">,
): Promise<LayerResult[]> {
  const results: LayerResult[] = [];
  await using atEnd = new AsyncDisposableStack();
  for (const layer of layers) {
    if (machine.signal.aborted) break;
    print(`\n── ${layer.name}`);
    const missing = layer.needs.filter((need) => results.some(({ name, failed }) => name === need && failed > 0));
    if (missing.length > 0) {
      print(`${layer.name}: not run, for ${missing.join(" and ")} failed`);
      results.push({ name: layer.name, took: millisOf(0), ...FAILED });
      continue;
    }
    results.push(await timed(layer.name, () => layer.run({ machine, variables, atEnd }), machine.clock));
  }
  return results;
}

async function timed(name: string, work: () => Promise<Tally>, clock: Clock): Promise<LayerResult> {
  const started = clock.monotonic();
  let tally = FAILED;
  try {
    tally = await work();
  } catch (error) {
    if (isAbort(error)) print(`${name}: stopped`);
    else
      print(error instanceof EnvironmentProblem ? error.message : String(error instanceof Error ? error.stack : error));
  }
  return { name, took: millisOf(clock.monotonic() - started), ...tally };
}

const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";

const GONE_WITHIN = seconds(5);

/** Everything that the run started has ended by now; what has not is ended here and makes the run red. */
async function nothingLeft(run: string): Promise<Tally> {
  const isEmpty = async (): Promise<boolean> => (await leftoversOf(run)).length === 0;
  await until(isEmpty, { clock: localClock, timeout: GONE_WITHIN, what: "the last process to end" }).catch(() => {});
  const left = await leftoversOf(run);
  for (const { process: known, commandLine } of left) {
    print(`left behind: process ${known.pid}, ${commandLine}`);
    if (isAlive(known)) process.kill(known.pid, "SIGKILL");
  }
  return left.length === 0 ? { passed: 1, failed: 0, skipped: 0 } : { ...FAILED, failed: left.length };
}

process.exitCode = await main(process.argv.slice(2));
