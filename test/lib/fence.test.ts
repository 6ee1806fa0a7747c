import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FENCE_PATTERN, formatFence, isFence, maxFence, NO_FENCE, parseFence } from "../../src/lib/fence.ts";
import { anyText } from "../support/any-text.ts";
import { cases } from "../support/seed.ts";

const epoch = fc.integer({ min: 0, max: 9_999_999_999 });
const seq = fc.integer({ min: 0, max: 99_999_999 });

describe("[S10] a fence", () => {
  test("is ten digits, a hyphen and eight digits", () => {
    expect(formatFence(1_795_244_397, 9)).toBe("1795244397-00000009");
    expect(formatFence(0, 0)).toBe(NO_FENCE);
    expect(formatFence(9_999_999_999, 99_999_999)).toBe("9999999999-99999999");
  });

  test.each([
    [-1, 0],
    [0, -1],
    [1.5, 0],
    [0, 0.5],
    [10_000_000_000, 0],
    [0, 100_000_000],
    [Number.NaN, 0],
    [0, Number.POSITIVE_INFINITY],
  ])("cannot be made of %d and %d: it would order wrongly", (of, at) => {
    expect(() => formatFence(of, at)).toThrow("no fence for");
  });

  test("orders as text as its numbers do", () => {
    fc.assert(
      fc.property(epoch, seq, epoch, seq, (e1, s1, e2, s2) => {
        const [a, b] = [formatFence(e1, s1), formatFence(e2, s2)];
        expect(a < b).toBe(e1 < e2 || (e1 === e2 && s1 < s2));
        expect(maxFence(a, b)).toBe(a < b ? b : a);
        expect(maxFence()).toBe(NO_FENCE);
      }),
      cases(500),
    );
  });

  test("is read back as it was written", () => {
    fc.assert(
      fc.property(epoch, seq, (e, s) => {
        expect(parseFence(formatFence(e, s))).toEqual({ epoch: e, seq: s });
        expect(isFence(formatFence(e, s))).toBe(true);
      }),
      cases(500),
    );
  });

  test("[SEC-31] nothing else is one: not `~`, which outranks every fence, nor other digits", () => {
    for (const text of [
      "~",
      "",
      "1795244397-0000000",
      "1795244397-000000009",
      "１７９５２４４３９７-00000009",
      " 1795244397-00000009",
      "1795244397-00000009\n",
    ]) {
      expect([text, isFence(text), parseFence(text)]).toEqual([text, false, null]);
    }
    fc.assert(
      fc.property(anyText(24), (text) => {
        expect(isFence(text)).toBe(parseFence(text) !== null);
        expect(isFence(text) ? FENCE_PATTERN.test(text) : true).toBe(true);
      }),
      cases(500),
    );
  });
});
