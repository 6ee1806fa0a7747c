import { describe, expect, test } from "vitest";
import type { TenantRecord } from "../../src/receiver/tenant-record.ts";
import { failed, judge, settled, type Verdict, viewOf } from "../../src/receiver/verdict.ts";
import { anOperation, aRecord, fenceOf } from "../support/receiver-build.ts";

/** What came of it, and the fence that is remembered afterwards. */
function say(record: TenantRecord | null, verdict: Verdict): string {
  switch (verdict.is) {
    case "apply":
    case "repeat":
      return `${verdict.is} ${Number(verdict.next.fence.slice(-8))}`;
    case "Fenced":
    case "Diverged":
      return `${verdict.is} ${Number(verdict.seen.slice(-8))}`;
    default:
      return `${verdict.is} ${Number(record?.fence.slice(-8) ?? 0)}`;
  }
}

type About = Parameters<typeof anOperation>[0];
const failedLater: Partial<TenantRecord> = { fence: fenceOf(7), opId: "later", unsettled: "failed" };
const runningLater: Partial<TenantRecord> = { ...failedLater, unsettled: "running" };

/** In the record: operation `op` of claim 5, in force, unless the row says otherwise. */
const ROWS: readonly (readonly [
  rule: string,
  record: Partial<TenantRecord> | null,
  operation: About,
  verdict: string,
])[] = [
  ["a tenant never seen takes any claim", null, {}, "apply 5"],
  ["a higher fence is applied", {}, { seq: 6, opId: "next" }, "apply 6"],
  ["[S8] a lower fence is Fenced", {}, { seq: 4, opId: "before" }, "Fenced 5"],
  ["[S8] an older claim of the operation in force is Fenced", {}, { seq: 4 }, "Fenced 5"],
  ["[S30] the same fence with another operation is Diverged", {}, { opId: "other" }, "Diverged 5"],
  ["[S30] a fence seen between base and claim is Diverged", {}, { seq: 9, base: 4, opId: "other" }, "Diverged 5"],
  ["[S30] also for the operation in force", {}, { seq: 9, base: 4 }, "Diverged 5"],
  ["a fence seen at the base is the sender's own history", {}, { seq: 9, base: 5, opId: "next" }, "apply 9"],
  ["the same claim again is answered", {}, {}, "repeat 5"],
  ["[S10] a newer claim of the operation in force is answered, and counts", {}, { seq: 8, base: 5 }, "repeat 8"],
  ["[SEC-32] the operation in force with other content differs", {}, { version: 41 }, "ContentDiffers 5"],
  ["[SEC-32] also under a newer claim, which does not count", {}, { seq: 8, version: 41 }, "ContentDiffers 5"],
  ["an operation that failed is done again", failedLater, { seq: 8, opId: "later" }, "apply 8"],
  ["also under the same claim", failedLater, { seq: 7, opId: "later" }, "apply 7"],
  ["a failed operation leaves its fence", failedLater, { seq: 6, opId: "other" }, "Fenced 7"],
  ["what was in force before a failed operation is done again", failedLater, { seq: 8 }, "apply 8"],
  ["an operation begun by a process that died is done again", runningLater, { seq: 8, opId: "later" }, "apply 8"],
];

test("no row is lost", () => expect(ROWS).toHaveLength(17));

test.each(ROWS)("%s", (_rule, over, about, expected) => {
  const record = over === null ? null : aRecord(over);
  expect(say(record, judge(record, anOperation(about), false))).toBe(expected);
});

describe("while another process is at work on the tenant", () => {
  const record = aRecord(runningLater);
  test.each([
    ["a newer claim is told to come back", { seq: 8, opId: "next" }, "Busy 7"],
    ["so is a repeat of the operation that runs", { seq: 7, opId: "later" }, "Busy 7"],
    ["[S8] a lower fence is Fenced at once", { seq: 6, opId: "other" }, "Fenced 7"],
    ["[S30] a divergence shows at once", { seq: 9, base: 6, opId: "other" }, "Diverged 7"],
  ] as const)("%s", (_rule, about, expected) => {
    expect(say(record, judge(record, anOperation(about), true))).toBe(expected);
  });
  test("an operation that failed there is nobody's any more", () => {
    const over = aRecord(failedLater);
    expect(judge(over, anOperation({ seq: 8, opId: "next" }), true).is).toBe("apply");
  });
});

describe("what is stored", () => {
  test("the fence is there before the effect, and what was in force stays until the next is", () => {
    const verdict = judge(aRecord(), anOperation({ seq: 6, opId: "next" }), false);
    expect(verdict).toEqual({
      is: "apply",
      next: { ...aRecord(), revision: 3, fence: fenceOf(6), opId: "next", unsettled: "running" },
    });
  });
  test("a repeat of the very claim writes nothing", () => {
    expect(judge(aRecord(), anOperation(), false)).toEqual({ is: "repeat", next: aRecord(), raises: false });
  });
  test("a newer claim of the operation in force raises the fence and nothing else", () => {
    const next = { ...aRecord(), revision: 3, fence: fenceOf(8) };
    expect(judge(aRecord(), anOperation({ seq: 8, base: 5 }), false)).toEqual({ is: "repeat", next, raises: true });
  });
  test("a success puts its operation in force; a failure leaves the doubt", () => {
    const begun = aRecord({ opId: "next", unsettled: "running" });
    const inForce = { ...aRecord().inForce, opId: "next" } as NonNullable<TenantRecord["inForce"]>;
    expect(settled(begun, inForce)).toEqual({ ...begun, revision: 3, unsettled: "no", inForce });
    expect(failed(begun)).toEqual({ ...begun, revision: 3, unsettled: "failed" });
  });
});

describe("what GET shows", () => {
  test("the operation in force, under the greatest fence seen", () => {
    expect(viewOf(aRecord({ fence: fenceOf(9) }))).toEqual({
      deployUnit: { id: 2, name: "green", version: 7 },
      version: 42,
      fence: fenceOf(9),
      opId: "op",
      appliedAt: "2026-06-01T12:00:00.000Z",
    });
  });
  test.each(["running", "failed"] as const)("[S26] a later operation that is %s shows as unfinished", (unsettled) => {
    expect(viewOf(aRecord({ opId: "later", unsettled }))).toMatchObject({ opId: "op", unfinished: "later" });
  });
  test("nothing where nothing was ever in force", () => {
    expect(viewOf(aRecord({ inForce: null, unsettled: "failed" }))).toBeNull();
  });
});
