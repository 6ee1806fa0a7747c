import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  between,
  formatDuration,
  formatInstant,
  instantOf,
  LONGEST,
  millisOf,
  minutes,
  parseDuration,
  parseInstant,
  plus,
  seconds,
} from "../../src/lib/time.ts";
import { cases } from "../support/seed.ts";

describe("durations", () => {
  test.each([
    ["90s", 90_000],
    ["300ms", 300],
    ["1h30m", 5_400_000],
    ["2d", 172_800_000],
    ["1m1m", 120_000],
    ["0s", 0],
    ["366d", LONGEST],
    ["367d", null],
    ["", null],
    ["5", null],
    ["s", null],
    ["1.5s", null],
    ["-1s", null],
    ["1w", null],
    [" 1s", null],
    ["9999999999s", null],
    ["1s".repeat(17), null],
  ])("%s", (text, value) => expect(parseDuration(text)).toBe(value));

  test("the shortest text for what is read", () => {
    expect([0, 1, 1000, 90_000, 3_600_000, 3_661_001].map((value) => formatDuration(millisOf(value)))).toEqual([
      "0s",
      "1ms",
      "1s",
      "1m30s",
      "1h",
      "1h1m1s1ms",
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: LONGEST }), (value) => {
        expect(parseDuration(formatDuration(millisOf(value)))).toBe(value);
      }),
      cases(300),
    );
  });
});

describe("instants", () => {
  test.each([
    ["2026-06-01T12:00:00Z", Date.UTC(2026, 5, 1, 12)],
    ["2026-06-01T12:00:00.250Z", Date.UTC(2026, 5, 1, 12) + 250],
    ["2026-06-01T14:00:00+02:00", Date.UTC(2026, 5, 1, 12)],
    ["2026-06-01", null],
    ["1780315200000", null],
    ["2026-13-01T12:00:00Z", null],
    ["June 1, 2026 12:00:00", null],
    ["", null],
  ])("%s", (text, value) => expect(parseInstant(text)).toBe(value));

  test("read back as they were written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (value) => {
        expect(parseInstant(formatInstant(instantOf(value)))).toBe(value);
      }),
      cases(300),
    );
  });

  test("[S19] no time is negative, also where a clock went back", () => {
    const noon = instantOf(1000);
    expect([between(noon, plus(noon, seconds(2))), between(plus(noon, minutes(1)), noon)]).toEqual([2000, 0]);
    expect(millisOf(-5)).toBe(0);
  });
});
