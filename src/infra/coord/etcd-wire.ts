import type { Json, JsonObject } from "../../lib/json.ts";
import type { Change, KeyValue } from "./coord.ts";
import { coordError } from "./etcd-failures.ts";

// etcd's JSON gateway: bytes are base64, 64-bit numbers are texts, zero and false are left out.

export const encode = (text: string): string => Buffer.from(text, "utf8").toString("base64");

/** The end of the range that holds every key below the prefix: its last byte plus one. The prefix ends in `/`. */
export const endOf = (prefix: string): string => encode(`${prefix.slice(0, -1)}0`);

export function decode(base64: Json | undefined): { readonly text: string; readonly damaged: boolean } {
  const bytes = Buffer.from(textOf(base64), "base64");
  const text = bytes.toString("utf8");
  return { text, damaged: text.includes("\uFFFD") && !Buffer.from(text, "utf8").equals(bytes) };
}

/** @throws InfraError BadAnswer for what is no number that a double holds */
export function numberOf(value: Json | undefined, what: string): number {
  const number = value === undefined ? 0 : Number(value);
  if (!Number.isSafeInteger(number)) throw coordError("BadAnswer", what);
  return number;
}

export const objectOf = (value: Json | undefined): JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};

export const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");

export const listOf = (value: Json | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.map((item: Json) => objectOf(item)) : [];

export const revisionOf = (answer: JsonObject): number =>
  numberOf(objectOf(answer["header"])["revision"], "header.revision");

export function keyValueOf(kv: JsonObject): KeyValue {
  const { text: value, damaged } = decode(kv["value"]);
  return {
    key: decode(kv["key"]).text,
    value,
    revision: numberOf(kv["mod_revision"], "mod_revision"),
    version: numberOf(kv["version"], "version"),
    ...(damaged ? { damaged } : {}),
  };
}

export function changeOf(event: JsonObject): Change {
  const kv = objectOf(event["kv"]);
  return event["type"] === "DELETE"
    ? { kind: "delete", key: decode(kv["key"]).text, revision: numberOf(kv["mod_revision"], "mod_revision") }
    : { kind: "put", ...keyValueOf(kv) };
}

const KEY = /^(?:\/[^/\0]+)+$/;

/** @throws InfraError BadKey */
export function checkedKey(key: string): string {
  if (key.length > 1024 || !KEY.test(key) || !key.isWellFormed()) throw coordError("BadKey", JSON.stringify(key));
  return key;
}

/** A key, or the folder above keys. @throws InfraError BadKey */
export function checkedRange(range: string): string {
  if (range !== "/") checkedKey(range.endsWith("/") ? range.slice(0, -1) : range);
  return range;
}

/** `key` and `range_end` of a request about one key or a whole folder. */
export const rangeOf = (range: string): Readonly<Record<string, string>> =>
  range.endsWith("/") ? { key: encode(range), range_end: endOf(range) } : { key: encode(range) };
