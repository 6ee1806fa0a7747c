// planted: bugs that a tired engineer could write, as patches against src/, and the runner that demands that each is caught.
// Nothing here is run by `npm test` but the look at the patches' headers in test/traceability.test.ts.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** `Bnn-NAME.patch`: a header of `key: value` lines, an empty line, then a unified diff. */
export interface Planted {
  readonly id: string;
  readonly name: string;
  readonly file: string;
  /** Of docs/testing.md, where the bug belongs. */
  readonly tier: string;
  /** Invariant, requirement or cell that stands in the title of the test which turns red. */
  readonly expect: string;
  /** Arguments of vitest: the cheapest test that turns red. */
  readonly run: readonly string[];
}

export const PATCHES = import.meta.dirname;

const NAME = /^(B\d{2})-([a-z0-9-]+)\.patch$/;
const HEADER = /^tier: (T\d+)\nexpect: ([A-Z]+-?\d+)\nrun: vitest run (.+)\n\n(?=diff --git a\/src\/)/;

/** Every patch, by id. @throws Error for a file that is none */
export const plantedBugs = (): readonly Planted[] =>
  readdirSync(PATCHES)
    .filter((file) => file.endsWith(".patch"))
    .sort()
    .map((file) => parsePatch(join(PATCHES, file), readFileSync(join(PATCHES, file), "utf8")));

export function parsePatch(file: string, text: string): Planted {
  const [, id, name] = NAME.exec(basename(file)) ?? [];
  const [, tier, expect, run] = HEADER.exec(text) ?? [];
  if (id === undefined || name === undefined) throw new Error(`${basename(file)} is not called Bnn-NAME.patch`);
  if (tier === undefined || expect === undefined || run === undefined)
    throw new Error(`${basename(file)} does not begin with tier, expect, run, an empty line and a diff against src/`);
  return { id, name, file, tier, expect, run: words(run) };
}

/** As a shell would cut them; nothing is expanded. */
const words = (line: string): readonly string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
