import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ended, run } from "../../deployment/local/command.ts";
import type { Machine } from "../../deployment/local/machine.ts";
import { type Millis, minutes } from "../../src/lib/time.ts";
import { type Ran, ranIn } from "./titles.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TOOLS = join(ROOT, "node_modules", ".bin");
const NOT_COPIED: ReadonlySet<string> = new Set([".git", ".failures", "coverage", "dist", "node_modules"]);
const STEP = minutes(5);
const BUILD_INFO = ".tsbuildinfo";

/** A copy of the tree in which bugs may be planted. */
export interface Tree extends AsyncDisposable {
  readonly path: string;
  applies(patch: string): Promise<Ended>;
  compiles(): Promise<Ended>;
  /** The bundles that the server tests start. */
  builds(): Promise<Ended>;
  tests(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<Ended & { readonly ran: readonly Ran[] }>;
}

/** A fresh copy of `source`, or of the tree that this file stands in. */
export async function copyTree(machine: Machine, source: string = ROOT): Promise<Tree> {
  const path = await mkdtemp(join(tmpdir(), "turnout-planted-"));
  await cp(source, path, {
    recursive: true,
    filter: (from) => !NOT_COPIED.has(from.slice(source.length + 1)),
  });
  await symlink(join(ROOT, "node_modules"), join(path, "node_modules"));
  const step = (file: string, args: readonly string[], env = {}, timeout: Millis = STEP): Promise<Ended> =>
    run({ file, args, cwd: path, env, timeout }, machine);
  return {
    path,
    applies: (patch) => step("git", ["apply", "--whitespace=nowarn", patch]),
    compiles: () => step(join(TOOLS, "tsc"), ["-p", ".", "--incremental", "--tsBuildInfoFile", BUILD_INFO]),
    builds: () => step(process.execPath, ["deployment/build.ts"]),
    async tests(args, env) {
      const report = join(path, ".report.json");
      const asked = ["run", ...args, "--reporter=json", "--reporter=default", `--outputFile.json=${report}`];
      const ended = await step(join(TOOLS, "vitest"), asked, env);
      const text = await readFile(report, "utf8").catch(() => null);
      return { ...ended, ran: text === null ? [] : ranIn(text) };
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
