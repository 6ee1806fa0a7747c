import { describe, expect, test } from "vitest";
import type { History } from "./build.ts";
import { CHECKERS } from "./check-all.ts";
import type { Recording } from "./recording.ts";

export type Row = readonly [id: string, what: string, history: History | Recording];

const recordingOf = (row: History | Recording): Recording => ("recording" in row ? row.recording() : row);

/** T22 for one checker: it finds every bad history under its id and nothing in the good ones; each id has five bad and one good at least. */
export function proves(
  name: string,
  rows: { readonly ids: readonly string[]; readonly good: readonly Row[]; readonly bad: readonly Row[] },
): void {
  const checker = CHECKERS[name];
  const found = (row: History | Recording): readonly string[] => [
    ...new Set(
      (checker?.(recordingOf(row)) ?? ["no such checker"]).map((one) => (typeof one === "string" ? one : one.id)),
    ),
  ];
  describe(`checker ${name}`, () => {
    test.each(rows.good)("[T22] [%s] nothing is wrong with: %s", (_id, _what, history) => {
      expect(checker?.(recordingOf(history))).toEqual([]);
    });
    test.each(rows.bad)("[T22] [%s] seen: %s", (id, _what, history) => {
      expect(found(history)).toContain(id);
    });
    test.each(rows.ids)("[T22] [%s] has five bad histories and a good one at least", (id) => {
      expect(rows.bad.filter(([own]) => own === id).length).toBeGreaterThanOrEqual(5);
      expect(rows.good.filter(([own]) => own === id).length).toBeGreaterThanOrEqual(1);
    });
  });
}
