import type { Json, JsonLimits } from "../../lib/json.ts";

/** Both count from 1; columns count UTF-16 units, as editors do. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface JsonDocument {
  readonly value: Json;
  /** Where the field of a path such as `retry.maxRetries` or `[2].name` begins; the nearest one above it where there is none. */
  placeOf(path: string): Place;
}

export type ReadJson =
  | { readonly ok: true; readonly document: JsonDocument }
  | { readonly ok: false; readonly reason: string; readonly place: Place };

/** What a file or a value of the centre may hold; etcd itself takes 1.5 MiB. */
export const DOCUMENT_LIMITS: JsonLimits & { readonly bytes: number } = { depth: 12, keys: 50_000, bytes: 1024 * 1024 };

const START: Place = { line: 1, column: 1 };
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

class Refused extends Error {
  readonly at: number;
  constructor(reason: string, at: number) {
    super(reason);
    this.at = at;
  }
}

/**
 * JSON, or JSON with comments, that remembers where each field stands. Refused with the place: what is no UTF-8, no JSON, too
 * large or too deep; keys that stand twice or reach prototypes (SEC-44). No reason quotes a value. Objects have no prototype.
 */
export function readJson(source: Uint8Array | string): ReadJson {
  const size = typeof source === "string" ? Buffer.byteLength(source) : source.byteLength;
  const most = DOCUMENT_LIMITS.bytes;
  if (size > most) return { ok: false, reason: `has ${size} bytes, more than ${most}`, place: START };
  const text = typeof source === "string" ? source : new TextDecoder("utf-8").decode(source);
  try {
    refuseBrokenText(source, text);
    const reader = new Reader(text);
    const value = reader.document();
    return { ok: true, document: { value, placeOf: (path) => placeAt(text, reader.offsetOf(path)) } };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { ok: false, reason: error.message, place: placeAt(text, error.at) };
  }
}

function refuseBrokenText(source: Uint8Array | string, text: string): void {
  if (typeof source === "string") {
    if (text.isWellFormed()) return;
    throw new Refused("has half a surrogate pair", firstDifference(text, text.toWellFormed()));
  }
  const again = new TextEncoder().encode(text);
  const mark = source[0] === 0xef && source[1] === 0xbb && source[2] === 0xbf ? 3 : 0;
  const broken = again.findIndex((byte, i) => byte !== source[i + mark]);
  if (broken < 0 && again.length === source.length - mark) return;
  const before = new TextDecoder("utf-8").decode(source.subarray(0, broken + mark));
  throw new Refused("is not UTF-8", before.length);
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return at;
}

function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - start + 1 };
}

/** Where a value, or the key before it, begins, and the same for what is inside. */
interface Spot {
  readonly at: number;
  readonly inner: Map<string, Spot>;
}

/** The spot of the path, else of the nearest one above it. A key may itself hold dots. */
function spotAt(spot: Spot, path: string): Spot {
  for (const [step, inner] of spot.inner) {
    const rest = path.startsWith(step) ? path.slice(step.length) : "?";
    if (/^(?:$|[.[])/.test(rest)) return spotAt(inner, rest.startsWith(".") ? rest.slice(1) : rest);
  }
  return spot;
}

/** One pass; recursion is bounded by the depth. */
class Reader {
  readonly #text: string;
  #root: Spot = { at: 0, inner: new Map() };
  #at = 0;
  #keys = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    this.#skip();
    this.#root = { at: this.#at, inner: new Map() };
    const value = this.#value(this.#root, 1);
    this.#skip();
    if (this.#at < this.#text.length) throw this.#refusal("expected nothing more after the document");
    return value;
  }

  offsetOf(path: string): number {
    return spotAt(this.#root, path).at;
  }

  #value(spot: Spot, depth: number): Json {
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(spot, this.#inside(depth));
      case "[":
        return this.#array(spot, this.#inside(depth));
      case '"':
        return this.#string();
      default:
        return this.#word();
    }
  }

  #inside(depth: number): number {
    if (depth > DOCUMENT_LIMITS.depth) throw this.#refusal(`is deeper than ${DOCUMENT_LIMITS.depth}`);
    this.#at += 1;
    this.#skip();
    return depth + 1;
  }

  #object(spot: Spot, depth: number): Json {
    const value = Object.create(null) as Record<string, Json>;
    if (this.#take("}")) return value;
    do {
      this.#skip();
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#refusal('expected a key in "…"');
      const key = this.#string();
      this.#admit(key, value, start);
      const inner = { at: start, inner: new Map<string, Spot>() };
      spot.inner.set(key, inner);
      this.#skip();
      if (!this.#take(":")) throw this.#refusal('expected ":" after the key');
      this.#skip();
      value[key] = this.#value(inner, depth);
      this.#skip();
    } while (this.#take(","));
    if (!this.#take("}")) throw this.#refusal('expected "," or "}"');
    return value;
  }

  #admit(key: string, holder: Readonly<Record<string, Json>>, at: number): void {
    if (FORBIDDEN_KEYS.has(key)) throw new Refused(`key ${key} is forbidden`, at);
    if (Object.hasOwn(holder, key)) throw new Refused(`key ${JSON.stringify(key.slice(0, 64))} stands twice`, at);
    this.#keys += 1;
    if (this.#keys > DOCUMENT_LIMITS.keys) throw new Refused(`has more than ${DOCUMENT_LIMITS.keys} keys`, at);
  }

  #array(spot: Spot, depth: number): Json {
    const items: Json[] = [];
    if (this.#take("]")) return items;
    do {
      this.#skip();
      const inner = { at: this.#at, inner: new Map<string, Spot>() };
      spot.inner.set(`[${items.length}]`, inner);
      items.push(this.#value(inner, depth));
      this.#skip();
    } while (this.#take(","));
    if (!this.#take("]")) throw this.#refusal('expected "," or "]"');
    return items;
  }

  #string(): string {
    const start = this.#at;
    let end = start + 1;
    while (end < this.#text.length && this.#text[end] !== '"') end += this.#text[end] === "\\" ? 2 : 1;
    const value = decode(this.#text.slice(start, end + 1));
    if (typeof value !== "string")
      throw new Refused("a text is not closed or has a character that must be escaped", start);
    if (!value.isWellFormed()) throw new Refused("a text has half a surrogate pair", start);
    this.#at = end + 1;
    return value;
  }

  /** A number, true, false or null. */
  #word(): Json {
    const word = /[^\s,:[\]{}"/]*/y;
    word.lastIndex = this.#at;
    const text = word.exec(this.#text)?.[0] ?? "";
    const value = text === "" ? undefined : decode(text);
    if (value === undefined) throw this.#refusal("expected a value");
    if (typeof value === "number" && !Number.isFinite(value)) throw this.#refusal("a number is too large");
    this.#at += text.length;
    return value;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  /** Blanks and comments. */
  #skip(): void {
    const blank = /[ \t\r\n]*(?:\/\/[^\n]*|\/\*[^]*?\*\/)?/y;
    for (;;) {
      blank.lastIndex = this.#at;
      const found = blank.exec(this.#text)?.[0].length ?? 0;
      if (found === 0) return;
      this.#at += found;
    }
  }

  #refusal(reason: string): Refused {
    return new Refused(this.#at >= this.#text.length ? `${reason}, but the text ends` : reason, this.#at);
  }
}

function decode(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
