import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A row of a table that begins with an id. */
export interface DocRow {
  readonly id: string;
  readonly page: string;
  /** Cells after the id. */
  readonly cells: readonly string[];
  /** What it comes with; null: it holds now. */
  readonly due: string | null;
}

const DOCS = join(import.meta.dirname, "..", "..", "docs");
const ID = /^(?:(?:SEC-|[SLTBRF])\d+|[a-z-]+\/[a-z]+)$/;

/** Rows of `docs/PAGE` whose first cell is an id, in order. */
export const rowsOf = (page: string): readonly DocRow[] => rowsIn(page, readFileSync(join(DOCS, page), "utf8"));

export function rowsIn(page: string, text: string): readonly DocRow[] {
  return text.split("\n").flatMap((line) => {
    if (!line.startsWith("| ")) return [];
    const [id = "", ...cells] = line
      .slice(2)
      .replace(/ \|$/, "")
      .split(" | ")
      .map((cell) => cell.trim());
    if (!ID.test(id)) return [];
    return [{ id, page, cells, due: /^due: (.+)$/.exec(cells.at(-1) ?? "")?.[1] ?? null }];
  });
}
