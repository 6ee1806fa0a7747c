export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = Readonly<Record<string, Json>>;

export interface JsonLimits {
  /** Nesting of arrays and objects. */
  readonly depth: number;
  /** Object keys in the whole document. */
  readonly keys: number;
}

/** SEC-41: what an answer of a receiver may hold. */
export const ANSWER_LIMITS: JsonLimits = { depth: 16, keys: 1000 };

const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype"]);

export type Decoded = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly reason: string };

const refuse = (reason: string): Decoded => ({ ok: false, reason });

/**
 * Text from outside → JSON value. Refused, before any schema sees them: nesting beyond the limit, too many keys, `__proto__`,
 * `constructor` and `prototype` as keys, a key given twice in one object, lone surrogates (SEC-44). Objects of the result have
 * no prototype. The scan is linear in the text.
 */
export function decodeJson(text: string, limits: JsonLimits): Decoded {
  if (!text.isWellFormed()) return refuse("lone surrogate");
  const shape = scan(text, limits);
  if (shape !== null) return refuse(shape);
  try {
    return { ok: true, value: JSON.parse(text, withoutPrototype) as Json };
  } catch {
    return refuse("not JSON");
  }
}

function withoutPrototype(_key: string, value: unknown): unknown {
  if (typeof value === "string" && !value.isWellFormed()) throw new SyntaxError("lone surrogate");
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.assign(Object.create(null) as Record<string, unknown>, value);
}

/** Looks at structure only, so that a deep document never reaches the recursive parser. Null where nothing is wrong. */
function scan(text: string, limits: JsonLimits): string | null {
  const objects: (Set<string> | null)[] = [];
  let keys = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i];
    if (c === '"') {
      const end = endOfString(text, i);
      if (end < 0) return "not JSON";
      const open = objects.at(-1);
      if (open && isKey(text, end)) {
        const key = unquote(text.slice(i, end));
        if (key === null) return "not JSON";
        if (FORBIDDEN_KEYS.has(key)) return `forbidden key`;
        if (open.has(key)) return "a key stands twice";
        open.add(key);
        keys += 1;
        if (keys > limits.keys) return `more than ${limits.keys} keys`;
      }
      i = end - 1;
    } else if (c === "{" || c === "[") {
      objects.push(c === "{" ? new Set() : null);
      if (objects.length > limits.depth) return `deeper than ${limits.depth}`;
    } else if (c === "}" || c === "]") {
      objects.pop();
    }
  }
  return null;
}

/** Index behind the closing quote, or -1. */
function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === '"') return i + 1;
  }
  return -1;
}

function isKey(text: string, from: number): boolean {
  for (let i = from; i < text.length; i += 1) {
    const c = text[i];
    if (c === ":") return true;
    if (c !== " " && c !== "\t" && c !== "\n" && c !== "\r") return false;
  }
  return false;
}

function unquote(quoted: string): string | null {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return null;
  }
}
