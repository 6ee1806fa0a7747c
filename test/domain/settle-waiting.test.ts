import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { approvalDigest } from "../../src/domain/claims.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { Status } from "../../src/domain/stored.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { at } from "../support/build.ts";
import { DEFAULTS } from "../support/domain-kinds.ts";
import { type Case, claimed, DONE, REFUSED, RETRYABLE, settled, TERMINAL } from "./settled-claim.ts";

describe("back-off", () => {
  const pause = (about: Case, outcome: Outcome): number =>
    (entryOf(settled(about, outcome), "one")?.retryAt ?? 0) - at(2);

  test("grows with the attempts, with full jitter", () => {
    expect([0, 1].map((attempts) => pause({ entry: { attempts } }, RETRYABLE))).toEqual([500, 1000]);
  });

  test("take-overs and earlier operations do not make it longer", () => {
    expect(pause({ entry: { attempts: 7, attemptsBefore: 7 } }, RETRYABLE)).toBe(500);
  });

  test("honours what the receiver asks for", () => {
    expect(pause({}, { is: "retryable", fault: REFUSED, after: seconds(9) })).toBe(9000);
  });

  test("up to the stage's timeout", () => {
    expect(pause({}, { is: "retryable", fault: REFUSED, after: seconds(86_400) })).toBe(DEFAULTS.timeout);
    expect(pause({ back: true }, { is: "retryable", fault: REFUSED, after: seconds(86_400) })).toBe(DEFAULTS.timeout);
  });

  test("is said, with its end", () => {
    const { waiting } = settled({}, { is: "retryable", fault: REFUSED, after: seconds(9) });
    expect(waiting).toMatchObject({ reason: "BackingOff", until: at(11), since: at(2) });
    expect(waiting?.message).toContain("stage one: receivers: 10.0.1.1:80 refused the connection");
  });
});

describe("waiting under a claim", () => {
  const WAITING: Outcome = {
    is: "waiting",
    again: null,
    reason: "AwaitingApproval",
    message: "stage one waits for 1 of 1 approvals",
    memo: null,
  };

  test("keeps the claim and says what for", () => {
    const status = settled({ kind: "approval" }, WAITING);
    expect(entryOf(status, "one")?.claim).not.toBeNull();
    expect(status.waiting).toMatchObject({
      reason: "AwaitingApproval",
      message: "stage one waits for 1 of 1 approvals",
    });
    expect(status.waiting?.unblock).toContain('"approvals":{"one":{"YOU":{"decision":"Approve","expect":"');
  });

  test("[L8] the same reason is stored once", () => {
    const { view, act } = claimed({ kind: "approval" });
    const first = settle(view, act, WAITING, at(2));
    expect(settle({ ...view, status: first }, act, { ...WAITING, message: "other" }, at(9))).toBe(first);
  });

  const given = { approvals: { one: { bob: { decision: "Approve", comment: null, expect: null } } } } as const;
  const answering = (
    about: Case,
    answer: { result: "Accepted" | "Rejected" | "Done"; reason: string | null },
  ): Status => settled({ kind: "approval", ...about }, { ...WAITING, answer });

  test("what the gate says of the approvals is their answer", () => {
    const status = answering({ about: { control: given } }, { result: "Rejected", reason: "bob: is not an approver" });
    expect(status.commands.approvals).toMatchObject({
      result: "Rejected",
      reason: "bob: is not an approver",
      at: at(2),
    });
  });

  test("[SEC-14] what was given while no policy vouched for names never counts, and is kept once", () => {
    const { view, act } = claimed({ kind: "approval", about: { stages: { one: "Running" } } });
    const forged = { ...view, control: { ...view.control, ...given } };
    const missing: Outcome = { ...WAITING, reason: "AdmissionPolicyMissing" };
    const kept = { bob: approvalDigest(given.approvals.one.bob) };
    const first = settle(forged, act, missing, at(2));
    expect(entryOf(first, "one")?.preset).toEqual(kept);
    expect(settle({ ...forged, status: first }, act, missing, at(9))).toBe(first);
    expect(entryOf(settle(forged, act, WAITING, at(2)), "one")?.preset).toEqual({});
  });

  test("[L8] said once", () => {
    const { view, act } = claimed({ kind: "approval", about: { control: given } });
    const outcome: Outcome = { ...WAITING, answer: { result: "Accepted", reason: "1 of 2" } };
    const first = settle(view, act, outcome, at(2));
    expect(settle({ ...view, status: first }, act, outcome, at(9)).commands).toBe(first.commands);
    const other = settle(
      { ...view, status: first },
      act,
      { ...outcome, answer: { result: "Accepted", reason: "2 of 3" } },
      at(9),
    );
    expect(other.commands.approvals?.reason).toBe("2 of 3");
  });

  test("nothing is answered that was not asked", () => {
    expect(answering({}, { result: "Done", reason: null }).commands).toEqual({});
    expect(
      settled({ kind: "approval", about: { control: given } }, WAITING).commands.approvals?.reason ?? null,
    ).toBeNull();
  });

  test("an answer may need no words", () => {
    const status = answering({ about: { control: given } }, { result: "Done", reason: null });
    expect(status.commands.approvals).toMatchObject({ result: "Done", reason: null });
  });

  test("an answer fits its field", () => {
    const status = answering({ about: { control: given } }, { result: "Rejected", reason: "x".repeat(999) });
    expect(status.commands.approvals?.reason).toHaveLength(256);
  });
});

describe("time that has passed", () => {
  test("a stage keeps what its claim had counted", () => {
    const { view, act } = claimed({ kind: "wait" });
    const status = settle(view, { ...act, ran: millisOf(1234) }, TERMINAL, at(2));
    expect(entryOf(status, "one")?.ran).toBe(1234);
    expect(entryOf(settle(view, { ...act, ran: millisOf(1234) }, DONE, at(2)), "one")?.ran).toBe(1234);
  });
});
