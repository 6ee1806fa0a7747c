import type { Previous } from "../domain/stored.ts";
import type { Fields } from "./wire.ts";
import { filled, some } from "./wire.ts";

/** A placement as status keeps it; `default: false` and empty lists are left out. */
export const placementTo = ({ deployUnit, endpoints, parameters, planVersion, task, ...rest }: Previous): Fields =>
  Object.fromEntries(
    Object.entries({
      deployUnit,
      endpoints: some(endpoints),
      parameters: filled(parameters),
      default: rest.default ? true : undefined,
      planVersion,
      task: task ?? undefined,
    }).filter(([, value]) => value !== undefined),
  );
