import type { Json } from "../lib/json.ts";

/**
 * Value of a variable by its dotted name. `later`: it exists but is known only when the stage is claimed; `unfit`: it exists but may
 * not stand here; `unknown`: there is no such variable.
 */
export type Lookup = (name: string) => Variable;
export type Variable =
  | { readonly is: "value"; readonly value: Json }
  | { readonly is: "later" }
  | { readonly is: "unfit" | "unknown"; readonly why: string };

export interface Rendered {
  readonly value: Json;
  /** One sentence per placeholder that could not be filled. */
  readonly problems: readonly string[];
}

const PLACEHOLDER = /\$\{([^{}]{0,200})\}/g;
const WHOLE = /^\$\{([^{}]{0,200})\}$/;
const NAME = /^[A-Za-z][\w-]*(?:\.[\w-]+){0,15}$/;

/** How a value enters text: as it is, or percent-encoded for a URL path or query. */
type Encode = (text: string) => string;
const asIs: Encode = (text) => text;

/**
 * Fills `${name}` in every string of `value`. A string that is one placeholder takes the value with its JSON type; mixed strings are
 * concatenated. Values are inserted as values, never parsed again. No expressions.
 */
export function render(value: Json, lookup: Lookup, encode: Encode = asIs): Rendered {
  const problems: string[] = [];
  return { value: fill(value, { lookup, encode, problems }), problems };
}

/** As {@link render}, for URL paths and queries: every inserted value is percent-encoded, so it cannot add a segment. */
export const renderPath = (text: string, lookup: Lookup): Rendered => render(text, lookup, encodeSegment);

/** `.` and `..` survive encodeURIComponent, and a lone surrogate makes it throw. */
function encodeSegment(text: string): string {
  const encoded = encodeURIComponent(text.toWellFormed());
  return /^\.{1,2}$/.test(encoded) ? encoded.replaceAll(".", "%2E") : encoded;
}

interface Pass {
  readonly lookup: Lookup;
  readonly encode: Encode;
  readonly problems: string[];
}

function fill(value: Json, pass: Pass): Json {
  if (typeof value === "string") return fillText(value, pass);
  if (Array.isArray(value)) return value.map((item: Json) => fill(item, pass));
  if (typeof value !== "object" || value === null) return value;
  // Not by assignment: `__proto__` is a key like any other.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillEntry(key, item, pass)]));
}

function fillEntry(key: string, item: Json, pass: Pass): Json {
  if (key.includes("${")) pass.problems.push(`a variable cannot stand in the key ${key}`);
  return fill(item, pass);
}

function fillText(text: string, pass: Pass): Json {
  const whole = WHOLE.exec(text)?.[1];
  if (whole !== undefined && pass.encode === asIs) return valueOf(whole, pass);
  const filled = text.replaceAll(PLACEHOLDER, (_placeholder, name: string) => {
    const value = valueOf(name, pass);
    if (typeof value !== "object" || value === null) return pass.encode(String(value ?? ""));
    pass.problems.push(`\${${name}} is a list or map and cannot stand inside text`);
    return "";
  });
  return filled;
}

function valueOf(name: string, pass: Pass): Json {
  const variable: Variable = NAME.test(name) ? pass.lookup(name) : { is: "unknown", why: "not a variable name" };
  if (variable.is === "value") return variable.value;
  if (variable.is !== "later") pass.problems.push(`\${${name}}: ${variable.why}`);
  return "";
}
