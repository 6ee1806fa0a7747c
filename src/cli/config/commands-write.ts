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
import { masked, oneLine } from "./show.ts";

/** `set KEY JSON`: laid over what stands there, so that fields of others survive. */
export async function set(context: Context, text: string, json: string): Promise<number> {
  const key = writableKey(text, context.env);
  const patch = jsonArgument(await argumentText(context, json));
  const { schema } = componentOf(key.component);
  return await edit(context, key, { edit: (now) => mergePatch(schema, now ?? undefined, patch) });
}

/** `replace KEY JSON`: in place of whatever stands there. */
export async function replace(context: Context, text: string, json: string): Promise<number> {
  const key = writableKey(text, context.env);
  const value = jsonArgument(await argumentText(context, json));
  return await edit(context, key, { edit: () => value, blind: true });
}

/** `delete KEY [FIELD]`: the key, or one field of it; then the next layer counts. */
export async function remove(context: Context, text: string, field: string | undefined): Promise<number> {
  const key = writableKey(text, context.env);
  if (field === undefined) return await edit(context, key, { edit: () => null, blind: true });
  return await edit(context, key, {
    edit: (now) => {
      const left = now === null ? null : without(now, field);
      if (left !== null) return left;
      throw new CliFailure(
        EXIT.found,
        `${formatKey(key)} has no field ${field}; see: config-cli get ${formatKey(key)}`,
      );
    },
  });
}

async function edit(context: Context, key: ConfigKey, editing: Editing): Promise<number> {
  const edited = await editKey(context, key, editing);
  tell(context, key, edited);
  return EXIT.done;
}

function tell(context: Context, key: ConfigKey, { before, after, revision, tries }: Edited): void {
  const name = formatKey(key);
  const changed = differences(before ?? undefined, after ?? undefined);
  if (context.output === "json")
    outJson(context, { key: name, revision, tries, changed: changed.map(({ path }) => path) });
  else for (const line of changeLines(changed)) outLine(context, line);
  const what =
    revision === null
      ? "said so already; nothing was written"
      : after === null
        ? `deleted at revision ${revision}`
        : `revision ${revision}`;
  talkLine(context, `${name}: ${what}`);
}

/** `~ poolSize: 10 → 20`, `+ db: 1`, `- keyPrefix: "im:"` */
export function changeLines(
  changed: readonly { readonly path: string; readonly old: Json | undefined; readonly new: Json | undefined }[],
): readonly string[] {
  const shown = (value: Json, path: string): string => oneLine(masked(value, path));
  return changed.map(({ path, old, new: next }) => {
    const field = path === "" ? "(value)" : path;
    if (old === undefined) return `+ ${field}: ${next === undefined ? "" : shown(next, path)}`;
    return next === undefined
      ? `- ${field}: ${shown(old, path)}`
      : `~ ${field}: ${shown(old, path)} → ${shown(next, path)}`;
  });
}
