import { seconds } from "../../src/lib/time.ts";
import { run } from "../local/command.ts";
import type { Machine } from "../local/machine.ts";

/** kubectl as a person would use it, on one cluster and as one user. */
export interface Kubectl {
  /** stdout. @throws Error with kubectl's own words */
  run(...args: readonly string[]): Promise<string>;
  /** The answer to `-o json`. */
  json(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
}

export interface KubectlOptions {
  readonly file: string;
  /** `--kubeconfig`, `--context`. */
  readonly global: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly machine: Machine;
}

export class KubectlError extends Error {
  override readonly name = "KubectlError";
}

export function openKubectl({ file, global, env, machine }: KubectlOptions): Kubectl {
  const execute = async (args: readonly string[]): Promise<string> => {
    const { code, stdout, output } = await run(
      { file, args: [...global, ...args], env, timeout: seconds(60) },
      machine,
    );
    if (code !== 0) throw new KubectlError(`kubectl ${args.join(" ")}: ${output.trim()}`);
    return stdout;
  };
  return {
    run: (...args) => execute(args),
    json: async (...args) => JSON.parse(await execute([...args, "-o", "json"])) as Readonly<Record<string, unknown>>,
  };
}

/** The merge patch that gives a command. */
export const command = (name: string, namespace: string, control: unknown): readonly string[] => [
  "patch",
  "swt",
  name,
  "-n",
  namespace,
  "--type=merge",
  "-p",
  JSON.stringify({ spec: { control } }),
];
