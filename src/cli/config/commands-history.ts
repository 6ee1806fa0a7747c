import { differences } from "../../infra/config/changed-paths.ts";
import { type ConfigKey, formatKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import type { Centre, KeyValue } from "../../infra/coord/coord.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import { millisOf } from "../../lib/time.ts";
import { changeLines } from "./commands-write.ts";
import { wholeOf } from "./commands-watch.ts";
import { type Context, outJson, outLine, talkLine } from "./context.ts";
import { editKey } from "./edit.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { writableKey } from "./key-argument.ts";
import { confirmed } from "./progress.ts";
import type { CliSeams } from "./seams.ts";
import { masked } from "./show.ts";

const MOST = 200;
/** etcd sends history as fast as the line takes it; after so much silence there is no more. */
const QUIET = millisOf(500);

interface Past {
  readonly versions: readonly KeyValue[];
  /** Whether older ones may have been compacted away. */
  readonly cut: boolean;
  /** Revision at which the key was deleted; null where it stands. */
  readonly deletedBy: number | null;
}

/** `history KEY`: what stood there, newest first, as far as etcd still knows. */
export async function history(
  context: Context,
  text: string,
  { limit }: { readonly limit?: string | undefined },
): Promise<number> {
  const key = writableKey(text, context.env);
  const most = Math.min(wholeOf(limit, "--limit") ?? 20, MOST);
  const past = await pastOf(await context.centre(), { name: formatKey(key), most }, context.seams);
  if (past.versions.length === 0) {
    throw new CliFailure(
      EXIT.found,
      `${formatKey(key)} has no history: nothing stands there, and nothing did since the last compaction`,
    );
  }
  if (past.deletedBy !== null) talkLine(context, `${formatKey(key)} was deleted by revision ${past.deletedBy}`);
  const rows = past.versions.map((version, i) => ({ version, older: past.versions[i + 1] }));
  if (context.output === "json") {
    outJson(
      context,
      rows.map(({ version }) => ({
        revision: version.revision,
        version: version.version,
        value: masked(jsonOf(version)),
      })),
    );
  } else {
    for (const { version, older } of rows) {
      outLine(context, `r${version.revision} version ${version.version}`);
      const known = older !== undefined || version.version === 1;
      if (known)
        for (const line of changeLines(differences(older === undefined ? undefined : jsonOf(older), jsonOf(version))))
          outLine(context, `  ${line}`);
    }
  }
  if (past.cut) talkLine(context, "older ones are compacted away");
  talkLine(context, `go back: config-cli rollback ${formatKey(key)} --to REVISION`);
  return EXIT.done;
}

/** `rollback KEY --to REVISION`: what stood there then, checked against what is valid now, as a new revision. */
export async function rollback(
  context: Context,
  text: string,
  { to, yes, dryRun }: { readonly to: string; readonly yes: boolean; readonly dryRun: boolean },
): Promise<number> {
  const key = writableKey(text, context.env);
  const revision = wholeOf(to, "--to") ?? 0;
  const centre = await context.centre();
  const then = await valueThen(centre, { key, revision }, context.seams.signal);
  const now = await centre.get(formatKey(key), context.seams.signal);
  const changed = differences(now === null ? undefined : jsonOf(now), then);
  for (const line of changeLines(changed)) outLine(context, line);
  if (changed.length === 0)
    talkLine(context, `${formatKey(key)} is as it was at revision ${revision}; nothing was written`);
  if (changed.length === 0 || dryRun) return EXIT.done;
  if (!yes && !(await confirmed(context.seams, `take ${formatKey(key)} back to revision ${revision}?`, "--yes")))
    return EXIT.usage;
  const seen = now?.revision ?? 0;
  const edited = await editKey(context, key, { edit: () => then, seen, blind: true });
  talkLine(context, `${formatKey(key)}: as at revision ${revision}, now revision ${String(edited.revision)}`);
  return EXIT.done;
}

async function valueThen(
  centre: Centre,
  { key, revision }: { readonly key: ConfigKey; readonly revision: number },
  signal: AbortSignal,
): Promise<Json> {
  const name = formatKey(key);
  const found = await centre.getAt(name, revision, signal);
  if (found === null)
    throw new CliFailure(
      EXIT.found,
      `nothing stood under ${name} at revision ${revision}; see: config-cli history ${name}`,
    );
  const read = readJson(found.value);
  if (read.ok) return read.document.value;
  throw new CliFailure(EXIT.found, `${name} held no JSON at revision ${revision}; take another one`);
}

/** From version to version backwards; each names the revision before which the older one stood. */
async function pastOf(
  centre: Centre,
  { name, most }: { readonly name: string; readonly most: number },
  seams: CliSeams,
): Promise<Past> {
  const { signal } = seams;
  const versions: KeyValue[] = [];
  const now = await centre.get(name, signal);
  const deleted = now === null ? await lastBeforeDeletion(centre, name, seams) : null;
  let here = now ?? deleted?.last ?? null;
  while (here !== null && versions.length < most) {
    versions.push(here);
    const older = await at(centre, { name, revision: here.revision - 1 }, signal);
    if (older === "compacted") return { versions, cut: here.version > 1, deletedBy: deleted?.deletedBy ?? null };
    here = older;
  }
  return { versions, cut: false, deletedBy: deleted?.deletedBy ?? null };
}

/** The delete is the last thing that happened to the key: its history is read from the oldest revision on until nothing more comes. */
async function lastBeforeDeletion(
  centre: Centre,
  name: string,
  { clock, signal }: Pick<CliSeams, "clock" | "signal">,
): Promise<{ readonly last: KeyValue; readonly deletedBy: number } | null> {
  const from = { items: [], revision: await oldestRevision(centre, name, signal) };
  const stop = new AbortController();
  const sets = centre.watch(name, { signal: AbortSignal.any([stop.signal, signal]), from })[Symbol.asyncIterator]();
  let deletedBy: number | null = null;
  for (;;) {
    const quiet = new AbortController();
    const next = sets.next();
    const came = await Promise.race([next, clock.sleep(QUIET, quiet.signal).catch(() => null)]);
    quiet.abort();
    if (came === undefined || came === null || came.done === true) {
      stop.abort();
      await next;
      break;
    }
    for (const change of came.value.changes) if (change.kind === "delete") deletedBy = change.revision;
  }
  const last = deletedBy === null ? null : await at(centre, { name, revision: deletedBy - 1 }, signal);
  return last === null || last === "compacted" || deletedBy === null ? null : { last, deletedBy };
}

/** By halves between the first revision and now: each is compacted away or not. */
async function oldestRevision(centre: Centre, name: string, signal: AbortSignal): Promise<number> {
  let known = (await centre.list(`${name}/`, signal)).revision;
  let gone = 0;
  while (known - gone > 1) {
    const middle = Math.floor((known + gone) / 2);
    if ((await at(centre, { name, revision: middle }, signal)) === "compacted") gone = middle;
    else known = middle;
  }
  return known;
}

async function at(
  centre: Centre,
  { name, revision }: { readonly name: string; readonly revision: number },
  signal: AbortSignal,
): Promise<KeyValue | null | "compacted"> {
  if (revision < 1) return null;
  try {
    return await centre.getAt(name, revision, signal);
  } catch (error) {
    if (error instanceof InfraError && error.code === "Compacted") return "compacted";
    throw error;
  }
}

function jsonOf({ value }: KeyValue): Json {
  const read = readJson(value);
  return read.ok ? read.document.value : `(no JSON, ${Buffer.byteLength(value)} bytes)`;
}
