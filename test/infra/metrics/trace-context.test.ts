import { expect, test } from "vitest";
import { formatTrace, newTrace, parseTrace } from "../../../src/infra/metrics/trace-context.ts";
import { seededRng } from "../../support/manual-clock.ts";

const [TRACE, SPAN] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];

test("[R134] the header of W3C Trace Context is read and written", () => {
  const header = `00-${TRACE}-${SPAN}-01`;
  expect(parseTrace(header)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
  expect(formatTrace({ traceId: TRACE, spanId: SPAN, sampled: true })).toBe(header);
  expect(parseTrace(`00-${TRACE}-${SPAN}-00`)?.sampled).toBe(false);
});

test.each([
  "",
  `01-${TRACE}-${SPAN}-01`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${"0".repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `00-${TRACE}-${SPAN}-01-more`,
  `00-${TRACE}-${SPAN}-1\n`,
])("anything else is none: %j", (header) => {
  expect(parseTrace(header)).toBeNull();
});

test("work of a trace keeps its id under a span of its own; without a parent it begins one", () => {
  const rng = seededRng(7);
  const parent = newTrace(rng, null);
  const child = newTrace(rng, parent);
  expect(parseTrace(formatTrace(parent))).toEqual(parent);
  expect(child.traceId).toBe(parent.traceId);
  expect(child.spanId).not.toBe(parent.spanId);
  expect(newTrace({ ...rng, float: () => 0 }, null)).toEqual({
    traceId: `${"0".repeat(31)}1`,
    spanId: `${"0".repeat(15)}1`,
    sampled: true,
  });
});
