import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseEnv } from "../../deployment/local/env-file.ts";
import { openEnvironment } from "../../deployment/local/environment.ts";
import { formatDuration } from "../../src/lib/time.ts";
import { openSweepWorld } from "../support/sweep-world.ts";
import { type Cell, nameOf, sliceOf } from "./cells.ts";
import { PIPELINES } from "./pipelines.ts";
import { reportOf } from "./report.ts";
import { boundaryList, everyCell, everyPipeline, references, sweep } from "./sweep-all.ts";

const USAGE = `usage: npm run sweep -- [options]
  --pipeline NAME    only this one (${Object.keys(PIPELINES).join(", ")})
  --at POINT         only there: effect/redis#1.late, effect/redis#1
  --do ACTION        only that: kill, stop, cut
  --direction WAY    only forward or back
  --slice N          each boundary once, in the cell that its number and N choose
  --seed SEED        default: TURNOUT_TEST_SEED, else the commit
  --at-once N        runs side by side (6): most of their time is waiting
  --leases           each boundary once, killed or stopped, under leader election, with another standing by (L3, L7)
  --list             writes test/sweep/boundaries/*.txt anew and runs nothing`;

const { values } = parseArgs({
  options: {
    pipeline: { type: "string" },
    at: { type: "string" },
    do: { type: "string" },
    direction: { type: "string" },
    slice: { type: "string" },
    seed: { type: "string" },
    "at-once": { type: "string", default: "6" },
    leases: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}

const ROOT = join(import.meta.dirname, "..", "..");
const commit = (): string =>
  execFileSync("git", ["rev-parse", "--short=8", "HEAD"], { cwd: ROOT, encoding: "utf8" }).trim();
const seed = values.seed ?? process.env["TURNOUT_TEST_SEED"] ?? commit();

const chosen = ({ pipeline, boundary, place, does, way }: Cell): boolean =>
  (values.pipeline ?? pipeline) === pipeline &&
  (values.direction ?? way) === way &&
  (values.do ?? does) === does &&
  (values.at === undefined || values.at === boundary || values.at === `${boundary}.${place}`);

execFileSync(process.execPath, ["deployment/build.ts"], { cwd: ROOT, stdio: "ignore" });
await using running = new AsyncDisposableStack();
const given = process.env["TURNOUT_ENV_FILE"];
const env =
  given === undefined
    ? running.use(await openEnvironment({ with: ["redis"], print: (line) => console.error(line) })).env
    : parseEnv(await readFile(given, "utf8"));
const world = running.use(await openSweepWorld(env, { elects: values.leases }));
console.error(`seed ${seed}`);

const wanted = everyPipeline().filter(
  ({ pipeline, way }) =>
    (values.pipeline ?? pipeline.name) === pipeline.name && (values.list || (values.direction ?? way) === way),
);
const known = await references(world, wanted);
let failed = 0;
for (const [name, { problems }] of known)
  for (const { id, says } of problems) {
    failed += 1;
    console.log(`✘ [T6][${id}] ${name} undisturbed: ${says}`);
  }

if (values.list) {
  for (const pipeline of Object.keys(PIPELINES))
    await writeFile(join(import.meta.dirname, "boundaries", `${pipeline}.txt`), boundaryList(known, pipeline));
} else {
  const all = everyCell(known).filter((cell) => chosen(cell) && (!values.leases || cell.does !== "cut"));
  const slice = values.slice ?? (values.leases ? "0" : undefined);
  const cells = slice === undefined ? all : sliceOf(all, Number(slice));
  if (cells.length === 0) throw new Error(`nothing is chosen by ${JSON.stringify(values)}\n${USAGE}`);
  const swept = await sweep(cells, {
    world,
    known,
    together: Number(values["at-once"]),
    onFailure: async (failure, number) => console.log(await reportOf(failure, { seed, number, world })),
    onRun: (done, of) => {
      if (done % 50 === 0) console.error(`${done} of ${of}`);
    },
  });
  failed += swept.failures.length;
  const missing = cells.length - swept.runs;
  failed += missing;
  const kinds = new Set(cells.map(({ pipeline }) => pipeline)).size;
  console.log(
    `sweep: ${swept.runs} of ${cells.length} runs over ${kinds} pipelines, ${swept.failures.length} failed, ${formatDuration(swept.took)}`,
  );
  for (const { cell } of swept.failures.slice(1)) console.log(`  ${nameOf(cell)}`);
}
process.exitCode = failed === 0 ? 0 : 1;
