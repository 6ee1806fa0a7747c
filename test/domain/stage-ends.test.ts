import { describe, expect, test } from "vitest";
import { stageEnds } from "../../src/domain/stage-ends.ts";
import { announcements } from "../../src/domain/announcements.ts";
import { enter } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import { type About, aSpec, aTask, at, NOON } from "../support/build.ts";

const of = (about: About): Status => aTask(about).status;
const ends = (before: Status | null, after: Status): readonly string[] =>
  stageEnds(before, after).map(({ entry, as, attempts, took }) => `${entry.name} ${as} ${attempts} ${took}`);

const BACK = { direction: "Back", turnedBackBy: "Failure" } as const;
const running = of({ stages: { route: "Completed", notify: "Running" } });

describe("a stage ends", () => {
  test("once, with the write that settles it", () => {
    const after = of({ stages: { route: "Completed", notify: "Completed" } });
    expect(ends(running, after)).toEqual(["notify Completed 1 1000"]);
    expect(ends(after, after)).toEqual([]);
    expect(ends(null, after)).toEqual(["route Completed 1 1000", "notify Completed 1 1000"]);
  });

  test("Skipped without a start took no time", () => {
    const skipped = { state: "Skipped", attempts: 0, startedAt: null, finishedAt: at(1) } as const;
    expect(ends(null, of({ stages: { route: skipped } }))).toEqual(["route Skipped 0 null"]);
  });

  test("of an undo only the last part's attempts count", () => {
    const before = of({ phase: "RollingBack", stages: { route: "RollingBack" } });
    const undone = { state: "RolledBack", attempts: 4, attemptsBefore: 3, finishedAt: at(3) } as const;
    expect(ends(before, of({ phase: "RollingBack", stages: { route: undone } }))).toEqual(["route RolledBack 1 3000"]);
  });
});

describe("[R48] settled and turned back in one write", () => {
  const turned = {
    state: "RollingBack",
    attempts: 3,
    attemptsBefore: 2,
    since: at(2),
    finishedAt: null,
    outputs: null,
  } as const;
  const before = of({ stages: { route: "Running" } });

  test("a stage that failed ended as Failed, with the attempts of its way forward, and is announced", () => {
    const failure = {
      type: "Rejected",
      code: "HttpRejected",
      stage: "route",
      message: "no",
      retryable: false,
      at: at(2),
    };
    const failed = of({
      phase: "RollingBack",
      stages: { route: turned },
      status: { ...BACK, failure } as Partial<Status>,
    });
    expect(ends(before, failed)).toEqual(["route Failed 2 2000"]);
    const moved = enter({ ...before, eventSequence: 7 }, "Failed", "StageFailed", NOON);
    const made = announcements(
      { ...before, eventSequence: 7 },
      { ...failed, history: moved.history },
      {
        spec: aSpec(),
        manager: null,
        sides: { undone: [], ahead: ["route"] },
      },
    );
    expect(made.map(({ reason, note }) => `${reason}: ${note}`)).toEqual([
      "StageFailed: stage route Failed, attempts 2 in 2s: no",
      "Failed: completed none; failed route: no",
    ]);
  });

  test("a stage that was done when its task was told to go back ended as Completed", () => {
    const done = of({ phase: "RollingBack", stages: { route: { ...turned, outputs: {} } } });
    expect(ends(before, done)).toEqual(["route Completed 2 2000"]);
  });

  test("one that nobody knows the end of has none", () => {
    expect(ends(before, of({ phase: "RollingBack", stages: { route: turned } }))).toEqual([]);
    const other = { failure: { stage: "notify" } } as Partial<Status>;
    expect(
      ends(before, of({ phase: "RollingBack", stages: { route: turned }, status: { ...BACK, ...other } })),
    ).toEqual([]);
  });

  test("what was settled before and is turned back now ended before", () => {
    const settled = of({ stages: { route: "Completed" } });
    expect(ends(settled, of({ phase: "RollingBack", stages: { route: { ...turned, outputs: {} } } }))).toEqual([]);
    expect(ends(null, of({ phase: "RollingBack", stages: { route: { ...turned, outputs: {} } } }))).toEqual([]);
  });
});
