import { describe, expect, test } from "vitest";
import type { Approval } from "../../src/domain/stored.ts";
import type { Outcome } from "../../src/domain/task.ts";
import type { JsonObject } from "../../src/lib/json.ts";
import { millisOf, minutes, seconds } from "../../src/lib/time.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { mustPlan, refusals, undecodable } from "../support/stage-rig-plan.ts";
import { openStage } from "../support/stage-rig.ts";
import { noPorts } from "../support/stage-rig-gates.ts";

const DIGEST = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const THIS = "0123456789ab";
const yes = (expect: string | null = THIS): Approval => ({ decision: "Approve", comment: null, expect });
const no = (expect: string | null = THIS): Approval => ({ decision: "Reject", comment: "not tonight", expect });

interface Asked {
  readonly approvals?: Readonly<Record<string, Approval>>;
  readonly requestedBy?: string | null;
  readonly policiesMissing?: boolean;
  readonly age?: number;
}
/** What the gate says of what stands in `control.approvals`. */
function weigh(config: JsonObject, { approvals = {}, requestedBy = null, policiesMissing = false, age = 0 }: Asked) {
  const stage = openStage({ kind: "approval", config, ports: noPorts, endpoints: [], tenantId: "acme" });
  const call = stage.call("Forward", null, { seq: 1 });
  return stage.kind.run({ ...call, approvals, requestedBy, policiesMissing, age: millisOf(age), digest: DIGEST });
}
const approved = (...by: readonly string[]): Outcome => ({
  is: "done",
  outputs: { approvedBy: by },
  answer: { result: "Done", reason: null },
});
const ignored = (reason: string): object => ({
  is: "waiting",
  reason: "AwaitingApproval",
  answer: { result: "Rejected", reason },
});

test("it is a gate that touches nobody", () => {
  expect(STAGES.approval.effect({})).toBe("gate");
  expect(STAGES.approval.undoParts({})).toEqual([]);
  expect(mustPlan({ approval: {} })).toMatchObject({ preview: "wait for 1 approval", audience: [], endpoint: null });
  expect(mustPlan({ approval: { quorum: 2 } }).preview).toBe("wait for 2 approvals");
});

test("left out, a field is what docs/stages.md says", () => {
  expect(mustPlan({ approval: {} }).inputs).toEqual({
    users: null,
    groups: null,
    quorum: 1,
    expires: null,
    requireDifferentUser: false,
  });
});

describe("while nobody has decided", () => {
  test("it waits for a person, for as long as it takes", async () => {
    expect(await weigh({}, {})).toEqual({
      is: "waiting",
      again: null,
      reason: "AwaitingApproval",
      message: "stage it waits for 1 of 1 approvals",
      memo: null,
    });
  });
  test("until it expires", async () => {
    expect(await weigh({ expires: "1h" }, { age: minutes(50) })).toMatchObject({ is: "waiting", again: minutes(10) });
    expect(await weigh({ expires: "1h" }, { age: minutes(60) })).toMatchObject({
      is: "terminal",
      fault: { code: "ApprovalExpired", message: "nobody approved stage it within 1h" },
    });
  });
  test("an approval that stands when the time is over counts: it may have been given before", async () => {
    expect(await weigh({ expires: "1h" }, { age: minutes(61), approvals: { ann: yes() } })).toEqual(approved("ann"));
  });
});

describe("one approver is enough", () => {
  test("without naming the plan", async () => {
    expect(await weigh({}, { approvals: { ann: yes(null) } })).toEqual(approved("ann"));
  });
  test.each([THIS, DIGEST, DIGEST.slice("sha256:".length), `sha256:${THIS}`])("naming it as %s", async (expect_) => {
    expect(await weigh({}, { approvals: { ann: yes(expect_) } })).toEqual(approved("ann"));
  });
  test.each(["fedcba987654", "0123456789ac", `${DIGEST}0`, "sha256:"])(
    "[SEC-13] [S18] naming another one (%s) it does not count",
    async (expect_) => {
      expect(await weigh({}, { approvals: { ann: yes(expect_) } })).toMatchObject(
        ignored("ann: expect names another plan"),
      );
    },
  );
  test("[SEC-13] fewer than 12 digits name no plan", async () => {
    expect(await weigh({}, { approvals: { ann: yes(THIS.slice(0, 11)) } })).toMatchObject({ is: "waiting" });
  });
  test("whose rejection fails the stage", async () => {
    expect(await weigh({}, { approvals: { ann: no() } })).toMatchObject({
      is: "terminal",
      fault: { code: "ApprovalRejected", message: "ann rejected stage it" },
      answer: { result: "Done", reason: "rejected by ann" },
    });
  });
  test("a rejection outranks every approval", async () => {
    expect(await weigh({}, { approvals: { ann: yes(), ben: no(), cleo: yes() } })).toMatchObject({
      is: "terminal",
      fault: { code: "ApprovalRejected" },
    });
  });
  test("a rejection of another plan does not count", async () => {
    expect(await weigh({}, { approvals: { ann: no("fedcba987654") } })).toMatchObject({ is: "waiting" });
  });
});

