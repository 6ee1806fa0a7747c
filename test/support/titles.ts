import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** An id at the head of a test's title, or of a row from which titles are made. */
export interface Titled {
  /** `S8`, `SEC-41`, `redis/lost`: as docs/testing.md and docs/security.md list it. */
  readonly id: string;
  /** Folder of `test/`, or the file where it stands in none. */
  readonly folder: string;
  readonly title: string;
}

const TESTS = join(import.meta.dirname, "..");
/** Comments, then strings of the three kinds. */
const TOKENS = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g;
const HEAD = /^(?:◆ )?((?:\[[^\]\s]+\] ?)+)\S/;
const ID = /\[((?:SEC-|[A-Z])\d+|[a-z-]+\/[a-z]+)\]/gi;
/** Rows of the histories begin with the bare id; `proves` of this file makes titles of them. */
const HISTORY = "history/";
const ROW = /^[SL]\d+$/;

/** Every id in a title, over all test files. A title is a string that begins with ids in brackets; nothing is run. */
export function titledTests(): readonly Titled[] {
  return readdirSync(TESTS, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(TESTS, join(entry.parentPath, entry.name)))
    .filter((file) => file.endsWith(".test.ts") || file === `${HISTORY}table.ts`)
    .sort()
    .flatMap((file) => titledIn(file, readFileSync(join(TESTS, file), "utf8")));
}

export function titledIn(file: string, text: string): readonly Titled[] {
  const folder = file.split("/")[0] ?? file;
  const strings = (text.match(TOKENS) ?? [])
    .filter((token) => !token.startsWith("/"))
    .map((token) => token.slice(1, -1));
  return strings.flatMap((title) => idsOf(file, title).map((id) => ({ id, folder, title })));
}

function idsOf(file: string, title: string): readonly string[] {
  if (file.startsWith(HISTORY) && ROW.test(title)) return [title];
  const head = HEAD.exec(title)?.[1] ?? "";
  return [...head.matchAll(ID)].map(([, id = ""]) => (id.includes("/") ? id.toLowerCase() : id));
}
