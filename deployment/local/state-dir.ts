import { chmod, lstat, readdir, readFile, realpath, rm } from "node:fs/promises";
import { join } from "node:path";

import { hold } from "./alone.mjs";
import { makePrivateFolder, writePrivate } from "./private-file.ts";
import { PROBLEM } from "./problem.ts";
import { identify, isAlive, type ProcessIdentity } from "./process-identity.ts";

/** Stands in every folder that is ours: nothing is deleted where it is missing (SEC-49). */
const MARKER = ".turnout-environment";
const SUPERVISOR = "supervisor.json";
export const ENV_FILE = "env";
export const CONTROL_SOCKET = "control.sock";
/** Files that exist only while the environment runs. */
const RUNTIME_FILES = [ENV_FILE, CONTROL_SOCKET, "mariadb.sock", SUPERVISOR, "secrets", "certs"];
/** sun_path of unix(7), with its end mark. */
const LONGEST_SOCKET_PATH = 107;

export interface StateDir {
  readonly path: string;
  /** Removes what only a running environment has and lets others take the folder. */
  release(): Promise<void>;
}

/** Takes the folder for this process. What a killed environment left there, its data apart, is removed. */
export async function claimStateDir(wanted: string): Promise<StateDir> {
  const info = await makePrivateFolder(wanted).then(
    () => lstat(wanted),
    () => null,
  );
  if (info === null || !info.isDirectory() || info.uid !== process.getuid?.()) throw PROBLEM.notAFolder(wanted);
  const path = await realpath(wanted);
  if (Buffer.byteLength(join(path, CONTROL_SOCKET)) > LONGEST_SOCKET_PATH) {
    throw PROBLEM.pathTooLong({ path, most: LONGEST_SOCKET_PATH - CONTROL_SOCKET.length - 1 });
  }
  const release = await hold(`state-${info.dev}-${info.ino}`);
  if (release === null) throw PROBLEM.inUse({ path, pid: (await supervisorOf(path))?.pid ?? null });
  try {
    if (!(await isOurs(path)) && (await readdir(path)).length > 0) throw PROBLEM.notOurs(path);
    await chmod(path, 0o700);
    await writePrivate(join(path, MARKER), "Made by `npm run local`. Deleting this folder deletes the environment.\n");
    await removeRuntimeFiles(path);
    await writePrivate(join(path, SUPERVISOR), `${JSON.stringify(identify(process.pid))}\n`);
  } catch (error) {
    await release();
    throw error;
  }
  return {
    path,
    release: async () => {
      await removeRuntimeFiles(path);
      await release();
    },
  };
}

async function removeRuntimeFiles(path: string): Promise<void> {
  for (const name of RUNTIME_FILES) await rm(join(path, name), { recursive: true, force: true });
}

const isOurs = (path: string): Promise<boolean> =>
  lstat(join(path, MARKER)).then(
    (info) => info.isFile(),
    () => false,
  );

/** Whom to end to end the environment; null where none runs in the folder. */
export async function supervisorOf(path: string): Promise<ProcessIdentity | null> {
  const text = await readFile(join(path, SUPERVISOR), "utf8").catch(() => "null");
  const known = parseIdentity(text);
  return known !== null && isAlive(known) ? known : null;
}

function parseIdentity(text: string): ProcessIdentity | null {
  try {
    const value = JSON.parse(text) as Partial<ProcessIdentity> | null;
    const { pid, startTicks, bootId } = value ?? {};
    return typeof pid === "number" && pid > 1 && typeof startTicks === "string" && typeof bootId === "string"
      ? { pid, startTicks, bootId }
      : null;
  } catch {
    return null;
  }
}

/** Deletes the folder with its data; false where it is not there. @throws EnvironmentProblem where it is not ours or in use */
export async function deleteStateDir(path: string): Promise<boolean> {
  const info = await lstat(path).catch(() => null);
  if (info === null) return false;
  if (!info.isDirectory()) throw PROBLEM.notAFolder(path);
  if (!(await isOurs(path))) throw PROBLEM.notOurs(path);
  const release = await hold(`state-${info.dev}-${info.ino}`);
  if (release === null) throw PROBLEM.inUse({ path, pid: (await supervisorOf(path))?.pid ?? null });
  try {
    await rm(path, { recursive: true, force: true });
  } finally {
    await release();
  }
  return true;
}
