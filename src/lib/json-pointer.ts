import type { Json } from "./json.ts";

/** SEC-33: deepest pointer that is followed into an answer. */
const DEEPEST = 16;

/** RFC 6901 text → tokens; null where it is not a pointer or deeper than 16. The empty text points at the whole. */
export function parsePointer(text: string): readonly string[] | null {
  if (text === "") return [];
  if (!text.startsWith("/") || /~(?![01])/.test(text)) return null;
  const tokens = text
    .slice(1)
    .split("/")
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
  return tokens.length > DEEPEST ? null : tokens;
}

/** The value at the pointer, through own properties only; undefined where there is none or the pointer is not one. */
export function at(document: Json, pointer: string): Json | undefined {
  const tokens = parsePointer(pointer);
  if (tokens === null) return undefined;
  let here: Json | undefined = document;
  for (const token of tokens) {
    if (typeof here !== "object" || here === null) return undefined;
    if (Array.isArray(here) && !/^(?:0|[1-9]\d{0,5})$/.test(token)) return undefined;
    if (!Object.hasOwn(here, token)) return undefined;
    here = (here as Readonly<Record<string, Json>>)[token];
  }
  return here;
}
