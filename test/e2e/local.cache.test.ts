import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import { local, processesNaming, type Ran, startLocal, temporaryFolder } from "./local-cli.ts";

/** A machine with an empty cache, and commands of the given names in front of the real ones. */
async function machineWith(folder: string, commands: Readonly<Record<string, string>>): Promise<NodeJS.ProcessEnv> {
  const bin = join(folder, "bin");
  await mkdir(bin, { recursive: true });
  for (const [name, script] of Object.entries({ ...RECENT_TOOLS, ...commands })) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return { PATH: `${bin}:/usr/bin:/bin`, XDG_CACHE_HOME: folder, KUBEBUILDER_ASSETS: "", MARKS: join(folder, "marks") };
}

const RECENT_TOOLS = { kubectl: "echo Client Version: v1.36.0", helm: "echo v4.0.0" };
/** Answers like go; `build … -o FILE PACKAGE` notes the file and does what the script says about it. */
const go = (version: string, build: string): string => `
  [ "$1" = version ] && { echo "go version go${version} linux/amd64"; exit; }
  while [ "$1" != -o ]; do shift; done
  file=$2
  echo "$file" >> "$MARKS"
  ${build}`;
const BUILDS = go("1.26.0", `sleep 0.3; echo whole > "$file"`);

const prepare = (env: NodeJS.ProcessEnv): Promise<Ran> => local(["prepare"], env);
const builds = (folder: string): Promise<number> =>
  readFile(join(folder, "marks"), "utf8").then(
    (text) => text.trim().split("\n").length,
    () => 0,
  );

async function cached(folder: string): Promise<readonly string[]> {
  const names = await readdir(join(folder, "turnout"), { recursive: true });
  return names
    .filter((name) => !name.endsWith(".log") && name.includes("/"))
    .map((name) => name.replace(/-[0-9a-f]{16}/, "-KEY"))
    .sort();
}
const ALL = [
  "etcd-KEY/etcd",
  "kube-apiserver-KEY/kube-apiserver",
  "kube-controller-manager-KEY/kube-controller-manager",
];

describe("the cache of the control plane", () => {
  test("each server is built once, with the steps told; then nothing is told", async () => {
    await using folder = await temporaryFolder();
    const env = await machineWith(folder.path, { go: BUILDS });
    const first = await prepare(env);
    expect(first).toMatchObject({ code: 0, stdout: "" });
    const told = first.stderr.match(/^\S+ v\S+: .*/gm)?.map((line) => line.replace(/\d+s$/, "Ns"));
    const [onceKept, ready] = [`once; kept in ${folder.path}/turnout)`, "ready after Ns"];
    expect(told).toEqual([
      `etcd v3.6.14: build starts (about 1 min, ${onceKept}`,
      `etcd v3.6.14: ${ready}`,
      `kube-apiserver v1.36.2: build starts (about 4 min, ${onceKept}`,
      `kube-apiserver v1.36.2: ${ready}`,
      `kube-controller-manager v1.36.2: build starts (about 1 min, ${onceKept}`,
      `kube-controller-manager v1.36.2: ${ready}`,
    ]);
    expect(await prepare(env)).toEqual({ code: 0, stdout: "", stderr: "" });
    expect(await builds(folder.path)).toBe(3);
    expect(await cached(folder.path)).toEqual(ALL);
  });

  test("two commands at once build it once", async () => {
    await using folder = await temporaryFolder();
    const env = await machineWith(folder.path, { go: BUILDS });
    const both = await Promise.all([prepare(env), prepare(env)]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.map(({ stderr }) => stderr).join("")).toContain("another command is at it; waiting for it");
    expect(await builds(folder.path)).toBe(3);
    expect(await cached(folder.path)).toEqual(ALL);
  });

  test("an interrupted build is never taken for a whole one", async () => {
    await using folder = await temporaryFolder();
    const hangs = go("1.26.0", `echo half > "$file"; exec sleep 1000`);
    const env = await machineWith(folder.path, { go: hangs });
    const killed = startLocal(["prepare"], env);
    const isHalfWay = async (): Promise<boolean> => (await cached(folder.path).catch(() => [])).length > 0;
    await until(isHalfWay, { clock: localClock, timeout: seconds(30), what: "half a binary" });
    killed.child.kill("SIGKILL");
    await killed.ended;
    const isQuiet = async (): Promise<boolean> => (await processesNaming(folder.path)).length === 0;
    await until(isQuiet, { clock: localClock, timeout: seconds(10), what: "the build to end with its command" });

    await machineWith(folder.path, { go: BUILDS });
    expect((await prepare(env)).code).toBe(0);
    expect(await cached(folder.path)).toEqual(ALL);
    const etcd = (await readdir(join(folder.path, "turnout"))).find((name) => /^etcd-[0-9a-f]{16}$/.test(name)) ?? "";
    expect(await readFile(join(folder.path, "turnout", etcd, "etcd"), "utf8")).toBe("whole\n");
  });

  const REFUSED = [
    [
      "a Go that is too old",
      go("1.22.1", ""),
      "Go 1.22.1 is too old. One of these helps:\n  - install Go 1.26 or newer",
    ],
    [
      "a full disk",
      go("1.26.0", `echo "link: write $file: no space left on device" >&2; exit 1`),
      "No space left for the build of the control plane (",
    ],
    [
      "no way to the modules",
      go("1.26.0", "echo 'dial tcp: lookup proxy: no such host' >&2; exit 1"),
      "The Go module proxy cannot be reached: check the network and `go env GOPROXY`.",
    ],
    [
      "anything else, with the end of what Go said",
      go("1.26.0", "echo undefined: frob >&2; exit 1"),
      "Building etcd v3.6.14 failed:\n    undefined: frob\n",
    ],
  ] as const;
  test("no refusal is lost", () => expect(REFUSED).toHaveLength(4));
  test.each(REFUSED)(
    "%s is told in words for a tired person, and nothing half-made stays",
    async (_what, script, text) => {
      await using folder = await temporaryFolder();
      const refused = await prepare(await machineWith(folder.path, { go: script }));
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(text);
      expect(refused.stderr).not.toMatch(/^\s+at /m);
      expect(await cached(folder.path)).toEqual([]);
    },
  );

  test("binaries of KUBEBUILDER_ASSETS come first, those of another version are left out", async () => {
    await using folder = await temporaryFolder();
    const assets = join(folder.path, "bin");
    const env = await machineWith(folder.path, {
      go: BUILDS,
      etcd: "",
      "kube-apiserver": "echo Kubernetes v1.36.1",
      "kube-controller-manager": "echo Kubernetes v1.31.0",
    });
    const { code, stderr } = await prepare({ ...env, KUBEBUILDER_ASSETS: assets });
    expect(code).toBe(0);
    expect(stderr).toContain("KUBEBUILDER_ASSETS: kube-controller-manager is v1.31.0, not v1.36; it is left out");
    expect(await cached(folder.path)).toEqual(["kube-controller-manager-KEY/kube-controller-manager"]);
  });
});
