import { describe, expect, test } from "vitest";
import { fault, type FailureCode, FAILURES, type Fault } from "../../src/lib/failures.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { approvalDigest } from "../../src/domain/claims.ts";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { Control, Outputs, StageEntry, Status } from "../../src/domain/stored.ts";
import type { Act, Found, Outcome, TaskView } from "../../src/domain/task.ts";
import { type About, actOf, after, aStage, aTask, at, NOON } from "../support/build.ts";
import { DEFAULTS, type KindName } from "../support/domain-kinds.ts";

const LOST = fault("HttpTimeout", { endpoint: "receivers", address: "10.0.1.1:80", timeout: "3s" });
const REFUSED = fault("ConnectRefused", { endpoint: "receivers", address: "10.0.1.1:80" });
const REJECTED = fault("HttpRejected", { endpoint: "receivers", address: "10.0.1.1:80", status: "400" });
const EXPIRED = fault("ClaimExpired", { stage: "one" });
const SEEN = { endpoint: "receivers", address: "10.0.1.1:80", seen: "9" };
const DRIFT = { keys: ["colour"], digests: { before: "b", ours: "o", now: "n" } };

const DONE: Outcome = { is: "done", outputs: { version: 42 } };
const UNKNOWN: Outcome = { is: "unknown", fault: LOST };
const RETRYABLE: Outcome = { is: "retryable", fault: REFUSED, after: null };
const TERMINAL: Outcome = { is: "terminal", fault: REJECTED };
const IN_FORCE: Found = { is: "in-force", outputs: { version: 42 } };
const NOT_IN_FORCE: Found = { is: "not-in-force" };
const FOREIGN: Found = { is: "foreign", fault: fault("ForeignOperation", SEEN) };
const UNREADABLE: Found = { is: "unreadable", fault: fault("ProbeFailed", SEEN) };

interface Case {
  readonly kind?: KindName;
  /** The journal of the stage before this claim. */
  readonly entry?: Partial<StageEntry>;
  readonly back?: boolean;
  readonly about?: About;
}

/** A claim of stage `one`, stored and its outcome in hand. */
function claimed({ kind = "tell", entry = {}, back = false, about = {} }: Case = {}): { view: TaskView; act: Act } {
  const before = aTask({
    phase: back ? "RollingBack" : "Running",
    pipeline: { one: kind },
    stages: { one: { state: back ? "Completed" : "Running", attempts: 0, seq: back ? 1 : 0, ...entry } },
    ...about,
  });
  const decision = decide(before, NOON);
  return { view: after(before, decision), act: actOf(decision) };
}

const settled = (about: Case, outcome: Outcome | Found): Status => {
  const { view, act } = claimed(about);
  return settle(view, act, outcome, at(2));
};

/** `phase state [Unknown] [until back-off] [code] [waiting]` */
function say(status: Status): string {
  const entry = entryOf(status, "one");
  const parts = [
    status.phase,
    entry?.state,
    entry?.outcome,
    entry?.retryAt === null || entry === undefined ? null : "later",
    status.failure?.code,
    status.waiting?.reason,
  ];
  return parts.filter((part) => part !== null && part !== undefined).join(" ");
}

const SPENT: Partial<StageEntry> = { attempts: 2 };
const DOUBTED: Partial<StageEntry> = { outcome: "Unknown" };

