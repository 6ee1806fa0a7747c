import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { play, stories } from "../support/arbitrary-runs.ts";
import { wrongWith } from "../support/run-checks.ts";
import { cases } from "../support/seed.ts";

describe("any run: commands, crashes, lost answers, doubled and late messages, settings without an endpoint", () => {
  test(
    "[S1] [S2] [S3] [S4] [S5] [S6] [S8] [S10] [S11] [S12] [S20] [S21] [S25] [S26] [S27] hold",
    { timeout: 60_000 },
    () => {
      fc.assert(
        fc.property(stories(), (story) => {
          expect(wrongWith(play(story))).toEqual([]);
        }),
        cases(600),
      );
    },
  );
});
