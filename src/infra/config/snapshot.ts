import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { canonicalJson, hexDigest } from "../../lib/digest.ts";
import type { Json } from "../../lib/json.ts";
import { type ConfigKey, formatKey } from "./config-key.ts";
import { DOCUMENT_LIMITS, readJson } from "./json-text.ts";
import type { LayerName } from "./layers.ts";

/** What the centre last said and was good, so that a start without the centre is a start with it. Holds references to secrets only. */
export interface Snapshot {
  readonly key: string;
  readonly revision: number | null;
  readonly layers: Readonly<Partial<Record<Extract<LayerName, `centre ${string}`>, Json>>>;
}

export type ReadSnapshot = { readonly snapshot: Snapshot | null; readonly problem: string | null };

const digestOf = (snapshot: Snapshot): string => hexDigest("config snapshot 1", canonicalJson(snapshot));

export const snapshotFile = (folder: string, { env, layer, component }: ConfigKey): string =>
  join(folder, `${env}.${layer}.${component}.json`);

/** Replaces the snapshot as a whole: what is read later is the old one or the new one. Mode 0600, no link is followed. */
export async function writeSnapshot(file: string, snapshot: Snapshot): Promise<void> {
  const text = `${JSON.stringify({ ...snapshot, digest: digestOf(snapshot) })}\n`;
  if (Buffer.byteLength(text) > DOCUMENT_LIMITS.bytes) throw new RangeError("larger than a snapshot may be");
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const part = `${file}.part`;
  await rm(part, { force: true });
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const handle = await open(part, flags, 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, file);
}

/** A snapshot that is torn, changed by hand, of another key or too large is refused and told, never used. */
export async function readSnapshot(file: string, key: ConfigKey): Promise<ReadSnapshot> {
  const bytes = await readPlain(file);
  if (bytes === null) return { snapshot: null, problem: null };
  const refused = (reason: string): ReadSnapshot => ({
    snapshot: null,
    problem: `snapshot ${file} ${reason}; it is left alone until the centre is heard`,
  });
  if (typeof bytes === "string") return refused(bytes);
  const read = readJson(bytes);
  if (!read.ok) return refused(`is refused: ${read.reason}`);
  const found = snapshotOf(read.document.value);
  if (found === null || found.digest !== digestOf(found.snapshot))
    return refused("is torn or was changed: its digest does not fit");
  if (found.snapshot.key !== formatKey(key)) return refused(`belongs to another key than ${formatKey(key)}`);
  return { snapshot: found.snapshot, problem: null };
}

async function readPlain(file: string): Promise<Uint8Array | string | null> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const about = await handle.stat();
      if (!about.isFile() || about.size > DOCUMENT_LIMITS.bytes) return "is no plain file of the allowed size";
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? null : "cannot be read";
  }
}

function snapshotOf(value: Json): { readonly snapshot: Snapshot; readonly digest: string } | null {
  if (!isRecord(value)) return null;
  const { key, revision, layers, digest } = value;
  if (typeof key !== "string" || typeof digest !== "string" || !isRecord(layers)) return null;
  if (revision !== null && typeof revision !== "number") return null;
  return { snapshot: { key, revision, layers }, digest };
}

const isRecord = (value: Json | undefined): value is Readonly<Record<string, Json>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