const ROWS: readonly (readonly [rule: string, about: Case, outcome: Outcome | Found, said: string])[] = [
  ["done is a checkpoint", {}, DONE, "Running Completed"],
  ["[S26] found in force is done, without a second effect", { entry: DOUBTED }, IN_FORCE, "Running Completed"],
  ["nothing arrived: again after a back-off", {}, RETRYABLE, "Running Running later BackingOff"],
  ["[R72] the third attempt is the last", { entry: SPENT }, RETRYABLE, "Failed Failed ConnectRefused"],
  ["turned down: the stage fails at once", {}, TERMINAL, "Failed Failed HttpRejected"],

  ["[S26] nobody knows: ask before anything else", {}, UNKNOWN, "Running Running Unknown later UnknownOutcome"],
  ["[S26] with the attempts used up, too", { entry: SPENT }, UNKNOWN, "Running Running Unknown later UnknownOutcome"],
  [
    "[S26] what may be repeated is repeated",
    { kind: "repeat" },
    UNKNOWN,
    "Running Running Unknown later UnknownOutcome",
  ],
  [
    "[S26] and fails in doubt when the attempts are used up",
    { kind: "repeat", entry: SPENT },
    UNKNOWN,
    "Failed Failed Unknown HttpTimeout",
  ],
  [
    "[S26] what can neither be asked nor repeated holds for a person",
    { kind: "once" },
    UNKNOWN,
    "Failed Failed Unknown OutcomeUnknown UnknownOutcome",
  ],

  [
    "[S26] a probe that cannot read leaves the doubt",
    { entry: DOUBTED },
    UNREADABLE,
    "Running Running Unknown later UnknownOutcome",
  ],
  [
    "[S26] however often",
    { entry: { ...DOUBTED, attempts: 9 } },
    UNREADABLE,
    "Running Running Unknown later UnknownOutcome",
  ],
  [
    "[S26] something else in force is a conflict",
    { entry: DOUBTED },
    FOREIGN,
    "Failed Failed ForeignOperation Conflict",
  ],
  [
    "[S26] asked only, and not in force: it is known that nothing happened",
    { entry: { ...DOUBTED, attempts: 3 } },
    NOT_IN_FORCE,
    "Failed Failed ActInterrupted",
  ],
  [
    "[S26] asked first and then refused: the doubt is over",
    { entry: DOUBTED },
    RETRYABLE,
    "Running Running later BackingOff",
  ],
  ["[S26] asked first and then turned down: so is it", { entry: DOUBTED }, TERMINAL, "Failed Failed HttpRejected"],
  [
    "[S26] a claim that ran out before it could ask leaves the doubt",
    { entry: DOUBTED },
    { is: "retryable", fault: EXPIRED, after: null },
    "Running Running Unknown later BackingOff",
  ],
  [
    "[S26] repeated without asking, and refused: of the first attempt nobody knows still",
    { kind: "repeat", entry: DOUBTED },
    RETRYABLE,
    "Running Running Unknown later BackingOff",
  ],
  [
    "[S26] or turned down: nor then",
    { kind: "repeat", entry: DOUBTED },
    TERMINAL,
    "Failed Failed Unknown HttpRejected",
  ],
  ["[S26] repeated and done: known", { kind: "repeat", entry: DOUBTED }, DONE, "Running Completed"],

  [
    "[S30] a fence that nobody knows stops everything",
    {},
    { is: "diverged", fault: fault("Diverged", SEEN) },
    "Running Running Unknown Diverged Diverged",
  ],
  [
    "[S30] so does being fenced under a claim that is current",
    {},
    { is: "fenced", fault: fault("Fenced", SEEN) },
    "Running Running Unknown Fenced Diverged",
  ],

  ["an undo that is done", { back: true }, DONE, "RollingBack RolledBack"],
  ["an undo backs off", { back: true }, RETRYABLE, "RollingBack RollingBack later BackingOff"],
  [
    "[S26] nobody knows whether it arrived: it is repeated",
    { back: true },
    UNKNOWN,
    "RollingBack RollingBack Unknown later UnknownOutcome",
  ],
  [
    "an undo that is turned down is a failed rollback",
    { back: true },
    TERMINAL,
    "RollbackFailed RollingBack HttpRejected",
  ],
  [
    "what others changed holds the undo for a person",
    { back: true, kind: "write" },
    { is: "terminal", fault: fault("ForeignEdit", { endpoint: "store", key: "k" }), drift: DRIFT },
    "RollbackFailed RollingBack ForeignEdit Conflict",
  ],
  [
    "[S30] an undo that meets an unknown history stops",
    { back: true },
    { is: "diverged", fault: fault("Diverged", SEEN) },
    "RollingBack RollingBack Unknown Diverged Diverged",
  ],
];

