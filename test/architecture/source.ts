import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "..", "..");

export interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string;
  readonly text: string;
  /** `text` with comments and the content of strings blanked out: what the rules about code look at. */
  readonly code: string;
  readonly lines: number;
  /** Imports of files of ours, from the root; type-only ones included. */
  readonly imports: readonly Import[];
  /** Packages and node built-ins. */
  readonly packages: readonly string[];
}
export interface Import {
  readonly path: string;
  readonly typeOnly: boolean;
  readonly names: readonly string[];
}

export function sourcesIn(folder: string): readonly SourceFile[] {
  const found = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  return found.sort().map(readSource);
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:([\w*\s{},$]+?)\s+from\s+)?["']([^"']+)["']/g;

function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  const found = [...text.matchAll(IMPORT)].map(([, type, names = "", from = ""]) => ({
    typeOnly: isTypeOnly(type, names),
    names: namesIn(names),
    from,
  }));
  return {
    path,
    text,
    code: codeOf(text),
    lines: text.split("\n").length - 1,
    imports: found
      .filter(({ from }) => from.startsWith("."))
      .map(({ from, ...rest }) => ({ ...rest, path: relative(ROOT, resolve(ROOT, dirname(path), from)) })),
    packages: found.filter(({ from }) => !from.startsWith(".")).map(({ from }) => from),
  };
}

const namesIn = (clause: string): readonly string[] =>
  clause
    .replaceAll(/[{}]/g, "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");

const isTypeOnly = (type: string | undefined, clause: string): boolean =>
  type !== undefined || (clause.trim().startsWith("{") && namesIn(clause).every((name) => name.startsWith("type ")));

/** Comments and string contents become blanks; what stands in `${…}` of a template stays. Line numbers stay. */
export function codeOf(text: string): string {
  const parts = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g;
  return text.replaceAll(parts, (part) => part.replaceAll(/[^\n]/g, " "));
}
