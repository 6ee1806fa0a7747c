import { differences } from "../../infra/config/changed-paths.ts";
import { componentOf, isReloadable } from "../../infra/config/components.ts";
import { type ConfigKey, formatKey } from "../../infra/config/config-key.ts";
import { checkLayers } from "../../infra/config/check-layers.ts";
import { defaultsOf } from "../../infra/config/field-docs.ts";
import { type LayerName, mergeLayers, mergePatch } from "../../infra/config/layers.ts";
import { formatProblem } from "../../infra/config/problems.ts";
import { GLOBAL } from "../../infra/config/services.ts";
import { formatFileProblem, readKeyFile } from "../../infra/config/tree.ts";
import type { Json } from "../../lib/json.ts";
import { valueOf } from "./edit.ts";
import { type Context, outJson, talkLine } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { masked, oneLine, table } from "./show.ts";

/** The value that a service would have, and the layer that each field came from. */
export async function explain(context: Context, key: ConfigKey, files: string): Promise<number> {
  const { component } = key;
  const layers: Partial<Record<LayerName, Json>> = {};
  const centre = await context.centre();
  for (const layer of [GLOBAL, key.layer] as const) {
    const at = { ...key, layer };
    const word = layer === GLOBAL ? "global" : "service";
    const read = await readKeyFile(files, at);
    if (read !== null && !("document" in read)) throw new CliFailure(EXIT.found, formatFileProblem(read));
    if (read !== null) layers[`file ${word}`] = read.document.value;
    const value = valueOf(at, await centre.get(formatKey(at), context.seams.signal));
    if (value !== undefined) layers[`centre ${word}`] = value;
  }
  const { schema } = componentOf(component);
  const merged = mergeLayers(schema, layers);
  const whole = mergePatch(schema, defaultsOf(schema), merged.value);
  const rows = differences(undefined, masked(whole)).map(({ path, new: value }) => ({
    path,
    value: value ?? null,
    layer: merged.originOf(path) ?? "default",
    reloadable: isReloadable(component, path),
  }));
  const checked = checkLayers(component, layers);
  if (context.output === "json") outJson(context, rows);
  else {
    const cells = rows.map((row) => [row.path, row.layer, row.reloadable ? "live" : "restart", oneLine(row.value)]);
    context.seams.out(table(["FIELD", "FROM", "CHANGES", "VALUE"], cells));
  }
  if (checked.ok) return EXIT.done;
  for (const problem of checked.problems)
    talkLine(context, `${problem.layer ?? formatKey(key)}: ${formatProblem(problem)}`);
  return EXIT.found;
}
