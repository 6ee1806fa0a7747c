import { minutes } from "../../src/lib/time.ts";
import { run } from "./command.ts";
import { type Machine, openMachine } from "./machine.ts";
import { PROBLEM } from "./problem.ts";

/**
 * Applies manifests (files or folders) as the admin and waits until the API serves the CRDs among them.
 * @throws EnvironmentProblem with kubectl's own words
 */
export async function applyManifests(env: Readonly<Record<string, string>>, files: readonly string[]): Promise<void> {
  await using machine = await openMachine({ print: () => {} });
  await applyAs(env, files, machine);
}

export async function applyAs(
  env: Readonly<Record<string, string>>,
  files: readonly string[],
  machine: Machine,
): Promise<void> {
  const from = files.flatMap((file) => ["-f", file]);
  const applied = await kubectl(env, ["apply", "--server-side", "--force-conflicts", "-o", "name", ...from], machine);
  const crds = applied.split("\n").filter((name) => name.startsWith("customresourcedefinition."));
  if (crds.length === 0) return;
  await kubectl(env, ["wait", "--for=condition=Established", "--timeout=60s", ...crds], machine);
}

async function kubectl(
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  machine: Machine,
): Promise<string> {
  const file = env.KUBECTL ?? "kubectl";
  const { code, stdout, output } = await run({ file, args, env: { ...env }, timeout: minutes(2) }, machine);
  if (code !== 0) throw PROBLEM.commandFailed({ command: `kubectl ${args.join(" ")}`, output });
  return stdout;
}
