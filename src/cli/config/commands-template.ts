import { componentOf, type ComponentName, hasComponent } from "../../infra/config/components.ts";
import { mergeLayers } from "../../infra/config/layers.ts";
import { GLOBAL, type Layer } from "../../infra/config/services.ts";
import { templateOf } from "../../infra/config/template.ts";
import { formatFileProblem, readKeyFile } from "../../infra/config/tree.ts";
import type { Json } from "../../lib/json.ts";
import type { Context } from "./context.ts";
import { CliFailure, EXIT } from "./failure.ts";
import { componentNameOf, layerOf } from "./key-argument.ts";

/** `template COMPONENT`: a commented file; with --env and --service it holds what the files say for that service. */
export async function template(
  context: Context,
  name: string,
  { service, files }: { readonly service?: string | undefined; readonly files: string },
): Promise<number> {
  const component = componentNameOf(name);
  if (service === undefined) {
    context.seams.out(templateOf(component));
    return EXIT.done;
  }
  const layer = layerOf(service);
  if (!hasComponent(layer, component)) {
    const owners = componentOf(component).services.join(", ");
    throw new CliFailure(EXIT.usage, `${layer} has no ${component}; it belongs to ${owners}`);
  }
  context.seams.out(templateOf(component, await valuesOf(context, { layer, component, files })));
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
