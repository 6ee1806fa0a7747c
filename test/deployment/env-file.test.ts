import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { anyText } from "../support/any-text.ts";
import { formatEnv, parseEnv } from "../../deployment/local/env-file.ts";

const name = fc.stringMatching(/^[A-Z][A-Z0-9_]{0,20}$/);
const value = anyText(40).filter((text) => !/[\n\0]/.test(text));

describe("DIR/env", () => {
  test("what is written is read back, whatever the values hold", () => {
    fc.assert(
      fc.property(fc.dictionary(name, value, { noNullPrototype: true }), (values) => {
        expect(parseEnv(formatEnv(values))).toEqual(values);
      }),
      { numRuns: 2000 },
    );
  });

  const LINES = [
    ["a plain value stands bare", "/tmp/a/env", "A=/tmp/a/env\n"],
    ["an address stands bare", "redis://:p@127.0.0.1:1", "A=redis://:p@127.0.0.1:1\n"],
    ["a blank is quoted", "a b", "A='a b'\n"],
    ["what a shell would run is quoted", "$(id)", "A='$(id)'\n"],
    ["a quote is closed, escaped and opened", "it's", "A='it'\\''s'\n"],
    ["the empty value is quoted", "", "A=''\n"],
  ] as const;
  test("no line is lost", () => expect(LINES).toHaveLength(6));
  test.each(LINES)("%s", (_rule, value, line) => expect(formatEnv({ A: value })).toBe(line));

  test("a line break would start another line, so it is refused", () => {
    expect(() => formatEnv({ A: "x\nB=y" })).toThrow(/line break/);
  });

  test.each(["A", "a=1", "A=x y", "A='x", "export A=1", "A='it's'"])("%j is refused, not guessed at", (line) => {
    expect(() => parseEnv(line)).toThrow(/not a line NAME=value/);
  });
});
