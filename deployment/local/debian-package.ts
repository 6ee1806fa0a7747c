import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

import { hexDigest } from "../../src/lib/digest.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { cached, cacheFolder } from "./cache.ts";
import { onPath, run } from "./command.ts";
import type { Machine } from "./machine.ts";
import { PROBLEM } from "./problem.ts";

export interface DebianCommand {
  /** File name of the server: `redis-server`. */
  readonly command: string;
  readonly debian: string;
  /** The variable by which a person can name a running server instead. */
  readonly variable: string;
}

export interface Unpacked {
  readonly file: string;
  /** Value of LD_LIBRARY_PATH; empty where the system's own libraries serve. */
  readonly libraryPath: string;
}

/** What the variables of such a server's process need besides. */
export const librariesOf = (libraryPath: string): Readonly<Record<string, string>> =>
  libraryPath === "" ? {} : { LD_LIBRARY_PATH: libraryPath };

/**
 * Fetches a package and those of its libraries that are not installed, and unpacks them into the cache: nothing is installed,
 * no service is started, no right is needed. apt checks the signatures.
 */
export async function unpackedDebian(wanted: DebianCommand, machine: Machine): Promise<Unpacked> {
  const refuse = (why: string): Error => PROBLEM.noPackage({ ...wanted, why });
  if ((await onPath("apt-get", machine)) === null) throw refuse("this system has no apt-get");
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const key = `${wanted.command}-${hexDigest(release, wanted.debian, process.arch).slice(0, 16)}`;
  const entry = { key, title: wanted.command, how: "download", expected: seconds(20) } as const;
  const folder = await cached(
    entry,
    async (into) => {
      const problem = await fetchAndUnpack(wanted.debian, into, machine);
      if (problem !== null) throw refuse(problem);
    },
    machine,
  );
  const files = await readdir(folder, { recursive: true });
  const file = files.find((name) => /^(?:usr\/)?s?bin\//.test(name) && name.endsWith(`/${wanted.command}`));
  if (file === undefined) throw refuse(`the package ${wanted.debian} does not hold it`);
  const libraries = new Set(
    files.filter((name) => /\.so(?:\.\d+)*$/.test(name)).map((name) => join(folder, dirname(name))),
  );
  return { file: join(folder, file), libraryPath: [...libraries].join(":") };
}

/** Null when done, else why not. The system's package lists are tried first, then fresh ones of our own. */
async function fetchAndUnpack(debian: string, into: string, machine: Machine): Promise<string | null> {
  const problem = await withLists([], { debian, into }, machine);
  if (problem === null) return null;
  const own = join(cacheFolder(machine.variables), "apt");
  await mkdir(join(own, "state", "lists", "partial"), { recursive: true, mode: 0o700 });
  const options = [`State=${join(own, "state")}`, "State::status=/var/lib/dpkg/status", `Cache=${join(own, "cache")}`];
  const lists = options.flatMap((option) => ["-o", `Dir::${option}`]);
  const update = await run({ file: "apt-get", args: [...APT, ...lists, "update"], timeout: minutes(5) }, machine);
  return update.code === 0 ? withLists(lists, { debian, into }, machine) : lastLines(update.output);
}

// Without it apt complains that its own user cannot write into our folder.
const APT = ["-q", "-o", "APT::Sandbox::User=root"];

async function withLists(
  lists: readonly string[],
  { debian, into }: { debian: string; into: string },
  machine: Machine,
): Promise<string | null> {
  const apt = (args: readonly string[]) =>
    run(
      { file: "apt-get", args: [...APT, ...lists, ...args], cwd: into, timeout: minutes(5), env: { LC_ALL: "C" } },
      machine,
    );
  const plan = await apt(["install", "--simulate", "--no-install-recommends", debian]);
  if (plan.code !== 0) return lastLines(plan.output);
  const download = await apt(["download", ...new Set([debian, ...newPackages(plan.stdout)])]);
  if (download.code !== 0) return lastLines(download.output);
  for (const archive of (await readdir(into)).filter((name) => name.endsWith(".deb"))) {
    const unpack = await run({ file: "dpkg", args: ["-x", archive, "."], cwd: into, timeout: minutes(2) }, machine);
    if (unpack.code !== 0) return lastLines(unpack.output);
    await rm(join(into, archive));
  }
  return null;
}

/** Names from `Inst NAME (VERSION …)`; a line with `[OLD VERSION]` would replace what the system runs on, so it stays away. */
export const newPackages = (simulated: string): readonly string[] =>
  [...simulated.matchAll(/^Inst (\S+) \(/gm)].map(([, name]) => name ?? "");

const lastLines = (output: string): string => output.trim().split("\n").slice(-3).join("; ");
