import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { INVARIANTS } from "../../src/api/invariants.ts";
import { stateMachineReference } from "../../src/api/state-machine-reference.ts";
import { PHASES, STAGE_STATES, TRANSITIONS } from "../../src/domain/phase.ts";
import { WAITING_REASONS } from "../../src/domain/reasons.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const TEXT = stateMachineReference();

describe("docs/state-machine.md", () => {
  test("[R24] draws every arrow of the table, and no other", () => {
    const drawn = TEXT.split("\n").filter((line) => line.startsWith("  "));
    const arrows = PHASES.flatMap((from) => TRANSITIONS[from].map((to) => `  ${from} --> ${to}`));
    expect(drawn).toEqual(["  [*] --> Created", ...arrows]);
  });

  test("has a row for every phase, stage state and reason to wait", () => {
    for (const name of [...PHASES, ...STAGE_STATES, ...WAITING_REASONS]) expect(TEXT).toMatch(`\n| ${name} | `);
  });

  test("[S2] shows the undo of protocol.md's example", () => {
    expect(TEXT).toContain(
      "| write, notify, verify, patch | patch/write, write/write, notify/announce, verify/verify |",
    );
  });

  test("[T11] lists S1 to S32, each once", () => {
    expect(INVARIANTS.map(({ id }) => id)).toEqual(Array.from({ length: 32 }, (_, i) => `S${i + 1}`));
  });

  test.each(INVARIANTS.flatMap(({ id, tests }) => tests.map((one) => ({ id, ...one }))))(
    "$file holds what it is named for: $id",
    ({ file, id }) => {
      expect(existsSync(join(ROOT, file))).toBe(true);
      expect(readFileSync(join(ROOT, file), "utf8")).toContain(`[${id}]`);
    },
  );

  test("what no test holds says why", () => {
    const bare = INVARIANTS.filter(({ tests }) => tests.length === 0);
    for (const { says } of bare) expect(says).toContain("this release");
  });
});