describe("folding an outcome into the status", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(28));

  test.each(ROWS)("%s", (_rule, about, outcome, said) => {
    expect(say(settled(about, outcome))).toBe(said);
  });

  test.each(ROWS.filter(([, , outcome]) => outcome.is !== "waiting"))(
    "[S11] %s: the claim is gone",
    (_rule, about, outcome) => {
      expect(entryOf(settled(about, outcome), "one")?.claim).toBeNull();
    },
  );

  test("an outcome of a claim that is no longer open changes nothing: somebody else settled", () => {
    const { view, act } = claimed();
    expect(settle(view, { ...act, nonce: "older" }, DONE, at(2))).toBe(view.status);
    const other = aTask({ pipeline: { two: "tell" } });
    expect(settle(other, act, DONE, at(2))).toBe(other.status);
  });

  const BY_ANOTHER_PROCESS: readonly (readonly [string, Partial<Control>, Outcome, string])[] = [
    [
      "told to go back meanwhile, a stage that failed is undone next",
      { rollback: true },
      TERMINAL,
      "RollingBack Failed",
    ],
    [
      "told to go back meanwhile, a stage that used up its attempts too",
      { rollback: true },
      RETRYABLE,
      "RollingBack Failed",
    ],
    ["paused meanwhile, the task fails all the same", { paused: true }, TERMINAL, "Failed Failed HttpRejected"],
  ];
  test.each(BY_ANOTHER_PROCESS)("[S6] %s", (_rule, control, outcome, said) => {
    const { view, act } = claimed({ entry: { attempts: 2 } });
    const other: TaskView = { ...view, control: { ...view.control, ...control }, mine: null };
    const turned = after(other, decide(other, at(1)));
    expect(entryOf(turned.status, "one")?.claim?.nonce).toBe(act.nonce);
    const status = settle(turned, act, outcome, at(2));
    expect(say(status)).toBe(said);
    expect(entryOf(status, "one")?.claim).toBeNull();
    expect(decide({ ...turned, stored: status, status }, at(3)).because).not.toBe("Diverged");
  });

  test("done keeps outputs, ends the wait, and forgets who acknowledged", () => {
    const status = settled(
      { entry: { acked: [0], failures: [{ i: 1, code: "HttpTimeout" }], outcome: "Unknown" } },
      DONE,
    );
    expect(entryOf(status, "one")).toMatchObject({
      outputs: { version: 42 },
      acked: [],
      failures: [],
      outcome: null,
      finishedAt: at(2),
    });
    expect(status.waiting).toBeNull();
  });

  test("an undo keeps the outputs of the forward way, for what is undone after it", () => {
    expect(entryOf(settled({ back: true, entry: { outputs: { version: 41 } } }, DONE), "one")?.outputs).toEqual({
      version: 41,
    });
  });

  test("what a done stage found changed by others is kept, else what was found before", () => {
    const found = settled({ back: true, kind: "write" }, { is: "done", outputs: {}, drift: DRIFT });
    expect(entryOf(found, "one")?.drift).toEqual(DRIFT);
    const again: Partial<StageEntry> = { state: "RollingBack", part: "write", drift: DRIFT };
    expect(entryOf(settled({ back: true, kind: "write", entry: again }, DONE), "one")?.drift).toEqual(DRIFT);
    expect(entryOf(settled({ back: true, kind: "write", entry: again }, TERMINAL), "one")?.drift).toEqual(DRIFT);
    expect(entryOf(settled({ back: true, kind: "write", entry: again }, RETRYABLE), "one")?.drift).toEqual(DRIFT);
  });

  test("who acknowledged is not called again; who did not is named with a code", () => {
    const reach = {
      acked: ["receivers|10.0.1.1:80", "nobody"],
      failures: [
        { address: "receivers|10.0.1.2:80", code: "HttpTimeout" },
        { address: "nobody", code: "HttpTimeout" },
      ],
    };
    for (const outcome of [UNKNOWN, RETRYABLE, TERMINAL]) {
      const entry = entryOf(settled({}, { ...outcome, reach }), "one");
      expect([entry?.acked, entry?.failures]).toEqual([[0], [{ i: 1, code: "HttpTimeout" }]]);
    }
  });

  test("[R5] a failure names type, code, stage, what happened and what to do", () => {
    expect(settled({}, TERMINAL).failure).toEqual({
      type: "Rejected",
      code: "HttpRejected",
      stage: "one",
      message: "receivers: 10.0.1.1:80 answered 400; see the log of the instance, then retry",
      retryable: false,
      at: at(2),
    });
  });

  const CONFLICTS = (Object.keys(FAILURES) as FailureCode[]).filter((code) => FAILURES[code].type === "Conflict");
  test.each(CONFLICTS)("what only a person can clear is waited for: %s", (code) => {
    const what: Fault = { code, message: "changed", remedy: "put it back" };
    expect(settled({}, { is: "terminal", fault: what }).waiting).toMatchObject({
      reason: "Conflict",
      message: "changed",
    });
  });
});

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

