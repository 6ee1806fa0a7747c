import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { checkSet } from "../../infra/config/check-tree.ts";
import { componentOf, componentsOf, hasComponent } from "../../infra/config/components.ts";
import { type ConfigKey, fileOfKey, formatKey } from "../../infra/config/config-key.ts";
import { readJson } from "../../infra/config/json-text.ts";
import { type Environment, ENVIRONMENTS } from "../../infra/config/services.ts";
import { readTree, type TreeFile } from "../../infra/config/tree.ts";
import { canonicalJson } from "../../lib/digest.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { asSourced, forCentre, fromFile, newProblems, prefixOf, readCentre } from "./centre-set.ts";
import { type Context, outJson, outProblems, talkLine } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { writeJsonFile } from "./files.ts";
import { filesOfEnv } from "./commands-look.ts";
import { componentNameOf, environmentOf, layerOf } from "./key-argument.ts";
import { type Planned, planOf, writePlan } from "./plan.ts";
import { confirmed } from "./progress.ts";
import { table } from "./show.ts";

export interface ImportFlags {
  readonly atomic: boolean;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

/** `import PATH`: all of it is checked before any of it is written. */
export async function importTree(context: Context, path: string, flags: ImportFlags): Promise<number> {
  const found = await readTree(path);
  const env = onlyEnvironment(context, found.files, path);
  const files = filesOfEnv(context, found.files, path);
  const problems = [...found.problems, ...checkSet(files.map(fromFile), "file")];
  if (problems.length > 0 || env === null) {
    outProblems(context, problems);
    talkLine(context, `${problems.length} problem(s) in ${found.files.length} file(s); nothing was written`);
    return EXIT.found;
  }
  return await bringIn(context, env, { files, flags });
}

async function bringIn(
  context: Context,
  env: Environment,
  { files, flags }: { readonly files: readonly TreeFile[]; readonly flags: ImportFlags },
): Promise<number> {
  const centre = await context.centre();
  const there = await readCentre(centre, prefixOf(env), context.seams.signal);
  const values = files.map(({ key, document }) => ({ key, value: forCentre(key, document.value) }));
  const worse = newProblems(
    there.sourced,
    values.map(({ key, value }) => asSourced(key, value)),
  );
  if (worse.length > 0) {
    outProblems(context, worse);
    talkLine(context, `with what stands in the centre, ${worse.length} problem(s); nothing was written`);
    return EXIT.found;
  }
  const plan = planOf(values, there.values);
  const changes = plan.filter(({ action }) => action !== "same");
  if (flags.dryRun || changes.length === 0) {
    show(context, plan);
    talkLine(
      context,
      changes.length === 0 ? "the centre says all of this already" : `${changes.length} key(s) would be written`,
    );
    return EXIT.done;
  }
  if (!flags.yes) {
    if (context.seams.terminal) context.seams.talk(tableOf(plan));
    if (!(await confirmed(context.seams, `write ${changes.length} key(s)?`, "--yes"))) return EXIT.usage;
  }
  return await write(context, plan, { atomic: flags.atomic, again: "import" });
}

async function write(
  context: Context,
  plan: readonly Planned[],
  { atomic, again }: { readonly atomic: boolean; readonly again: string },
): Promise<number> {
  const results = await writePlan(context, plan, atomic);
  show(context, results);
  const failed = results.filter(({ result }) => result !== undefined && result !== "written" && result !== "same");
  const written = results.filter(({ result }) => result === "written").length;
  talkLine(
    context,
    `${written} key(s) written, ${failed.length} not, ${results.length - written - failed.length} the same already`,
  );
  if (failed.length === 0) return EXIT.done;
  talkLine(context, `others changed keys meanwhile; look with config-cli diff, then ${again} again`);
  return EXIT.conflict;
}

function onlyEnvironment({ env }: Context, files: readonly TreeFile[], path: string): Environment | null {
  const found = [...new Set(files.map(({ key }) => key.env))];
  if (env !== undefined) return env;
  if (found.length > 1) {
    throw new CliFailure(
      EXIT.usage,
      `${path} holds ${found.join(", ")}; one import is for one environment: add --env ${found[0] ?? "dev"}`,
    );
  }
  return found[0] ?? null;
}

export interface InitFlags {
  readonly from: string;
  readonly dryRun: boolean;
  readonly force: boolean;
  readonly yes: boolean;
}
interface InitScope {
  readonly env?: string | undefined;
  readonly service?: string | undefined;
  readonly component?: string | undefined;
}

/** `init [ENV] [SERVICE] [COMPONENT]`: puts keys that are missing, from the files; what stands is never touched. */
export async function init(context: Context, scope: InitScope, flags: InitFlags): Promise<number> {
  const env = environmentOf(scope.env) ?? context.env ?? null;
  const layer = scope.service === undefined ? undefined : layerOf(scope.service);
  const component = scope.component === undefined ? undefined : componentNameOf(scope.component);
  if (layer !== undefined && component !== undefined && !hasComponent(layer, component)) {
    throw new CliFailure(EXIT.usage, `${layer} has no ${component}; it has ${componentsOf(layer).join(", ")}`);
  }
  const found = await readTree(flags.from);
  const files = found.files.filter(
    ({ key }) =>
      (env === null || key.env === env) &&
      (layer === undefined || key.layer === layer) &&
      (component === undefined || key.component === component),
  );
  const problems = [...found.problems, ...checkSet(found.files.map(fromFile), "file")];
  if (problems.length > 0) {
    outProblems(context, problems);
    talkLine(context, "the files are not valid; nothing was written");
    return EXIT.found;
  }
  if (files.length === 0) {
    const place = [env, layer, component].filter((part) => part !== undefined && part !== null).join("/");
    throw new CliFailure(EXIT.found, `${flags.from} holds no file of ${place}; write one: config-cli template`);
  }
  const centre = await context.centre();
  const envs = ENVIRONMENTS.filter((one) => files.some(({ key }) => key.env === one));
  const sets = await Promise.all(envs.map((one) => readCentre(centre, prefixOf(one), context.seams.signal)));
  const there = new Map(sets.flatMap(({ values }) => [...values]));
  const missing = files
    .filter(({ key }) => !there.has(formatKey(key)))
    .map(({ key, document }) => ({ key, value: forCentre(key, document.value) }));
  const plan = planOf(missing, there);
  const kept = files.length - missing.length;
  if (flags.dryRun || missing.length === 0) {
    show(context, plan);
    talkLine(context, `${missing.length} key(s) missing, ${kept} there already; nothing was written`);
    return EXIT.done;
  }
  const agreed = flags.force || flags.yes;
  if (!agreed && !(await confirmed(context.seams, `put ${missing.length} missing key(s)?`, "--yes"))) return EXIT.usage;
  const ended = await write(context, plan, { atomic: false, again: "init" });
  return ended === EXIT.done ? await readBack(context, missing) : ended;
}

/** What was written is what stands; anything else is told by name. */
async function readBack(
  context: Context,
  written: readonly { readonly key: ConfigKey; readonly value: Json }[],
): Promise<number> {
  const centre = await context.centre();
  const wrong: string[] = [];
  for (const { key, value } of written) {
    const found = await centre.get(formatKey(key), context.seams.signal);
    const read = found === null ? null : readJson(found.value);
    if (read?.ok !== true || canonicalJson(read.document.value) !== canonicalJson(value)) wrong.push(formatKey(key));
  }
  talkLine(
    context,
    wrong.length === 0 ? `${written.length} key(s) read back` : `read back and not the same: ${wrong.join(", ")}`,
  );
  return wrong.length === 0 ? EXIT.done : EXIT.conflict;
}

function show(context: Context, plan: readonly Planned[]): void {
  if (context.output === "json")
    outJson(
      context,
      plan.map(({ key, action, result, revision }) => ({ key: formatKey(key), action, result, revision })),
    );
  else context.seams.out(tableOf(plan));
}

const tableOf = (plan: readonly Planned[]): string =>
  table(
    ["ACTION", "RESULT", "KEY"],
    plan.map(({ key, action, result }) => [action, result ?? "–", formatKey(key)]),
  );

/** `export DIR`: the centre as files. A file that says something else stays unless forced. */
export async function exportTree(
  context: Context,
  to: string,
  { force }: { readonly force: boolean },
): Promise<number> {
  const set = await readCentre(await context.centre(), prefixOf(context.env), context.seams.signal);
  const rows: { file: string; result: string }[] = [];
  for (const { key, value } of set.sourced) {
    const file = join(to, fileOfKey(key));
    rows.push({ file, result: await writeFileOf(file, { key, value, force }) });
  }
  if (context.output === "json") outJson(context, rows);
  else
    context.seams.out(
      table(
        ["RESULT", "FILE"],
        rows.map(({ file, result }) => [result, file]),
      ),
    );
  const kept = rows.filter(({ result }) => result === "kept").length;
  for (const { file, message } of set.problems) talkLine(context, `${file}: ${message}; left out`);
  if (kept > 0) talkLine(context, `${kept} file(s) say something else and were kept; --force overwrites them`);
  return kept > 0 || set.problems.length > 0 ? EXIT.found : EXIT.done;
}

interface Exported {
  readonly key: ConfigKey;
  readonly value: Json;
  readonly force: boolean;
}

async function writeFileOf(file: string, { key, value, force }: Exported): Promise<string> {
  const before = await readFile(file).catch(() => null);
  const read = before === null ? null : readJson(before);
  const old = read?.ok === true ? read.document.value : null;
  const whole = withFilesOnly(key, value, old);
  if (old !== null && canonicalJson(old) === canonicalJson(whole)) return "same";
  if (before !== null && !force) return "kept";
  await writeJsonFile(file, whole);
  return "written";
}

/** What the centre may not hold stays as the file has it. */
function withFilesOnly({ component }: ConfigKey, value: Json, old: Json | null): Json {
  const { filesOnly } = componentOf(component);
  if (filesOnly.length === 0 || !isObject(old) || !isObject(value)) return value;
  const kept = Object.entries(old).filter(([field]) => filesOnly.includes(field));
  return { ...value, ...Object.fromEntries(kept) };
}

const isObject = (value: Json | null): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
