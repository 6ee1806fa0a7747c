import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Millis, minutes } from "../../src/lib/time.ts";
import { run } from "../local/command.ts";
import { openEnvironment } from "../local/environment.ts";
import type { Machine } from "../local/machine.ts";
import { ENV_FILE } from "../local/state-dir.ts";
import { changedFiles, generatedFiles } from "./generated.ts";
import { type Tally, tallyOf } from "./vitest-report.ts";

/** In the order in which they run. */
export const LAYER_NAMES = ["static", "unit", "model", "build", "environment", "servers"] as const;
export type LayerName = (typeof LAYER_NAMES)[number];

export interface Layer {
  readonly name: LayerName;
  /** Layers without which it cannot run; they run too where it is asked for. */
  readonly needs: readonly LayerName[];
  readonly run: (run: TestRun) => Promise<Tally>;
}

export interface TestRun {
  readonly machine: Machine;
  /** What is closed when all layers are done. */
  readonly atEnd: AsyncDisposableStack;
  /** Variables of the children, laid over our own. */
  readonly variables: Record<string, string>;
}

export const ROOT = join(import.meta.dirname, "..", "..");
const TOOLS = join(ROOT, "node_modules", ".bin");
const PASSED: Tally = { passed: 1, failed: 0, skipped: 0 };
const FAILED: Tally = { passed: 0, failed: 1, skipped: 0 };

export const LAYERS: readonly Layer[] = [
  { name: "static", needs: [], run: staticLayer },
  { name: "unit", needs: [], run: (run) => vitest("unit", minutes(10), run, POLICY_COVERED) },
  { name: "model", needs: [], run: modelLayer },
  { name: "build", needs: [], run: (run) => step("build", [process.execPath, "deployment/build.ts"], run) },
  { name: "environment", needs: [], run: environmentLayer },
  { name: "servers", needs: ["build", "environment"], run: (run) => vitest("servers", minutes(40), run) },
];

/** The asked layers with those that they need; all where none is asked for. */
export function chosenLayers(asked: readonly LayerName[]): readonly Layer[] {
  if (asked.length === 0) return LAYERS;
  const needed = LAYERS.filter(({ name }) => asked.includes(name)).flatMap(({ name, needs }) => [name, ...needs]);
  return LAYERS.filter(({ name }) => needed.includes(name));
}

async function staticLayer(run: TestRun): Promise<Tally> {
  const tallies = [
    await step("format", [join(TOOLS, "prettier"), "--check", "--log-level", "warn", "."], run),
    await step("lint", [join(TOOLS, "oxlint"), "--quiet"], run),
    await step("types", [join(TOOLS, "tsc"), "-p", "."], run),
    await generatedLayer(run),
  ];
  return {
    passed: tallies.filter(({ failed }) => failed === 0).length,
    failed: tallies.filter(({ failed }) => failed > 0).length,
    skipped: 0,
  };
}

/** Runs the generator: files that change by it were edited by hand or left behind by their source. */
async function generatedLayer(run: TestRun): Promise<Tally> {
  if (!existsSync(join(ROOT, "src/generate.ts"))) {
    run.machine.print("generated: there is no src/generate.ts");
    return FAILED;
  }
  const before = await generatedFiles(ROOT);
  const generated = await step("generate", [process.execPath, "src/generate.ts"], run);
  const changed = changedFiles(before, await generatedFiles(ROOT));
  for (const path of changed) run.machine.print(`generated: ${path} was not what its source says; it is now`);
  return generated.failed > 0 || changed.length > 0 ? FAILED : PASSED;
}

const STEP_TIMEOUT = minutes(10);

/** One command that counts as one test; its output is shown where it fails. */
async function step(
  name: string,
  [file = "", ...args]: readonly string[],
  { machine, variables }: TestRun,
): Promise<Tally> {
  const { code, output } = await run({ file, args, cwd: ROOT, env: variables, timeout: STEP_TIMEOUT }, machine);
  if (code === 0) return PASSED;
  machine.print(`${output.trimEnd()}\n${name}: failed (exit code ${code ?? "none"})`);
  return FAILED;
}

async function modelLayer(run: TestRun): Promise<Tally> {
  if (existsSync(join(ROOT, "test", "model"))) return vitest("model", minutes(10), run);
  run.machine.print("model: there is no test/model");
  return FAILED;
}

async function environmentLayer({ machine, atEnd, variables }: TestRun): Promise<Tally> {
  const environment = await openEnvironment({
    with: ["redis", "etcd", "mariadb", "kafka"],
    audit: true,
    print: machine.print,
    signal: machine.signal,
  });
  atEnd.use(environment);
  variables.TURNOUT_ENV_FILE = join(environment.stateDir, ENV_FILE);
  return PASSED;
}

/** T11: each branch of the policy is taken by a pure test, or it is not there. A threshold that is missed ends vitest with an error. */
export const POLICY_COVERED: readonly string[] = [
  "--coverage",
  "--coverage.include=src/domain/**/*.ts",
  "--coverage.reporter=text-summary",
  "--coverage.thresholds.branches=100",
];

async function vitest(
  project: string,
  timeout: Millis,
  { machine, variables }: TestRun,
  also: readonly string[] = [],
): Promise<Tally> {
  const folder = await mkdtemp(join(tmpdir(), "turnout-report-"));
  try {
    const report = join(folder, "report.json");
    const reports = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const covered = `--coverage.reportsDirectory=${join(folder, "coverage")}`;
    const args = ["run", "--project", project, ...reports, covered, ...also];
    const file = join(TOOLS, "vitest");
    const { code } = await run({ file, args, cwd: ROOT, env: variables, timeout, show: true }, machine);
    return tallyOf(await readFile(report, "utf8").catch(() => null), code);
  } finally {
    await rm(folder, { recursive: true });
  }
}
