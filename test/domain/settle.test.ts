import { describe, expect, test } from "vitest";
import { fault, type FailureCode, FAILURES, type Fault } from "../../src/lib/failures.ts";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { Control, StageEntry, Status } from "../../src/domain/stored.ts";
import type { Found, Outcome, TaskView } from "../../src/domain/task.ts";
import { after, aTask, at } from "../support/build.ts";
import { type Case, claimed, DONE, RETRYABLE, settled, TERMINAL, UNKNOWN } from "./settled-claim.ts";

const EXPIRED = fault("ClaimExpired", { stage: "one" });
const SEEN = { endpoint: "receivers", address: "10.0.1.1:80", seen: "9" };
const DRIFT = { keys: ["colour"], digests: { before: "b", ours: "o", now: "n" } };
const IN_FORCE: Found = { is: "in-force", outputs: { version: 42 } };
const NOT_IN_FORCE: Found = { is: "not-in-force" };
const FOREIGN: Found = { is: "foreign", fault: fault("ForeignOperation", SEEN) };
const UNREADABLE: Found = { is: "unreadable", fault: fault("ProbeFailed", SEEN) };

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
