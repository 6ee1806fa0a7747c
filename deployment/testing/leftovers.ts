import { readdir, readFile } from "node:fs/promises";

import { commandLineOf, identify, type ProcessIdentity } from "../local/process-identity.ts";

/** Every process of a test run carries this variable, for children inherit it. */
export const RUN_VARIABLE = "TURNOUT_RUN";

export interface Leftover {
  readonly process: ProcessIdentity;
  readonly commandLine: string;
}

/** Processes of the run that live now, this one apart. Those of other users cannot be read and are not ours. */
export async function leftoversOf(run: string): Promise<readonly Leftover[]> {
  const found: Leftover[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const variables = await readText(`/proc/${pid}/environ`);
    if (!variables.split("\0").includes(`${RUN_VARIABLE}=${run}`)) continue;
    const known = identify(pid);
    if (known === null) continue;
    found.push({ process: known, commandLine: commandLineOf(pid) });
  }
  return found;
}

const readText = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
