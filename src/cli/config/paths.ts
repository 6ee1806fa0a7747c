import type { Json, JsonObject } from "../../lib/json.ts";

export const formatPath = (path: string, key: string): string => (path === "" ? key : `${path}.${key}`);

/** The value without the field of a path such as `retry.maxRetries`; null where there is no such field. */
export function without(value: Json, path: string): Json | null {
  const [key = "", ...rest] = path.split(".");
  if (!isObject(value) || !Object.hasOwn(value, key)) return null;
  const { [key]: inner = null, ...others } = value;
  if (rest.length === 0) return others;
  const left = without(inner, rest.join("."));
  return left === null ? null : { ...value, [key]: left };
}

const isObject = (value: Json): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
