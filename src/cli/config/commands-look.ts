import { checkSet } from "../../infra/config/check-tree.ts";
import { differences } from "../../infra/config/changed-paths.ts";
import { formatKey, formatTenantKey, parseKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { type FileProblem, readTree, type TreeFile } from "../../infra/config/tree.ts";
import { checkSecrets } from "./check-secrets.ts";
import { forCentre, fromFile, prefixOf, readCentre } from "./centre-set.ts";
import { type Context, outJson, outLine, outProblems, talkLine } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { explain } from "./explain.ts";
import { environmentOf, layerOf, readableKey } from "./key-argument.ts";
import { masked, oneLine, table, tree } from "./show.ts";

/** Where files stand unless a path is given. */
export const FILES = "config";

/** `validate [PATH]`: every problem of files with its place; with `secrets`, also what they refer to and this machine does not have. */
export async function validateFiles(
  context: Context,
  { path = FILES, secrets }: { readonly path?: string | undefined; readonly secrets: boolean },
): Promise<number> {
  const found = await readTree(path);
  const files = filesOfEnv(context, found.files, path);
  const sourced = files.map(fromFile);
  const missing = secrets ? await checkSecrets(sourced, context.seams.env) : [];
  const problems = [...found.problems, ...checkSet(sourced, "file"), ...missing];
  return tellProblems(context, problems, `${files.length} files below ${path}`);
}

/** `validate --centre`: the same of what stands in the centre. */
export async function validateCentre(context: Context): Promise<number> {
  const set = await readCentre(await context.centre(), prefixOf(context.env), context.seams.signal);
  const problems = [...set.problems, ...checkSet(set.sourced, "centre")];
  return tellProblems(context, problems, `${set.values.size} keys of the centre`);
}

/** The files of --env. @throws CliFailure where the path has files, and all of them are another environment's. */
export function filesOfEnv({ env }: Context, files: readonly TreeFile[], path: string): readonly TreeFile[] {
  if (env === undefined) return files;
  const found = files.filter(({ key }) => key.env === env);
  if (found.length > 0 || files.length === 0) return found;
  const others = [...new Set(files.map(({ key }) => key.env))].join(", ");
  throw new CliFailure(EXIT.usage, `${path} holds ${others} only, nothing of ${env}; give another path or --env`);
}

function tellProblems(context: Context, problems: readonly FileProblem[], looked: string): number {
  outProblems(context, problems);
  talkLine(context, `${looked}: ${problems.length === 0 ? "all valid" : `${problems.length} problem(s)`}`);
  return problems.length === 0 ? EXIT.done : EXIT.found;
}

/** `get KEY`: the value of one key, masked; with --explain the value in force and where each field came from. */
export async function get(
  context: Context,
  text: string,
  { explain: why, files }: { readonly explain: boolean; readonly files: string },
): Promise<number> {
  const key = readableKey(text, context.env);
  if (why) {
    if ("tenantId" in key) throw new CliFailure(EXIT.usage, "a tenant's value has one layer only; leave --explain out");
    return await explain(context, key, files);
  }
  const name = "tenantId" in key ? formatTenantKey(key) : formatKey(key);
  const found = await (await context.centre()).get(name, context.seams.signal);
  if (found === null) throw absent(name, key);
  const read = readJson(found.value);
  if (!read.ok) {
    throw new CliFailure(
      EXIT.found,
      `${name}:${read.place.line}:${read.place.column}: ${read.reason}; write it anew with replace`,
    );
  }
  const value = masked(read.document.value);
  const { revision, version } = found;
  if (context.output === "json") outJson(context, { key: name, revision, version, value });
  else if (context.output === "tree") context.seams.out(tree(value));
  else {
    const rows = differences(undefined, value).map(({ path, new: now }) => [path, oneLine(now)]);
    context.seams.out(table(["FIELD", "VALUE"], rows));
  }
  if (context.output !== "json") talkLine(context, `${name}: revision ${revision}, version ${version}`);
  return EXIT.done;
}

function absent(name: string, key: object): CliFailure {
  const write = "tenantId" in key ? "a switch writes it" : `write it with: config-cli set ${name} JSON`;
  return new CliFailure(EXIT.found, `nothing stands under ${name}; ${write}`);
}

/** `list [ENV] [SERVICE]`: every key with revision and size. */
export async function list(
  context: Context,
  envText: string | undefined,
  serviceText: string | undefined,
): Promise<number> {
  const env = environmentOf(envText) ?? context.env;
  const service = serviceText === undefined ? undefined : layerOf(serviceText);
  const { items } = await (await context.centre()).list(prefixOf(env, service), context.seams.signal);
  const rows = items.map((item) => ({
    key: item.key,
    revision: item.revision,
    version: item.version,
    bytes: Buffer.byteLength(item.value),
    kind: parseKey(item.key).kind === "none" ? "unknown" : parseKey(item.key).kind,
  }));
  if (context.output === "json") outJson(context, rows);
  else if (context.output === "tree") for (const line of keyTree(rows.map(({ key }) => key))) outLine(context, line);
  else {
    const cells = rows.map((row) => [String(row.revision), String(row.version), String(row.bytes), row.kind, row.key]);
    context.seams.out(table(["REVISION", "VERSION", "BYTES", "KIND", "KEY"], cells));
  }
  if (rows.length === 0)
    talkLine(
      context,
      `nothing stands below ${prefixOf(env, service)}; put it there: config-cli import ${FILES} --env ${env ?? "dev"}`,
    );
  return EXIT.done;
}

function keyTree(keys: readonly string[]): readonly string[] {
  const lines: string[] = [];
  let before: readonly string[] = [];
  for (const key of keys) {
    const parts = key.split("/").slice(1);
    const same = parts.findIndex((part, i) => part !== before[i]);
    for (const [i, part] of parts.entries()) if (i >= same) lines.push(`${"  ".repeat(i)}${part}`);
    before = parts;
  }
  return lines;
}

/** `diff [PATH]`: files against the centre, field by field. */
export async function diff(context: Context, path: string = FILES): Promise<number> {
  const found = await readTree(path);
  if (found.problems.length > 0) {
    outProblems(context, found.problems);
    return EXIT.found;
  }
  const files = filesOfEnv(context, found.files, path);
  const envs = [...new Set(files.map(({ key }) => key.env))];
  const centre = await context.centre();
  const sets = await Promise.all(envs.map((env) => readCentre(centre, prefixOf(env), context.seams.signal)));
  const there = new Map(sets.flatMap(({ sourced }) => sourced.map((one) => [formatKey(one.key), one.value] as const)));
  const here = new Map(files.map(({ key, document }) => [formatKey(key), forCentre(key, document.value)] as const));
  const rows = [...new Set([...here.keys(), ...there.keys()])].toSorted().flatMap((key) =>
    differences(there.get(key), here.get(key)).map((one) => ({
      key,
      path: one.path,
      centre: one.old === undefined ? undefined : masked(one.old, one.path),
      file: one.new === undefined ? undefined : masked(one.new, one.path),
    })),
  );
  if (context.output === "json") outJson(context, rows);
  else if (rows.length > 0) {
    const cells = rows.map((row) => [row.key, row.path, oneLine(row.centre), oneLine(row.file)]);
    context.seams.out(table(["KEY", "FIELD", "CENTRE", "FILE"], cells));
  }
  talkLine(
    context,
    rows.length === 0
      ? `${here.size} files and the centre say the same`
      : `${rows.length} field(s) differ; config-cli import ${path} brings the files in`,
  );
  return rows.length === 0 ? EXIT.done : EXIT.found;
}
