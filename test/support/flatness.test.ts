import { describe, expect, test } from "vitest";
import { judge, type Sample, slopeOf } from "./flatness.ts";

const MIB = 1024 * 1024;
const series = (value: (minute: number) => number, count = 30): readonly Sample[] =>
  Array.from({ length: count }, (_, i) => ({ at: i * 10_000, value: value(i / 6) }));
const isFlat = (value: (minute: number) => number, count?: number): boolean =>
  judge({ name: "heap", samples: series(value, count), slack: 2 * MIB, unit: "MiB" }).isFlat;

describe("what a process holds over time", () => {
  test("is flat where its quietest moments stay as they are, however high it goes in between", () => {
    expect(isFlat(() => 80 * MIB)).toBe(true);
    expect(isFlat((minute) => (80 + 40 * Math.abs(Math.sin(minute * 7))) * MIB)).toBe(true);
  });

  test("is flat where it grew while it warmed up", () => {
    expect(isFlat((minute) => Math.min(80, 40 + 40 * minute) * MIB)).toBe(true);
  });

  test("is not where it grows by two MiB a minute", () => {
    expect(isFlat((minute) => (80 + 2 * minute) * MIB)).toBe(false);
  });

  test("is not known of too few samples", () => {
    expect(isFlat(() => 80 * MIB, 8)).toBe(false);
  });

  test("its slope is per minute", () => {
    expect(slopeOf(series((minute) => 5 + 3 * minute))).toBeCloseTo(3);
    expect(slopeOf([{ at: 0, value: 1 }])).toBe(0);
  });
});
