import {
  componentOf,
  hasComponent,
  isComponent,
  COMPONENT_NAMES,
  type ComponentName,
} from "../../infra/config/components.ts";
import { mergeLayers } from "../../infra/config/layers.ts";
import { GLOBAL, type Layer, isLayer, LAYERS } from "../../infra/config/services.ts";
import { templateOf } from "../../infra/config/template.ts";
import { formatFileProblem, readKeyFile } from "../../infra/config/tree.ts";
import type { Json } from "../../lib/json.ts";
import type { Context } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";

/** `template COMPONENT`: a commented file; with --env and --service it holds what the files say for that service. */
export async function template(
  context: Context,
  name: string,
  { service, files }: { readonly service?: string | undefined; readonly files: string },
): Promise<number> {
  if (!isComponent(name))
    throw new CliFailure(
      EXIT.usage,
      `${JSON.stringify(name)} is no component; there are ${COMPONENT_NAMES.join(", ")}`,
    );
  if (service === undefined) {
    context.seams.out(templateOf(name));
    return EXIT.done;
  }
  if (!isLayer(service))
    throw new CliFailure(EXIT.usage, `${JSON.stringify(service)} is no service; there are ${LAYERS.join(", ")}`);
  if (!hasComponent(service, name))
    throw new CliFailure(EXIT.usage, `${service} has no ${name}; ${componentOf(name).services.join(", ")} have`);
  context.seams.out(templateOf(name, await valuesOf(context, { layer: service, component: name, files })));
  return EXIT.done;
}

interface Asked {
  readonly layer: Layer;
  readonly component: ComponentName;
  readonly files: string;
}

async function valuesOf({ env = "dev" }: Context, { layer, component, files }: Asked): Promise<Json> {
  const layers: Record<string, Json> = {};
  for (const one of [GLOBAL, layer] as const) {
    const read = await readKeyFile(files, { env, layer: one, component });
    if (read === null) continue;
    if (!("document" in read)) throw new CliFailure(EXIT.found, formatFileProblem(read));
    layers[one === GLOBAL ? "file global" : "file service"] = read.document.value;
  }
  return mergeLayers(componentOf(component).schema, layers).value;
}
