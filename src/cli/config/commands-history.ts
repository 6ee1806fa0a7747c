import { differences } from "../../infra/config/changed-paths.ts";
import { type ConfigKey, formatKey, formatTenantKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import type { Centre, Change, KeyValue } from "../../infra/coord/coord.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import { type Millis, millisOf } from "../../lib/time.ts";
import { changeLines } from "./commands-write.ts";
import { wholeOf } from "./commands-watch.ts";
import { type Context, outJson, outLine, talkLine } from "./context.ts";
import { editKey } from "./edit.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { readableKey, writableKey } from "./key-argument.ts";
import { confirmed } from "./progress.ts";
import type { CliSeams } from "./seams.ts";
import { masked } from "./show.ts";

const MOST = 200;
/** etcd sends history as fast as the line takes it; after so much silence there is no more. */
const QUIET = millisOf(500);

/** One thing that happened to the key; `value` is undefined where it was deleted. */
interface Event {
  readonly revision: number;
  readonly kind: "put" | "delete";
  readonly version: number | null;
  readonly value: Json | undefined;
}

interface Past {
  /** Newest first. */
  readonly events: readonly Event[];
  /** What stood before the oldest of them; null where nobody knows. */
  readonly before: { readonly value: Json | undefined } | null;
  /** Whether there are, or may have been, older ones than these; and why they are not told. */
  readonly cut: "limit" | "compacted" | null;
}

/** `history KEY`: what happened to it, newest first, earlier lives too, as far as etcd still knows. */
export async function history(
  context: Context,
  text: string,
  { limit }: { readonly limit?: string | undefined },
): Promise<number> {
  const key = readableKey(text, context.env);
  const name = "tenantId" in key ? formatTenantKey(key) : formatKey(key);
  const most = Math.min(wholeOf(limit, "--limit") ?? 20, MOST);
  const { events, before, cut } = await pastOf(await context.centre(), { name, most }, context);
  if (events.length === 0)
    throw new CliFailure(EXIT.found, `nothing stands under ${name}, and nothing did since the last compaction`);
  if (context.output === "json") {
    const shown = (value: Json | undefined): Json => (value === undefined ? null : masked(value));
    outJson(
      context,
      events.map(({ revision, kind, version, value }) => ({ revision, kind, version, value: shown(value) })),
    );
  } else {
    for (const [i, { revision, version, value }] of events.entries()) {
      outLine(context, `r${revision} ${version === null ? "deleted" : `version ${version}`}`);
      const older = i + 1 < events.length ? { value: events[i + 1]?.value } : before;
      const lines = older === null ? standingLines(value) : changeLines(differences(older.value, value));
      for (const line of lines) outLine(context, `  ${line}`);
    }
  }
  if (cut === "limit") talkLine(context, `older ones are left out; --limit shows up to ${MOST}`);
  if (cut === "compacted") talkLine(context, "what was before is compacted away");
  if (!("tenantId" in key)) talkLine(context, `go back: config-cli rollback ${name} --to REVISION`);
  return EXIT.done;
}

/** Of the oldest value that is known: it stood so, whoever wrote it. */
const standingLines = (value: Json | undefined): readonly string[] =>
  changeLines(differences(undefined, value)).map((line) => line.replace(/^\+/, "="));

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

const NOT_KNOWN: Readonly<Record<string, { readonly exitCode: number; readonly says: string }>> = {
  FutureRevision: { exitCode: EXIT.usage, says: "does not exist yet" },
  Compacted: { exitCode: EXIT.found, says: "is compacted away" },
};

async function valueThen(
  centre: Centre,
  { key, revision }: { readonly key: ConfigKey; readonly revision: number },
  signal: AbortSignal,
): Promise<Json> {
  const name = formatKey(key);
  const found = await centre.getAt(name, revision, signal).catch((error: unknown) => {
    const why = error instanceof InfraError ? NOT_KNOWN[error.code] : undefined;
    if (why === undefined) throw error;
    throw new CliFailure(why.exitCode, `${name}: revision ${revision} ${why.says}; see: config-cli history ${name}`);
  });
  if (found === null)
    throw new CliFailure(
      EXIT.found,
      `nothing stood under ${name} at revision ${revision}; see: config-cli history ${name}`,
    );
  const read = readJson(found.value);
  if (read.ok) return read.document.value;
  throw new CliFailure(EXIT.found, `${name} held no JSON at revision ${revision}; take another one`);
}

/** Everything that etcd still knows of the key is read once, oldest first; the newest ones are kept. */
async function pastOf(
  centre: Centre,
  { name, most }: { readonly name: string; readonly most: number },
  { seams, timeout }: Pick<Context, "seams" | "timeout">,
): Promise<Past> {
  const { signal } = seams;
  const now = await centre.get(name, signal);
  const { revision: oldest, isCut } = await oldestRevision(centre, name, signal);
  const standing = await centre.getAt(name, oldest, signal);
  const all: Event[] = standing === null ? [] : [eventOf({ kind: "put", ...standing })];
  const until = now === null ? null : now.revision;
  if (until === null || (standing?.revision ?? 0) < until) {
    const reading = { name, since: oldest, until, timeout };
    for await (const change of changesOf(centre, reading, seams)) {
      all.push(eventOf(change));
      // The oldest one that is kept beyond the limit says what the last one changed.
      if (all.length > most + 1) all.shift();
    }
  }
  const events = all.slice(-most).toReversed();
  const beyond = all.length > most ? all.at(-most - 1) : undefined;
  if (beyond !== undefined) return { events, before: { value: beyond.value }, cut: "limit" };
  const isFirst = standing === null || standing.version === 1;
  return { events, before: isFirst ? { value: undefined } : null, cut: isCut ? "compacted" : null };
}

const eventOf = (change: Change): Event =>
  change.kind === "delete"
    ? { revision: change.revision, kind: "delete", version: null, value: undefined }
    : { revision: change.revision, kind: "put", version: change.version, value: jsonOf(change) };

interface Reading {
  readonly name: string;
  readonly since: number;
  /** The last change there is; null where the key does not stand, and only silence tells that nothing more comes. */
  readonly until: number | null;
  readonly timeout: Millis;
}

async function* changesOf(
  centre: Centre,
  { name, since, until, timeout }: Reading,
  { clock, signal }: Pick<CliSeams, "clock" | "signal">,
): AsyncGenerator<Change> {
  const stop = new AbortController();
  const options = { signal: AbortSignal.any([stop.signal, signal]), from: { items: [], revision: since } };
  const sets = centre.watch(name, options)[Symbol.asyncIterator]();
  for (;;) {
    const heard = new AbortController();
    const next = sets.next();
    const patience = until === null ? QUIET : timeout;
    const came = await Promise.race([next, clock.sleep(patience, heard.signal).catch(() => null)]);
    heard.abort();
    const isOver = came === undefined || came === null || came.done === true;
    if (!isOver) yield* came.value.changes;
    if (isOver || (until !== null && came.value.revision >= until)) {
      stop.abort();
      await (isOver ? next : sets.return?.());
      signal.throwIfAborted();
      if (isOver && until !== null)
        throw new CliFailure(
          EXIT.unreachable,
          `${name}: its history did not come in time; try again with --timeout 1m`,
        );
      return;
    }
  }
}

/** By halves between the first revision and now: each is compacted away or not. */
async function oldestRevision(
  centre: Centre,
  name: string,
  signal: AbortSignal,
): Promise<{ readonly revision: number; readonly isCut: boolean }> {
  let known = (await centre.list(`${name}/`, signal)).revision;
  let gone = 0;
  while (known - gone > 1) {
    const middle = Math.floor((known + gone) / 2);
    if (await isCompacted(centre, { name, revision: middle }, signal)) gone = middle;
    else known = middle;
  }
  return { revision: known, isCut: gone > 0 };
}

async function isCompacted(
  centre: Centre,
  { name, revision }: { readonly name: string; readonly revision: number },
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await centre.getAt(name, revision, signal);
    return false;
  } catch (error) {
    if (error instanceof InfraError && error.code === "Compacted") return true;
    throw error;
  }
}

function jsonOf({ value }: Pick<KeyValue, "value">): Json {
  const read = readJson(value);
  return read.ok ? read.document.value : `(no JSON, ${Buffer.byteLength(value)} bytes)`;
}
