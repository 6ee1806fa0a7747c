#!/usr/bin/env node
import { join } from "node:path";
import { parseArgs } from "node:util";
import { localClock } from "../../deployment/local/clock.ts";
import { openEnvironment } from "../../deployment/local/environment.ts";
import { type Machine, openMachine } from "../../deployment/local/machine.ts";
import { ENV_FILE } from "../../deployment/local/state-dir.ts";
import { formatDuration, type Millis, seconds } from "../../src/lib/time.ts";
import { type Planted, plantedBugs } from "./patch.ts";
import { shows } from "./titles.ts";
import { copyTree, type Tree } from "./tree.ts";

const USAGE = `usage: npm run planted -- [--only B07[,B08]]…
Plants each bug of test/planted in a copy of the tree and demands: the patch applies, the tree compiles, the test that its
header names turns red with the expected id in its title, and is green without the patch.`;
const AT_ONCE = 2;

/** Null: caught. Else what speaks against it, and the end of what the step wrote. */
type Verdict = { readonly why: string; readonly output: string } | null;

interface Judge {
  readonly machine: Machine;
  /** The tree without a bug. */
  readonly clean: Tree;
  readonly envFor: (args: readonly string[]) => Promise<Readonly<Record<string, string>>>;
  readonly green: (args: readonly string[]) => Promise<Verdict>;
}

async function judge(bug: Planted, { machine, clean, envFor, green }: Judge): Promise<Verdict> {
  const sound = await green(bug.run);
  if (sound !== null) return sound;
  await using tree = await copyTree(machine, clean.path);
  const applied = await tree.applies(bug.file);
  if (applied.code !== 0) return { why: "does not apply", output: applied.output };
  const compiled = await tree.compiles();
  if (compiled.code !== 0) return { why: "does not compile", output: compiled.output };
  const built = onServers(bug.run) ? await tree.builds() : null;
  if (built !== null && built.code !== 0) return { why: "does not build", output: built.output };
  const { ran, output } = await tree.tests(bug.run, await envFor(bug.run));
  const red = ran.filter(({ failed }) => failed);
  if (red.length === 0) return { why: "every test stays green", output };
  if (red.some((one) => shows(one, bug.expect))) return null;
  return { why: `red, but not for [${bug.expect}]`, output: red.map(({ title }) => title).join("\n") };
}

const onServers = (args: readonly string[]): boolean => args.includes("servers");

/** Each distinct run once on the tree without a bug. */
function greenOnce({ clean, envFor }: Pick<Judge, "clean" | "envFor">): Judge["green"] {
  const known = new Map<string, Promise<Verdict>>();
  let built: Promise<unknown> | null = null;
  const ask = async (args: readonly string[]): Promise<Verdict> => {
    if (onServers(args)) await (built ??= clean.builds());
    const { code, ran, output } = await clean.tests(args, await envFor(args));
    if (code === 0 && ran.length > 0) return null;
    return { why: code === 0 ? "the run holds no test" : "red without the patch", output };
  };
  return (args) => {
    const key = args.join(" ");
    const asked = known.get(key) ?? ask(args);
    known.set(key, asked);
    return asked;
  };
}

/** The environment that runs is taken; else one is started for the first run that needs servers. */
function environments(open: AsyncDisposableStack): Judge["envFor"] {
  let file: Promise<string> | null = null;
  const start = async (): Promise<string> => {
    const given = process.env.TURNOUT_ENV_FILE;
    if (given !== undefined) return given;
    return join(open.use(await openEnvironment({ with: ["redis"], print: console.error })).stateDir, ENV_FILE);
  };
  return async (args) => (onServers(args) ? { TURNOUT_ENV_FILE: await (file ??= start()) } : {});
}

const since = (start: Millis): string =>
  formatDuration(seconds(Math.max(1, Math.round((localClock.monotonic() - start) / 1000))));

function tell(bug: Planted, verdict: Verdict, took: string): void {
  const said = verdict === null ? "caught" : `MISSED: ${verdict.why}`;
  console.log(
    `${bug.id}  ${bug.name.padEnd(34)} ${bug.tier.padEnd(4)} ${bug.expect.padEnd(7)} ${took.padStart(6)}  ${said}`,
  );
  if (verdict !== null) console.log(`${verdict.output.trimEnd().split("\n").slice(-40).join("\n")}\n`);
}

async function main(only: readonly string[]): Promise<number> {
  const start = localClock.monotonic();
  const bugs = plantedBugs().filter(({ id }) => only.length === 0 || only.includes(id));
  if (bugs.length === 0) throw new Error(`no such bug: ${only.join(", ")}`);
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => ending.abort());
  await using open = new AsyncDisposableStack();
  const machine = open.use(await openMachine({ print: console.error, signal: ending.signal }));
  const clean = open.use(await copyTree(machine));
  const sound = await clean.compiles();
  if (sound.code !== 0) throw new Error(`the tree does not compile without a bug:\n${sound.output}`);
  const envFor = environments(open);
  const judging: Judge = { machine, clean, envFor, green: greenOnce({ clean, envFor }) };
  const waiting = bugs.values();
  let missed = 0;
  const work = async (): Promise<void> => {
    for (const bug of waiting) {
      const began = localClock.monotonic();
      const verdict = await judge(bug, judging);
      if (verdict !== null) missed += 1;
      tell(bug, verdict, since(began));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  console.log(`${bugs.length} planted, ${bugs.length - missed} caught, ${missed} missed in ${since(start)}`);
  return missed === 0 ? 0 : 1;
}

const { values } = parseArgs({
  options: { only: { type: "string", multiple: true, default: [] }, help: { type: "boolean", default: false } },
});
if (values.help) console.log(USAGE);
else
  process.exitCode = await main(values.only.flatMap((ids) => ids.split(","))).catch((error: Error) => {
    console.error(error.name === "AbortError" ? "stopped" : error.message);
    return 1;
  });
