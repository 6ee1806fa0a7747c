import fc from "fast-check";

/** One UTF-16 unit: letters and marks that mean something somewhere, else anything, halves of surrogate pairs too. */
const unit = fc.oneof(
  fc.constantFrom(..."aZ09 ~/.%{}$\"'\\\n\u0000é½😀".split("")),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
);

/** Text of any kind. fast-check's own `unit: "binary"` takes seconds to prepare, once per file. */
export const anyText = (maxLength: number): fc.Arbitrary<string> =>
  fc.array(unit, { maxLength }).map((units) => units.join(""));

/** The same, and what UTF-8 can carry. */
export const wellFormedText = (maxLength: number): fc.Arbitrary<string> =>
  anyText(maxLength).map((text) => text.toWellFormed());
