import { differences } from "../../infra/config/changed-paths.ts";
import { componentOf } from "../../infra/config/components.ts";
import { type ConfigKey, formatKey } from "../../infra/config/config-key.ts";
import { mergePatch } from "../../infra/config/layers.ts";
import type { Json } from "../../lib/json.ts";
import { argumentText, type Context, outJson, outLine, talkLine } from "./context.ts";
import { type Edited, type Editing, editKey, jsonArgument } from "./edit.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { writableKey } from "./key-argument.ts";
import { without } from "./paths.ts";
import { confirmed } from "./progress.ts";
import { masked, oneLine } from "./show.ts";

export interface WriteFlags {
  readonly dryRun: boolean;
  /** Without asking; `set` and the removal of one field never ask, they touch nothing that they do not name. */
  readonly yes?: boolean;
}

/** `set KEY JSON`: laid over what stands there, so that fields of others survive. */
export async function set(
  context: Context,
  { text, json }: { readonly text: string; readonly json: string },
  flags: WriteFlags,
): Promise<number> {
  const key = writableKey(text, context.env);
  const patch = jsonArgument(await argumentText(context, json));
  const { schema } = componentOf(key.component);
  return await edit(context, key, { edit: (now) => mergePatch(schema, now, patch), ...asking(context, null, flags) });
}

/** `replace KEY JSON`: in place of whatever stands there. */
export async function replace(
  context: Context,
  { text, json }: { readonly text: string; readonly json: string },
  flags: WriteFlags,
): Promise<number> {
  const key = writableKey(text, context.env);
  const value = jsonArgument(await argumentText(context, json));
  const asked = asking(context, `replace ${formatKey(key)}?`, flags);
  return await edit(context, key, { edit: () => value, blind: true, ...asked });
}

/** `delete KEY [FIELD]`: the key, or one field of it; then the next layer counts. */
export async function remove(
  context: Context,
  { text, field }: { readonly text: string; readonly field?: string | undefined },
  flags: WriteFlags,
): Promise<number> {
  const key = writableKey(text, context.env);
  const name = formatKey(key);
  if (field === undefined) {
    const asked = asking(context, `delete ${name}?`, flags);
    return await edit(context, key, { edit: () => undefined, blind: true, ...asked });
  }
  return await edit(context, key, {
    edit: (now) => {
      const left = now === undefined ? null : without(now, field);
      if (left !== null) return left;
      throw new CliFailure(EXIT.found, `${name} has no field ${field}; see: config-cli get ${name}`);
    },
    ...asking(context, null, flags),
  });
}

type Agree = NonNullable<Editing["agree"]>;

/** What takes away fields that it does not name is shown and asked for, unless --yes says so already. */
function asking(context: Context, question: string | null, { dryRun, yes }: WriteFlags): { readonly agree?: Agree } {
  if (dryRun) return { agree: looking(context) };
  if (question === null || yes === true) return {};
  return {
    agree: async (looked) => {
      if (looked.before === undefined && looked.after !== undefined) return null;
      for (const line of changeLines(differences(looked.before, looked.after))) talkLine(context, line);
      return (await confirmed(context.seams, question, "--yes")) ? null : EXIT.usage;
    },
  };
}

/** --dry-run: checked and shown like a write. */
function looking(context: Context): Agree {
  return ({ before, after }) => {
    showChanges(context, differences(before, after));
    talkLine(context, "nothing was written");
    return Promise.resolve(EXIT.done);
  };
}

function showChanges(context: Context, changed: ReturnType<typeof differences>): void {
  if (context.output === "json") outJson(context, { changed: changed.map(({ path }) => path) });
  else for (const line of changeLines(changed)) outLine(context, line);
}

async function edit(context: Context, key: ConfigKey, editing: Editing): Promise<number> {
  const edited = await editKey(context, key, editing);
  if (edited.declined !== null) return edited.declined;
  const isAbsent = edited.revision === null && edited.after === undefined;
  if (isAbsent) throw new CliFailure(EXIT.found, `nothing stands under ${formatKey(key)}; nothing was written`);
  tell(context, key, edited);
  return EXIT.done;
}

function tell(context: Context, key: ConfigKey, { before, after, revision, tries }: Edited): void {
  const name = formatKey(key);
  const changed = differences(before, after);
  if (context.output === "json")
    outJson(context, { key: name, revision, tries, changed: changed.map(({ path }) => path) });
  else showChanges(context, changed);
  const what =
    revision === null
      ? "said so already; nothing was written"
      : after === undefined
        ? `deleted at revision ${revision}`
        : `revision ${revision}`;
  talkLine(context, `${name}: ${what}`);
}

const LONGEST = 72;

/** `~ poolSize: 10 → 20`, `+ db: 1`, `- keyPrefix: "im:"` */
export function changeLines(
  changed: readonly { readonly path: string; readonly old: Json | undefined; readonly new: Json | undefined }[],
): readonly string[] {
  const shown = (value: Json, path: string): string => {
    const text = oneLine(masked(value, path));
    // An item of a list that came or went as a whole; `get` shows all of it.
    return typeof value === "object" && text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  };
  return changed.map(({ path, old, new: next }) => {
    const field = path === "" ? "(value)" : path;
    if (old === undefined) return `+ ${field}: ${next === undefined ? "" : shown(next, path)}`;
    return next === undefined
      ? `- ${field}: ${shown(old, path)}`
      : `~ ${field}: ${shown(old, path)} → ${shown(next, path)}`;
  });
}
