import { formatPath } from "./paths.ts";
import { holdsSecret } from "../../infra/config/problems.ts";
import type { Json } from "../../lib/json.ts";

/** Controls, bidirectional and zero-width characters, lone surrogates: they could repaint a terminal or pass for other text. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Foreign text for a terminal (SEC-48): every unsafe character written as `\u{1b}`. */
export const escaped = (text: string): string =>
  text.replaceAll(UNSAFE, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);

/** A value on one line for a terminal. */
export const oneLine = (value: Json | undefined): string =>
  value === undefined ? "–" : escaped(JSON.stringify(value));

/** The value without what may be a secret. References to secrets stay: they say where one is, not what it is. */
export function masked(value: Json, path = ""): Json {
  if (Array.isArray(value)) return value.map((item: Json, i) => masked(item, `${path}[${i}]`));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, formatPath(path, key))]));
  }
  const plain = value === "None" || typeof value === "boolean" || value === null;
  return holdsSecret(path) && !plain && !isName(path, value) ? "(hidden)" : value;
}

/** What below `tls`, `password` and `credentials` is no secret: a server's name, and where a secret is read from. */
const isName = (path: string, value: Json): boolean =>
  path.endsWith(".serverName") ||
  (path.endsWith(".env") && typeof value === "string" && /^TURNOUT_SECRET_[A-Z0-9_]{1,64}$/.test(value)) ||
  (path.endsWith(".file") && typeof value === "string" && /^\/[^\0]{1,1023}$/.test(value));

const WIDEST = 100;

/** Prose for a terminal, broken between words; a word that is longer stays whole. */
export function wrapped(text: string): string {
  if (text.length <= WIDEST) return text;
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDEST) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(last === undefined ? word : `  ${word}`);
  }
  return lines.join("\n");
}

/** Columns as wide as they need to be, 100 in all: the last one is cut. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows.map((row) => row.map(escaped))];
  const widths = head.map((_title, i) => Math.max(...lines.map((line) => (line[i] ?? "").length)));
  return lines
    .map((line) => line.map((cell, i) => (i === line.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "))
    .map((line) => (line.length > WIDEST ? `${line.slice(0, WIDEST - 1)}…` : line.trimEnd()))
    .map((line) => `${line}\n`)
    .join("");
}

/** Fields below each other, as people write them down. */
export function tree(value: Json, indent = ""): string {
  if (typeof value !== "object" || value === null) return `${indent}${oneLine(value)}\n`;
  const entries = Array.isArray(value) ? value.map((item: Json) => ["-", item] as const) : Object.entries(value);
  if (entries.length === 0) return `${indent}${Array.isArray(value) ? "[]" : "{}"}\n`;
  return entries
    .map(([key, item]) => {
      const leaf = typeof item !== "object" || item === null || Object.keys(item).length === 0;
      const name = `${indent}${escaped(key)}`;
      return leaf ? `${name}: ${oneLine(item)}\n` : `${name}:\n${tree(item, `${indent}  `)}`;
    })
    .join("");
}