describe("receivers without fences", () => {
  const pipeline = { one: aStage("one", "repeat", { endpoint: "legacy" }) };
  const quietOf = (outcome: Outcome, entry: Partial<StageEntry> = {}): unknown => {
    const before = aTask({ pipeline, stages: { one: { state: "Running", attempts: 0, ...entry } } });
    const decision = decide(before, NOON);
    return entryOf(settle(after(before, decision), actOf(decision), outcome, at(2)), "one")?.quietUntil;
  };

  test("◆ [S8] what nobody knows about may arrive for a time to live and a request timeout more", () => {
    expect(quietOf(UNKNOWN)).toBe(at(2 + 15 + 5 + 3));
  });

  test("what certainly arrived, or certainly did not, may not", () => {
    expect([DONE, RETRYABLE, TERMINAL].map((outcome) => quietOf(outcome))).toEqual([null, null, null]);
  });

  test("an earlier attempt may still, until its time is over", () => {
    const doubted: Partial<StageEntry> = { quietUntil: at(9), outcome: "Unknown" };
    expect([DONE, RETRYABLE].map((outcome) => quietOf(outcome, doubted))).toEqual([at(9), at(9)]);
    expect(quietOf(DONE, { quietUntil: at(1) })).toBeNull();
  });

  test("where receivers check fences, nothing has to be quiet", () => {
    expect(entryOf(settled({}, UNKNOWN), "one")?.quietUntil).toBeNull();
    expect(entryOf(settled({ kind: "wait" }, UNKNOWN), "one")?.quietUntil).toBeNull();
  });
});

describe("what fits a status", () => {
  const big = (bytes: number): string => "x".repeat(bytes);

  test("[R13] outputs of a stage are at most 1 KiB: what does not fit is left out, and missed where it is read", () => {
    const outputs: Outputs = { a: big(500), b: big(700), c: 1 };
    expect(entryOf(settled({}, { is: "done", outputs }), "one")?.outputs).toEqual({ a: big(500), c: 1 });
    expect(entryOf(settled({}, { is: "in-force", outputs }), "one")?.outputs).toEqual({ a: big(500), c: 1 });
  });

  test("[S25] outputs of a task are at most 16 KiB, in bytes", () => {
    const stages = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`s${i}`, { state: "Completed" as const, outputs: { a: "é".repeat(500) } }]),
    );
    const pipeline = Object.fromEntries([
      ...Object.keys(stages).map((name) => [name, "tell"] as const),
      ["one", "tell"] as const,
    ]);
    const before = aTask({ pipeline, stages: { ...stages, one: { state: "Running", attempts: 0 } } });
    const decision = decide(before, NOON);
    const status = settle(
      after(before, decision),
      actOf(decision),
      { is: "done", outputs: { a: big(900), b: 1 } },
      at(2),
    );
    expect(entryOf(status, "one")?.outputs).toEqual({ b: 1 });
  });

  test("[S25] drift of a task is at most 8 KiB: the first keys are named", () => {
    const keys = Array.from({ length: 16 }, (_, i) => `${i}-${big(250)}`);
    const drift = { keys, digests: { before: null, ours: null, now: null } };
    const found = { state: "Completed" as const, drift: { ...drift, keys: [...keys, ...keys.slice(0, 14)] } };
    const pipeline = { two: "write", one: "write" } as const;
    const before = aTask({ pipeline, stages: { two: found, one: { state: "Running", attempts: 0 } } });
    const decision = decide(before, NOON);
    const status = settle(after(before, decision), actOf(decision), { is: "terminal", fault: REJECTED, drift }, at(2));
    expect(entryOf(status, "one")?.drift?.keys).toEqual(keys.slice(0, 1));
    const alone = entryOf(settled({ kind: "write" }, { is: "done", outputs: {}, drift }), "one");
    expect(alone?.drift).toEqual(drift);
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
