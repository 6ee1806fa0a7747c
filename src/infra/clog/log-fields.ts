import { TurnoutError } from "../../lib/errors.ts";
import { InfraError } from "../../lib/infra-error.ts";

/** Fields of a line, bounded: a hostile or huge value costs a line, never the log. */
export type LogFields = Readonly<Record<string, unknown>>;

const LONGEST_TEXT = 2048;
const DEEPEST = 4;
const MOST_ITEMS = 32;
const MOST_KEYS = 64;
const MASK = "[redacted]";

/** Names whose values are never written, in any case and at any depth. */
export const ALWAYS_REDACTED = [
  "authorization",
  "bearer",
  "cookie",
  "credentials",
  "password",
  "secret",
  "token",
] as const;

/**
 * SEC-58: controls, format characters (bidirectional, zero width, soft hyphen), line and paragraph separators, lone surrogates.
 * They could break a line apart, repaint a terminal or make a text read as another.
 */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** The text with every unsafe character written as `\u{1b}`, at most 2 KiB long. */
export function cleanText(text: string): string {
  return cut(cut(text).replaceAll(UNSAFE, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`));
}

const cut = (text: string): string => (text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT - 1)}…` : text);

/** A copy that is safe to serialise: cut, cleaned, masked; no getters, functions or cycles survive. */
export function cleanFields(fields: LogFields, redacted: ReadonlySet<string>): Record<string, unknown> {
  return cleanObject(fields, redacted, 1);
}

/** The cleaned fields without the frames of errors. */
export function withoutFrames(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([name, value]) => !(name === "stack" && typeof value === "string" && "message" in fields))
      .map(([name, value]) => [name, isPlain(value) ? withoutFrames(value) : value]),
  );
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function cleanObject(value: object, redacted: ReadonlySet<string>, depth: number): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value).slice(0, MOST_KEYS)) {
    if (item === undefined) continue;
    const name = cleanText(key).slice(0, 128);
    copy[name === "__proto__" ? "proto" : name] = redacted.has(key.toLowerCase())
      ? MASK
      : clean(item, redacted, depth + 1);
  }
  return copy;
}

function clean(value: unknown, redacted: ReadonlySet<string>, depth: number): unknown {
  switch (typeof value) {
    case "string":
      return cleanText(value);
    case "number":
    case "boolean":
      return value;
    case "bigint":
      return value.toString();
    case "object":
      break;
    default:
      return `[${typeof value}]`;
  }
  if (value === null) return null;
  if (value instanceof Error) return cleanError(value);
  if (depth > DEEPEST) return "[deeper]";
  if (Array.isArray(value)) return value.slice(0, MOST_ITEMS).map((item) => clean(item, redacted, depth + 1));
  return cleanObject(value, redacted, depth);
}

/**
 * Class, code and frames. The message only where it is ours or an engine's: parsers and vendor clients quote what they were
 * given (SEC-37).
 */
function cleanError(error: Error): Record<string, unknown> {
  const ours = error instanceof TurnoutError || error instanceof InfraError;
  const known = ours || error instanceof TypeError || error instanceof RangeError || error.constructor === Error;
  const code = ours ? error.code : "code" in error ? String(error.code) : undefined;
  const cause = error.cause instanceof Error ? error.cause.constructor.name : undefined;
  return {
    ...(error instanceof InfraError ? { component: cleanText(error.component) } : {}),
    ...(code === undefined ? {} : { code: cleanText(code) }),
    type: ours ? error.type : cleanText(error.constructor.name),
    message: known ? cleanText(error.message) : "",
    stack: cleanText(framesOf(error)),
    ...(cause === undefined ? {} : { cause: cleanText(cause) }),
  };
}

const framesOf = (error: Error): string =>
  (error.stack ?? "")
    .split("\n")
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim())
    .join("; ");
