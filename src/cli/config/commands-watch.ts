import { differences } from "../../infra/config/changed-paths.ts";
import { readJson } from "../../infra/config/json-text.ts";
import type { Centre, Change, ChangeSet, KeyValue, Listing, WatchLink } from "../../infra/coord/coord.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import { formatInstant } from "../../lib/time.ts";
import { changeLines } from "./commands-write.ts";
import { type Context, outLine, talkLine } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { type HookFlags, tellHook, type Told } from "./hook.ts";
import { rangeOf } from "./key-argument.ts";
import { masked } from "./show.ts";

export interface WatchFlags extends HookFlags {
  /** Revision after which to begin; without one, now. */
  readonly from?: string | undefined;
  /** End after so many changes. */
  readonly count?: string | undefined;
}

/** `watch KEY|PREFIX`: every change once and in order, whatever happens to the connection, until it is stopped. */
export async function watch(context: Context, text: string, flags: WatchFlags): Promise<number> {
  const range = rangeOf(text, context.env);
  const most = wholeOf(flags.count, "--count") ?? Number.POSITIVE_INFINITY;
  if (flags.webhook !== undefined && !/^https?:\/\//.test(flags.webhook)) {
    throw new CliFailure(EXIT.usage, "--webhook takes http://… or https://…");
  }
  const centre = await context.centre();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, context.seams.signal]);
  const since = wholeOf(flags.from, "--from");
  const start = await startOf({ centre, range, since }, signal);
  const known = new Map(start.items.map((item) => [item.key, valueOf(item)]));
  talkLine(context, `watching ${range} after revision ${start.revision}; Ctrl-C ends it`);
  const onLink = linkTeller(context);
  let told = 0;
  for await (const set of centre.watch(range, { signal, from: start, onLink })) {
    if (set.compacted !== null) talkLine(context, gapOf(set, set.compacted.since));
    for (const change of set.changes) {
      if (told >= most) break;
      const before =
        known.get(change.key) ?? (since === undefined ? undefined : await valueBefore(centre, change, signal));
      await tell(context, { change, set, before, flags });
      if (change.kind === "put") known.set(change.key, valueOf(change));
      else known.delete(change.key);
      told += 1;
    }
    if (told >= most) stop.abort();
  }
  return EXIT.done;
}

/** Says that the line was lost, and when it is there again; that it comes up at first goes without saying. */
function linkTeller(context: Context): (link: WatchLink) => void {
  let isLost = false;
  return (link) => {
    if (!link.up) talkLine(context, `not connected: ${link.cause}; trying again`);
    else if (isLost) talkLine(context, "connected again; what was missed follows");
    isLost = !link.up;
  };
}

const gapOf = ({ revision }: ChangeSet, since: number): string =>
  revision < since
    ? `etcd was set back from revision ${since} to ${revision}: what follows is the difference to now`
    : `history after revision ${since} is compacted away: what follows is the difference to now, without what was deleted unseen`;

interface Start {
  readonly centre: Centre;
  readonly range: string;
  readonly since: number | undefined;
}

/** Without a revision, what stands now is known; with one, nothing is, and each key is looked up as it was. */
async function startOf({ centre, range, since }: Start, signal: AbortSignal): Promise<Listing> {
  if (since !== undefined) {
    await refuseFuture(centre, { range, since }, signal);
    return { items: [], revision: since };
  }
  if (range.endsWith("/")) return await centre.list(range, signal);
  const found = await centre.get(range, signal);
  if (found !== null) return { items: [found], revision: found.revision };
  const { revision } = await centre.list(`${range}/`, signal);
  return { items: [], revision };
}

/** Nothing follows a revision that was never reached; a watch would wait for it, and miss what comes before. */
async function refuseFuture(
  centre: Centre,
  { range, since }: { readonly range: string; readonly since: number },
  signal: AbortSignal,
): Promise<void> {
  try {
    await centre.getAt(range.replace(/\/$/, ""), since, signal);
  } catch (error) {
    if (!(error instanceof InfraError) || !["FutureRevision", "Compacted"].includes(error.code)) throw error;
    if (error.code === "Compacted") return;
    const { revision } = await centre.list(range.endsWith("/") ? range : `${range}/`, signal);
    throw new CliFailure(EXIT.usage, `--from: the centre is at revision ${revision}, it has not come to ${since} yet`);
  }
}

/** The key just before the change; unknown where that is compacted away. */
async function valueBefore(centre: Centre, { key, revision }: Change, signal: AbortSignal): Promise<Json | undefined> {
  try {
    const found = await centre.getAt(key, revision - 1, signal);
    return found === null ? undefined : valueOf(found);
  } catch (error) {
    if (error instanceof InfraError && error.code === "Compacted") return undefined;
    throw error;
  }
}

interface Telling {
  readonly change: Change;
  readonly set: ChangeSet;
  readonly before: Json | undefined;
  readonly flags: WatchFlags;
}

async function tell(context: Context, { change, set, before, flags }: Telling): Promise<void> {
  const { key, kind, revision } = change;
  const after = kind === "put" ? valueOf(change) : undefined;
  const changed = differences(before, after);
  const toldAt = formatInstant(context.seams.clock.now());
  const value = after === undefined ? null : masked(after);
  const told: Told = { key, revision, toldAt, kind, value, changed: changed.map(({ path }) => path) };
  if (context.output === "json")
    context.seams.out(`${JSON.stringify({ ...told, compacted: set.compacted !== null })}\n`);
  else {
    outLine(context, `${toldAt} r${revision} ${key}${kind === "delete" ? " deleted" : ""}`);
    for (const line of changeLines(changed)) outLine(context, `  ${line}`);
  }
  await tellHook(context, flags, told);
}

/** What is no JSON is shown as its size. */
function valueOf({ value }: Pick<KeyValue, "value">): Json {
  const read = readJson(value);
  return read.ok ? read.document.value : `(no JSON, ${Buffer.byteLength(value)} bytes)`;
}

export function wholeOf(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new CliFailure(EXIT.usage, `${flag}: ${JSON.stringify(text.slice(0, 40))} is no whole number from 1`);
}
