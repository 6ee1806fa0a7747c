import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { Json } from "../../lib/json.ts";
import { CliFailure, EXIT } from "./failure.ts";

/** The value as a file of the tree, whole or not at all. @throws CliFailure where it cannot be written. */
export async function writeJsonFile(file: string, value: Json): Promise<void> {
  const part = `${file}.part`;
  try {
    await folderAt(dirname(file));
    await writeFile(part, `${JSON.stringify(value, null, 2)}\n`);
    await rename(part, file);
  } catch (error) {
    await rm(part, { force: true }).catch(() => undefined);
    throw unwritable(file, error);
  }
}

/** Level by level: `mkdir` with `recursive` never ends where a folder can hold none, such as /proc. */
async function folderAt(folder: string): Promise<void> {
  if (await isFolder(folder)) return;
  const above = dirname(folder);
  if (above !== folder) await folderAt(above);
  await mkdir(folder).catch(async (error: unknown) => {
    if (!(await isFolder(folder))) throw error;
  });
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

function unwritable(file: string, error: unknown): CliFailure {
  const code = (error as NodeJS.ErrnoException).code ?? "failed";
  return new CliFailure(EXIT.untold, `${file} cannot be written (${code}); name another folder, or repair this one`);
}