describe("approvers", () => {
  const users = { approvers: { users: ["ann", "ben"] } };
  test("that are named alone count", async () => {
    expect(await weigh(users, { approvals: { ben: yes() } })).toEqual(approved("ben"));
    expect(await weigh(users, { approvals: { eve: yes() } })).toMatchObject(ignored("eve: is not an approver"));
    expect(await weigh(users, { approvals: { eve: no() } })).toMatchObject({ is: "waiting" });
  });
  test("[SEC-12] by group are known where the request is admitted, and only there", async () => {
    const groups = { approvers: { users: ["ann"], groups: ["release"] } };
    expect(await weigh(groups, { approvals: { zoe: yes() } })).toEqual(approved("zoe"));
  });
  test("by name only, where the list of groups is empty", async () => {
    const only = { approvers: { users: ["ann"], groups: [] } };
    expect(await weigh(only, { approvals: { eve: yes() } })).toMatchObject(ignored("eve: is not an approver"));
    expect(await weigh(only, { approvals: { ann: yes() } })).toEqual(approved("ann"));
  });
  test("that nobody named: whoever may approve", async () => {
    expect(await weigh({ approvers: {} }, { approvals: { zoe: yes() } })).toEqual(approved("zoe"));
  });
});

describe("a quorum", () => {
  const two = { quorum: 2 };
  test("is waited for", async () => {
    expect(await weigh(two, { approvals: { ann: yes() } })).toMatchObject({
      is: "waiting",
      message: "stage it waits for 1 of 2 approvals",
      answer: { result: "Accepted", reason: "1 of 2" },
    });
    expect(await weigh(two, { approvals: { ben: yes(), ann: yes() } })).toEqual(approved("ann", "ben"));
  });
  test("[SEC-13] counts only those that name the plan", async () => {
    expect(await weigh(two, { approvals: { ann: yes(), ben: yes(null) } })).toMatchObject(
      ignored("ben: expect must name the plan (12 hex digits of status.plan.digest)"),
    );
  });
  test("is broken by one rejection", async () => {
    expect(await weigh(two, { approvals: { ann: yes(), ben: no() } })).toMatchObject({ is: "terminal" });
  });
});

describe("requireDifferentUser", () => {
  const other = { requireDifferentUser: true };
  test("[SEC-13] does not count whoever asked for the switch", async () => {
    expect(await weigh(other, { requestedBy: "ann", approvals: { ann: yes() } })).toMatchObject(
      ignored("ann: asked for the switch and may not approve it"),
    );
    expect(await weigh(other, { requestedBy: "ann", approvals: { ann: yes(), ben: yes() } })).toEqual(approved("ben"));
  });
  test("[SEC-13] counts only those that name the plan", async () => {
    expect(await weigh(other, { requestedBy: "ann", approvals: { ben: yes(null) } })).toMatchObject({ is: "waiting" });
  });
});

describe("[SEC-14] without the policies that force names", () => {
  const missing = { policiesMissing: true };
  test("nothing counts, neither approval nor rejection", async () => {
    for (const approvals of [{ ann: yes() }, { ann: no() }]) {
      expect(await weigh({}, { ...missing, approvals })).toMatchObject({
        is: "waiting",
        again: seconds(5),
        reason: "AdmissionPolicyMissing",
        answer: { result: "Rejected", reason: expect.stringMatching(/^AdmissionPolicyMissing/) as string },
      });
    }
  });
  test("it goes on asking whether they are back, also when what was given does not count any more", async () => {
    expect(await weigh({}, missing)).toMatchObject({ reason: "AdmissionPolicyMissing", again: seconds(5) });
  });
  test("it still expires", async () => {
    const asked = { ...missing, approvals: { ann: yes() } };
    expect(await weigh({ expires: "1h" }, { ...asked, age: millisOf(minutes(60) - 500) })).toMatchObject({
      again: millisOf(500),
    });
    expect(await weigh({ expires: "1h" }, { ...asked, age: minutes(60) })).toMatchObject({
      is: "terminal",
      fault: { code: "ApprovalExpired" },
    });
  });
});

describe("what could never be approved is refused at plan time:", () => {
  test.each<readonly [string, object, string]>([
    ["approvers that name nobody", { approvers: { users: [] } }, "approval.approvers : names nobody"],
    ["groups that name nobody", { approvers: { groups: [] } }, "approval.approvers : names nobody"],
    [
      "a quorum of more than there are",
      { quorum: 3, approvers: { users: ["ann", "ben", "ann"] } },
      "approval.quorum 3: only 2 users may approve",
    ],
    ["an expiry beyond any wait", { expires: "400d" }, "approval.expires 400d: must be a duration of at most 366 days"],
    ["no time to decide", { expires: "0s" }, "approval.expires 0s: must be at least 1ms"],
  ])("%s", (_what, config, refusal) => {
    expect(refusals({ approval: config })).toEqual([refusal]);
  });
  test("a quorum that a group may fill", () => {
    expect(refusals({ approval: { quorum: 3, approvers: { users: ["ann"], groups: ["release"] } } })).toEqual([]);
  });
  test("no quorum, too large a quorum, an unknown field", () => {
    expect(undecodable({ approval: { quorum: 0 } })).toHaveLength(1);
    expect(undecodable({ approval: { quorum: 17 } })).toHaveLength(1);
    expect(undecodable({ approval: { approver: "ann" } })).toHaveLength(1);
  });
});

test("[R44] whoever approved, as far as a kibibyte goes", async () => {
  const approvals = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`${i}`.padStart(128, "u"), yes()]));
  const outcome = await weigh({ quorum: 16 }, { approvals });
  if (outcome.is !== "done") throw new Error(outcome.is);
  const { approvedBy } = outcome.outputs;
  expect(Buffer.byteLength(JSON.stringify(outcome.outputs))).toBeLessThanOrEqual(1024);
  expect(approvedBy).toHaveLength(7);
});
