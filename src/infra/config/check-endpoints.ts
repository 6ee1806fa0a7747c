import type { Json, JsonObject } from "../../lib/json.ts";
import { ENDPOINTS, isProtocol } from "./endpoint-settings.ts";
import { misses, type Problem, problemsOf } from "./problems.ts";

/** What is wrong with `turnout/endpoints`: each endpoint against the schema of its own protocol, so that no other one's fields are asked for. */
export function endpointProblems(raw: Json | undefined): readonly Problem[] {
  if (!Array.isArray(raw)) return [misses("endpoints", raw, "a list of endpoints")];
  return raw.flatMap((item: Json, index) => {
    const path = `endpoints[${index}]`;
    const protocol = isObject(item) ? item["protocol"] : undefined;
    if (!isProtocol(protocol)) return [misses(`${path}.protocol`, protocol, Object.keys(ENDPOINTS).join(", "))];
    const schema = ENDPOINTS[protocol];
    const result = schema.safeParse(item);
    return result.success ? [] : problemsOf(result.error, { path, raw: item, schema });
  });
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
