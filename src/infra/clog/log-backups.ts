import { createReadStream, createWriteStream } from "node:fs";
import { access, readdir, rename, unlink } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { formatInstant, type Instant, type Millis, parseInstant } from "../../lib/time.ts";

export interface RotationRules {
  readonly filename: string;
  /** Bytes at which the file is rotated; only a single batch of lines may be larger. */
  readonly maxSize: number;
  /** Rotated files that are kept, and for how long at most. */
  readonly maxBackups: number;
  readonly maxAge: Millis;
  readonly compress: boolean;
}

interface Backup {
  readonly name: string;
  readonly at: Instant;
}

const MOST_AT_ONCE = 1000;
const STAMP = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3}Z)-\d{3}$/;

/** A free name beside the file: `app-2026-06-01T12-00-00.000Z-000.log`. They sort by time. */
export async function backupName(filename: string, now: Instant): Promise<string> {
  const [stem, ext] = partsOf(filename);
  const stamp = formatInstant(now).replaceAll(":", "-");
  for (let n = 0; n < MOST_AT_ONCE; n += 1) {
    const name = join(dirname(filename), `${stem}-${stamp}-${String(n).padStart(3, "0")}${ext}`);
    if (!(await exists(name)) && !(await exists(`${name}.gz`))) return name;
  }
  throw new Error("too many rotations at one moment");
}

/** Deletes what is too old or too many, compresses the rest where asked, and ends what a crash left half done. */
export async function tidyBackups(rules: RotationRules, now: Instant): Promise<void> {
  const folder = dirname(rules.filename);
  const names = new Set(await readdir(folder));
  const [stem, ext] = partsOf(rules.filename);
  const ours = (name: string): boolean => name.startsWith(`${stem}-`) && name.includes(ext);
  for (const name of names) if (ours(name) && name.endsWith(".gz.part")) await unlink(join(folder, name));
  const found = new Map([...names].flatMap((name) => backupOf(name, stem, ext)).map((backup) => [backup.name, backup]));
  const backups = [...found.values()].toSorted((a, b) => (a.name < b.name ? 1 : -1));
  for (const [place, { name, at }] of backups.entries()) {
    const plain = join(folder, name);
    const packed = `${plain}.gz`;
    const isPacked = names.has(`${name}.gz`);
    if (place >= rules.maxBackups || now - at > rules.maxAge) {
      await unlink(isPacked ? packed : plain);
      if (isPacked && names.has(name)) await unlink(plain);
    } else if (isPacked && names.has(name)) await unlink(plain);
    else if (rules.compress && !isPacked) await pack(plain, packed);
  }
}

/** Whole or not at all: a reader never sees half of it. */
async function pack(plain: string, packed: string): Promise<void> {
  const part = `${packed}.part`;
  await pipeline(createReadStream(plain), createGzip(), createWriteStream(part, { mode: 0o600 }));
  await rename(part, packed);
  await unlink(plain);
}

/** The same for a backup that is packed, plain or (after a crash) both. */
function backupOf(name: string, stem: string, ext: string): readonly Backup[] {
  const plain = name.endsWith(".gz") ? name.slice(0, -3) : name;
  const stamp = plain.slice(stem.length + 1, plain.length - ext.length);
  if (plain !== `${stem}-${stamp}${ext}`) return [];
  const at = STAMP.test(stamp) ? parseInstant(stamp.replace(STAMP, "$1:$2:$3")) : null;
  return at === null ? [] : [{ name: plain, at }];
}

function partsOf(filename: string): readonly [stem: string, ext: string] {
  const ext = extname(filename);
  return [basename(filename, ext), ext];
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
