import { constants } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";

/** Writes a file that only this user may read. Whole or not at all; a link under that name is replaced, never followed. */
export async function writePrivate(path: string, text: string): Promise<void> {
  const half = `${path}.half`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const file = await open(half, flags, 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
  } finally {
    await file.close();
  }
  await rename(half, path);
}

export const makePrivateFolder = (path: string): Promise<unknown> => mkdir(path, { recursive: true, mode: 0o700 });
