import { describe, expect, test } from "vitest";

import { changedFiles } from "../../deployment/testing/generated.ts";
import { chosenLayers, LAYER_NAMES, POLICY_COVERED } from "../../deployment/testing/layers.ts";
import { isGreen, lastLine, summaryOf } from "../../deployment/testing/summary.ts";
import { tallyOf } from "../../deployment/testing/vitest-report.ts";
import { millisOf } from "../../src/lib/time.ts";

const file = (status: string, ...tests: readonly string[]) => ({
  status,
  assertionResults: tests.map((status) => ({ status })),
});

function report(change: Readonly<Record<string, unknown>> = {}): string {
  const green = {
    success: true,
    numPassedTests: 3,
    numFailedTests: 0,
    numPendingTests: 0,
    testResults: [file("passed", "passed")],
  };
  return JSON.stringify({ ...green, ...change });
}

describe("the counts of one vitest run", () => {
  const ROWS = [
    ["passed tests count", report(), 0, { passed: 3, failed: 0, skipped: 0 }],
    ["skipped ones are told", report({ numPendingTests: 2 }), 0, { passed: 3, failed: 0, skipped: 2 }],
    [
      "failed tests count",
      report({ success: false, numFailedTests: 2, testResults: [file("failed", "failed", "failed")] }),
      1,
      { passed: 3, failed: 2, skipped: 0 },
    ],
    [
      "a file that could not be loaded is a failure",
      report({ success: false, testResults: [file("failed")] }),
      1,
      { passed: 3, failed: 1, skipped: 0 },
    ],
    ["an exit code that no test explains is a failure", report(), 1, { passed: 3, failed: 1, skipped: 0 }],
    ["a run killed by a signal is a failure", report(), null, { passed: 3, failed: 1, skipped: 0 }],
    [
      "no test at all is a failure",
      report({ numPassedTests: 0, testResults: [] }),
      0,
      { passed: 0, failed: 1, skipped: 0 },
    ],
    ["no report is a failure", null, 0, { passed: 0, failed: 1, skipped: 0 }],
    ["half a report is a failure", report().slice(0, 20), 0, { passed: 0, failed: 1, skipped: 0 }],
  ] as const;
  test("no row is lost", () => expect(ROWS).toHaveLength(9));
  test.each(ROWS)("%s", (_rule, text, exitCode, tally) => expect(tallyOf(text, exitCode)).toEqual(tally));
});

describe("the end of npm test", () => {
  const passed = { name: "unit", passed: 12, failed: 0, skipped: 1, took: millisOf(1234) };
  const failed = { name: "servers", passed: 3, failed: 2, skipped: 0, took: millisOf(61_000) };

  test("shows each layer with its time and ends with the line that counts", () => {
    expect(summaryOf([passed, failed])).toEqual([
      "",
      "layer             passed    failed   skipped      time",
      "unit                  12         0         1   1s200ms",
      "servers                3         2         0      1m1s",
      "",
      "15 passed, 2 failed",
    ]);
  });
  test("one failed test makes it red", () => expect(isGreen([passed, failed])).toBe(false));
  test("all passed makes it green", () => expect(isGreen([passed])).toBe(true));
  test("nothing done is red", () => {
    expect(isGreen([])).toBe(false);
    expect(lastLine([])).toBe("0 passed, 1 failed");
  });
});

describe("the layers of npm test", () => {
  const names = (asked: Parameters<typeof chosenLayers>[0]) => chosenLayers(asked).map(({ name }) => name);
  test("none asked for: all, in order", () => expect(names([])).toEqual(LAYER_NAMES));
  test("one asked for: it alone", () => expect(names(["unit"])).toEqual(["unit"]));
  test("what it needs comes first", () => expect(names(["servers"])).toEqual(["build", "environment", "servers"]));
});

test("[T11] the unit layer is red where a branch of the policy is not taken", () => {
  expect(POLICY_COVERED).toContain("--coverage.include=src/domain/**/*.ts");
  expect(POLICY_COVERED).toContain("--coverage.thresholds.branches=100");
});

describe("generated files", () => {
  const before = new Map([
    ["crds/a.yaml", "1"],
    ["crds/b.yaml", "2"],
  ]);
  test("the same files, nothing to tell", () => expect(changedFiles(before, new Map(before))).toEqual([]));
  test("new, gone and different files are told", () => {
    const after = new Map([
      ["crds/b.yaml", "3"],
      ["crds/c.yaml", "4"],
    ]);
    expect(changedFiles(before, after)).toEqual(["crds/a.yaml", "crds/b.yaml", "crds/c.yaml"]);
  });
});
