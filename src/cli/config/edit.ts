import type { Sourced } from "../../infra/config/check-tree.ts";
import { componentOf } from "../../infra/config/components.ts";
import { type ConfigKey, formatKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { sameJson } from "../../infra/config/layers.ts";
import { formatFileProblem } from "../../infra/config/tree.ts";
import type { Centre, KeyValue } from "../../infra/coord/coord.ts";
import { backoffAfter } from "../../lib/backoff.ts";
import { InfraError } from "../../lib/infra-error.ts";
import type { Json } from "../../lib/json.ts";
import { millisOf } from "../../lib/time.ts";
import { asSourced, newProblems, readRelated } from "./centre-set.ts";
import type { Context } from "./context.ts";
import { CliFailure, EXIT, STOPPED } from "./failure.ts";

/** What becomes of a value; undefined where nothing stands, or is to stand. A stored `null` is a value, though none that is valid. */
export type Edit = (now: Json | undefined) => Json | undefined;

export interface Edited {
  readonly before: Json | undefined;
  readonly after: Json | undefined;
  /** Of the write; null where nothing was written. */
  readonly revision: number | null;
  /** The exit code of who did not agree; null where nobody had to, or did. */
  readonly declined: number | null;
  readonly tries: number;
}

/** Enough where nobody else writes. */
const FEWEST_TRIES = 5;
/** However long --timeout is. */
const MOST_TRIES = 500;
/**
 * Each wait is drawn anew, so that writers who collided come apart. Tries go on past the fifth while --timeout lasts: of 50 writers at
 * once with 5 tries each, some always lose (test/cli/config-edit.test.ts counts them).
 */
const WAIT = { initial: millisOf(20), factor: 2, max: millisOf(250) };

export interface Editing {
  readonly edit: Edit;
  /** Only over this revision: what a person looked at and agreed to. */
  readonly seen?: number;
  /** Whatever stands there is written over, even what is no JSON. */
  readonly blind?: boolean;
  /** Asked once it is known to be valid: null to write over what was looked at and nothing else, or the exit code of a no. */
  readonly agree?: (looked: Pick<Edited, "before" | "after">) => Promise<number | null>;
}

/** Reads, edits, checks and writes only over what was read; starts over when somebody else was faster. */
export async function editKey(
  context: Context,
  key: ConfigKey,
  { edit, seen, blind, agree }: Editing,
): Promise<Edited> {
  const { seams } = context;
  const centre = await context.centre();
  const until = seams.clock.monotonic() + context.timeout;
  // Neighbours that change meanwhile are checked by whoever changes them.
  const { sourced } = await readRelated(centre, key, seams.signal);
  for (let tries = 1; ; tries += 1) {
    const found = await centre.get(formatKey(key), seams.signal);
    if (seen !== undefined && (found?.revision ?? 0) !== seen) throw outrun(key, tries);
    const before = blind === true ? readable(found) : valueOf(key, found);
    const after = edit(before);
    if (isSame(before, after, found)) return { before, after: before, revision: null, tries, declined: null };
    if (after !== undefined) refuseProblems(key, after, sourced);
    if (agree !== undefined && tries > 1) throw outrun(key, tries);
    const declined = (await agree?.({ before, after })) ?? null;
    if (declined !== null) return { before, after, revision: null, tries, declined };
    const revision = await writeOver({ context, centre, key }, found, after);
    if (revision !== null) return { before, after, revision, tries, declined };
    if (tries >= MOST_TRIES || (tries >= FEWEST_TRIES && seams.clock.monotonic() >= until)) throw outrun(key, tries);
    await seams.clock.sleep(backoffAfter(tries, WAIT, seams.rng.float()), seams.signal);
  }
}

function isSame(before: Json | undefined, after: Json | undefined, found: KeyValue | null): boolean {
  if (after === undefined) return found === null;
  return before !== undefined && sameJson(before, after);
}

/** Undefined also for what stands there and is no JSON. */
function readable(found: KeyValue | null): Json | undefined {
  const read = found === null ? null : readJson(found.value);
  return read?.ok === true && found?.damaged !== true ? read.document.value : undefined;
}

interface Place {
  readonly context: Context;
  readonly centre: Centre;
  readonly key: ConfigKey;
}

/** Null where somebody else was faster, or where nobody knows: the next try reads what became of it. */
async function writeOver(
  { context, centre, key }: Place,
  found: KeyValue | null,
  after: Json | undefined,
): Promise<number | null> {
  const text = after === undefined ? null : JSON.stringify(after);
  try {
    const done = await centre.compareAndSet(formatKey(key), found?.revision ?? 0, text, context.seams.signal);
    return done.ok ? done.revision : null;
  } catch (error) {
    const name = formatKey(key);
    if (context.seams.signal.aborted)
      throw new CliFailure(STOPPED, `stopped: ${name} may have been written; see: config-cli get ${name}`);
    if (error instanceof InfraError && error.code === "AnswerLost") return null;
    throw error;
  }
}

/** The value that stands, or a refusal: what is no JSON cannot be merged into. */
export function valueOf(key: ConfigKey, found: KeyValue | null): Json | undefined {
  if (found === null) return undefined;
  const read = readJson(found.value);
  if (read.ok && found.damaged !== true) return read.document.value;
  throw new CliFailure(
    EXIT.found,
    `${formatKey(key)} holds something that is no JSON; write it anew: config-cli replace ${formatKey(key)} JSON`,
  );
}

function refuseProblems(key: ConfigKey, after: Json, around: readonly Sourced[]): void {
  const problems = newProblems(around, [asSourced(key, after)]);
  if (problems.length === 0) return;
  const lines = problems.map((problem) => `  ${formatFileProblem(problem)}`).join("\n");
  throw new CliFailure(
    EXIT.found,
    `nothing was written:\n${lines}\nsee: config-cli template ${key.component} (${componentOf(key.component).about})`,
  );
}

const outrun = (key: ConfigKey, tries: number): CliFailure =>
  new CliFailure(
    EXIT.conflict,
    `${formatKey(key)}: others changed it in between ${tries} times; nothing was written. Try again, or give --timeout 1m`,
  );

/** JSON of an argument, with the place of what is wrong with it. */
export function jsonArgument(text: Uint8Array | string): Json {
  const read = readJson(text);
  if (read.ok) return read.document.value;
  const { line, column } = read.place;
  throw new CliFailure(EXIT.usage, `the JSON argument is refused at ${line}:${column}: ${read.reason}`);
}
