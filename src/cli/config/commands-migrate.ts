import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { checkSet, type Sourced } from "../../infra/config/check-tree.ts";
import { hasComponent, isComponent } from "../../infra/config/components.ts";
import { type ConfigKey, fileOfKey, formatKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { sameJson } from "../../infra/config/layers.ts";
import { type Environment, isEnvironment, isLayer } from "../../infra/config/services.ts";
import { type FileProblem, readKeyFile } from "../../infra/config/tree.ts";
import type { Json } from "../../lib/json.ts";
import { type Context, outJson, outProblems, talkLine } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { writeJsonFile } from "./files.ts";
import { table } from "./show.ts";

/** One value of an old layout and where it goes. */
interface Moved extends Sourced {
  readonly value: Json;
}

interface Found {
  readonly moved: readonly Moved[];
  readonly problems: readonly FileProblem[];
}

const MOST_FILES = 2000;
/** One file with a section per component. */
const SECTIONS: ReadonlySet<string> = new Set(["app.json", "config.json", "application.json"]);

export interface MigrateFlags {
  readonly to: string;
  readonly dryRun: boolean;
  readonly force: boolean;
}

/**
 * `migrate OLD --to DIR`: `{service}/{component}.json`, `{service}/{env}/{component}.json`, `{env}/{service}/{component}.json` and
 * `app.json` with a section per component in their place → the tree. The old files stay; what was written is read back and compared.
 */
export async function migrate(context: Context, old: string, flags: MigrateFlags): Promise<number> {
  const { moved, problems } = await readOld(context, old);
  const all = [...problems, ...twice(moved), ...checkSet(moved, "file")];
  if (all.length > 0 || moved.length === 0) {
    outProblems(context, all);
    talkLine(
      context,
      moved.length === 0 ? `${old} holds nothing of an old layout` : `${all.length} problem(s); nothing was written`,
    );
    return EXIT.found;
  }
  const rows = await Promise.all(moved.map((one) => planned(one, flags)));
  const kept = rows.filter(({ result }) => result === "kept");
  if (!flags.dryRun && kept.length === 0) for (const { file, one } of rows) await writeJsonFile(file, one.value);
  if (context.output === "json")
    outJson(
      context,
      rows.map(({ file, result, one }) => ({ from: one.source, file, result })),
    );
  else
    context.seams.out(
      table(
        ["RESULT", "FROM", "FILE"],
        rows.map(({ file, result, one }) => [result, one.source, file]),
      ),
    );
  if (kept.length > 0) {
    talkLine(
      context,
      `${kept.length} file(s) there say something else; nothing was written. Look at them, then repeat with --force`,
    );
    return EXIT.found;
  }
  if (!flags.dryRun) return await verify(context, moved, flags.to);
  talkLine(context, `${moved.length} value(s) would be moved; nothing was written`);
  return EXIT.done;
}

async function planned(
  one: Moved,
  { to, force, dryRun }: MigrateFlags,
): Promise<{ readonly file: string; readonly result: string; readonly one: Moved }> {
  const file = join(to, fileOfKey(one.key));
  const there = await readKeyFile(to, one.key);
  const would = dryRun ? "would be " : "";
  if (there === null) return { file, result: `${would}written`, one };
  const same = "document" in there && sameJson(there.document.value, one.value);
  return { file, result: same ? "same" : force ? `${would}overwritten` : "kept", one };
}

/** Every value, read back from the new tree, says what the old one said. */
async function verify(context: Context, moved: readonly Moved[], to: string): Promise<number> {
  const wrong: string[] = [];
  for (const { key, value } of moved) {
    const read = await readKeyFile(to, key);
    if (read === null || !("document" in read) || !sameJson(read.document.value, value)) wrong.push(fileOfKey(key));
  }
  talkLine(
    context,
    wrong.length === 0
      ? `${moved.length} value(s) moved and compared; the old files may go now`
      : `not the same after writing: ${wrong.join(", ")}`,
  );
  return wrong.length === 0 ? EXIT.done : EXIT.found;
}

async function readOld({ env }: Context, old: string): Promise<Found> {
  const moved: Moved[] = [];
  const problems: FileProblem[] = [];
  for (const file of await filesBelow(old)) {
    const parts = relative(old, file).split(sep);
    const place = placeOf(parts, env);
    if (typeof place === "string") problems.push(about(file, place));
    else {
      const read = readJson(await readFile(file));
      if (!read.ok) problems.push({ ...about(file, read.reason), place: read.place });
      else moved.push(...valuesOf({ file, place, name: parts.at(-1) ?? "" }, read.document, problems));
    }
  }
  return { moved, problems };
}

type OldPlace = Pick<ConfigKey, "env" | "layer">;

/** Environment and service stand in either order; an environment that stands nowhere is the one of --env. */
function placeOf(parts: readonly string[], given: Environment | undefined): OldPlace | string {
  const folders = parts.slice(0, -1);
  const env = folders.find((part) => isEnvironment(part)) ?? given;
  const layer = folders.find((part) => isLayer(part));
  const other = folders.find((part) => part !== env && part !== layer && !isEnvironment(part));
  if (layer === undefined || other !== undefined)
    return `is in no folder of a service${other === undefined ? "" : ` (${JSON.stringify(other)} is none)`}`;
  if (env === undefined || !isEnvironment(env)) return "says no environment; add --env dev, test or prod";
  return { env, layer };
}

interface OldFile {
  readonly file: string;
  readonly place: OldPlace;
  readonly name: string;
}

function valuesOf(
  { file, place, name }: OldFile,
  document: { readonly value: Json; placeOf(path: string): NonNullable<FileProblem["place"]> },
  problems: FileProblem[],
): readonly Moved[] {
  const whole = name.replace(/\.json$/, "");
  const sections = SECTIONS.has(name) ? sectionsOf(document.value) : [[whole, document.value] as const];
  return sections.flatMap(([component, value]) => {
    const inside = SECTIONS.has(name) ? `${component}.` : "";
    if (!isComponent(component) || !hasComponent(place.layer, component)) {
      problems.push({
        ...about(file, `${component} is no component of ${place.layer}`),
        place: document.placeOf(inside.slice(0, -1)),
      });
      return [];
    }
    const key = { ...place, component };
    return [
      { source: file, key, value, placeOf: (path: string) => document.placeOf(`${inside}${path}`.replace(/\.$/, "")) },
    ];
  });
}

const sectionsOf = (value: Json): readonly (readonly [string, Json])[] =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];

/** Two old files that would become one. */
function twice(moved: readonly Moved[]): readonly FileProblem[] {
  const seen = new Map<string, string>();
  return moved.flatMap(({ key, source }) => {
    const name = formatKey(key);
    const first = seen.get(name);
    seen.set(name, first ?? source);
    return first === undefined
      ? []
      : [about(source, `gives a value for ${name}, and so does ${first}; remove one of them`)];
  });
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const found = await stat(folder).catch(() => null);
  if (found?.isDirectory() !== true) throw new CliFailure(EXIT.usage, `${folder} is no folder of an old layout`);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".json"));
  if (files.length > MOST_FILES)
    throw new CliFailure(EXIT.usage, `${folder} holds more than ${MOST_FILES} files; name the folder of the services`);
  return files.map((entry) => join(entry.parentPath, entry.name)).toSorted();
}

const about = (file: string, message: string): FileProblem => ({
  file,
  place: null,
  path: "",
  value: "",
  message,
  allowed: "",
});
