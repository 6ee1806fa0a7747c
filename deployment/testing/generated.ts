import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { hexDigest } from "../../src/lib/digest.ts";

/** Folders that `npm run generate` writes into. */
const FOLDERS = ["crds", "admission", "docs", "charts"];

/** Path → digest of every file that may be generated. */
export async function generatedFiles(root: string): Promise<ReadonlyMap<string, string>> {
  const digests = new Map<string, string>();
  for (const folder of FOLDERS) {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries.filter((entry) => entry.isFile())) {
      const path = join(entry.parentPath, entry.name);
      digests.set(path, hexDigest(await readFile(path, "latin1")));
    }
  }
  return digests;
}

/** Paths that are new, gone or different. */
export function changedFiles(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): readonly string[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path))
    .sort();
}
