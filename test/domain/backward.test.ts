import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { sidesOf } from "../../src/domain/backward.ts";
import { decide } from "../../src/domain/decide.ts";
import { settle } from "../../src/domain/settle.ts";
import { entryOf } from "../../src/domain/status.ts";
import type { StageEntry, Status, TurnCause } from "../../src/domain/stored.ts";
import type { Phase } from "../../src/domain/phase.ts";
import {
  type About,
  actOf,
  after,
  aPlan,
  aSpec,
  aStage,
  aTask,
  at,
  decided,
  heldTenant,
  NOON,
  say,
  storedBy,
} from "../support/build.ts";
import { SETTINGS } from "../support/domain-kinds.ts";

const back = (about: About): About => ({ phase: "RollingBack", ...about });
const undone = (...parts: readonly string[]): Partial<StageEntry> => ({
  state: "RolledBack",
  undone: parts,
  part: parts.at(-1) ?? null,
});
const failure: Status["failure"] = {
  type: "Conflict",
  code: "ForeignEdit",
  stage: "route",
  message: "",
  retryable: false,
  at: at(1),
};

const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
  // Turning
  [
    "[S4] rollback undoes what was claimed",
    { stages: { route: "Completed" }, control: { rollback: true } },
    "undo route/write: Claimed",
  ],
  [
    "[F9] the failed stage, too",
    { phase: "Failed", stages: { route: "Failed" }, status: { failure }, control: { rollback: true } },
    "undo route/write: Claimed",
  ],
  [
    "Failed with onFailure: Rollback goes back by itself",
    { phase: "Failed", stages: { route: "Failed" }, status: { failure }, spec: { onFailure: "Rollback" } },
    "undo route/write: Claimed",
  ],
  [
    "nothing was claimed: over in the same write, without an effect",
    { phase: "Pending", control: { rollback: true } },
    "write RolledBack: NothingClaimed",
  ],
  [
    "only reads and gates were claimed: nothing to undo, nobody to ask",
    {
      pipeline: { hold: "approval", check: "look", route: "write" },
      stages: { hold: "Completed", check: "Mine" },
      control: { rollback: true },
    },
    "write RolledBack: AllUndone",
  ],
  [
    "a gate that is open stops at once",
    {
      pipeline: { route: "write", hold: "approval" },
      stages: { route: "Completed", hold: "Mine" },
      control: { rollback: true },
    },
    "undo route/write: Claimed",
  ],
  [
    "so does the read of another process",
    {
      pipeline: { route: "write", check: "look" },
      stages: { route: "Completed", check: "Running" },
      control: { rollback: true },
    },
    "undo route/write: Claimed",
  ],
  [
    "a write of a process that is gone keeps its claim until nobody can act under it",
    { stages: { route: "Running" }, control: { rollback: true } },
    "write RollingBack: ClaimantMayLive",
  ],

  // Going back
  ["[S2] writes first", back({ stages: { route: "Completed", notify: "Completed" } }), "undo route/write: Claimed"],
  [
    "[S2] then announces",
    back({ stages: { route: undone("write"), notify: "Completed" } }),
    "undo notify/announce: Claimed",
  ],
  [
    "[S2] then the previous unit is asked",
    back({ stages: { route: undone("write"), notify: undone("announce") } }),
    "run check/verify: Claimed",
  ],
  [
    "[R25] RolledBack only after that",
    back({ stages: { route: undone("write"), notify: undone("announce"), check: undone("verify") } }),
    "write RolledBack: AllUndone",
  ],
  [
    "an undo that cancel asked for ends Cancelled",
    back({ stages: { route: undone("write"), check: undone("verify") }, status: { turnedBackBy: "Cancel" } }),
    "write Cancelled: AllUndone",
  ],
  [
    "an undo backs off like everything else",
    back({ stages: { route: { state: "RollingBack", part: "write", retryAt: at(4) } } }),
    "sleep 4s: BackingOff",
  ],
  [
    "a back-off of the forward way does not hold the undo",
    back({ stages: { route: { state: "Running", retryAt: at(4) } } }),
    "undo route/write: Claimed",
  ],
  [
    "an undo whose process is gone is repeated once nobody can act under its claim",
    back({
      stages: {
        route: { state: "RollingBack", part: "write", claim: { nonce: "x", by: "y", at: NOON, until: at(20) } },
      },
    }),
    "sleep 20s: ClaimantMayLive",
  ],
  [
    "[S26] it needs no probe: an undo may be repeated",
    back({
      stages: {
        route: { state: "RollingBack", part: "write", claim: { nonce: "x", by: "y", at: NOON, until: at(20) } },
      },
      view: { claimantGone: true },
    }),
    "undo route/write: TakeOver",
  ],
  [
    "a verify whose process is gone starts again",
    back({
      stages: {
        route: undone("write"),
        check: { state: "RollingBack", part: "verify", claim: { nonce: "x", by: "y", at: NOON, until: null } },
      },
    }),
    "run check/verify: TakeOver",
  ],
];

const verifying = (about: Partial<About> = {}): About =>
  back({
    stages: {
      route: undone("write"),
      check: { state: "RollingBack", part: "verify", claim: { nonce: "mine", by: "turnout-0", at: NOON, until: null } },
    },
    mine: {},
    ...about,
  });

const POLLING: readonly (readonly [rule: string, about: About, decision: string])[] = [
  ["our own verify sleeps until its next round", verifying({ mine: { waitLeft: seconds(3) } }), "sleep 3s: Poll"],
  ["or until its timeout", verifying(), "sleep 5m: Poll"],
  ["and asks again then", verifying({ mine: { waitLeft: millisOf(0) } }), "poll check/verify: Poll"],
  [
    "one that the settings no longer render waits for its endpoint",
    verifying({ mine: { waitLeft: millisOf(0) }, view: { settings: { ...SETTINGS, endpoints: {} } } }),
    "write RollingBack: EndpointUnavailable",
  ],
  [
    "one that runs out of time is a failed rollback",
    verifying({ spec: { stages: [aStage("route", "write"), aStage("check", "look", {}, { timeout: millisOf(0) })] } }),
    "write RollbackFailed: StageTimeout",
  ],
  [
    "one that is not due any more is given up",
    verifying({
      stages: {
        route: undone("write"),
        check: {
          state: "RollingBack",
          part: "verify-again",
          undone: ["verify"],
          claim: { nonce: "mine", by: "turnout-0", at: NOON, until: null },
        },
      },
    }),
    "write RolledBack: AllUndone",
  ],

  // RollbackFailed
  [
    "RollbackFailed rests",
    { phase: "RollbackFailed", stages: { route: { state: "RollingBack" } }, status: { failure } },
    "sleep: UndoFailed",
  ],
  [
    "and can be retried for ever",
    {
      phase: "RollbackFailed",
      stages: { route: { state: "RollingBack" } },
      status: { failure, retried: 7 },
      control: { retry: 8 },
    },
    "undo route/write: Claimed",
  ],
  [
    "with a number that was not used yet",
    {
      phase: "RollbackFailed",
      stages: { route: { state: "RollingBack" } },
      status: { failure, retried: 7 },
      control: { retry: 7 },
    },
    "sleep: UndoFailed",
  ],
];

describe("the way back", () => {
  test("no row is lost", () => expect([ROWS.length, POLLING.length]).toEqual([18, 9]));

  test.each([...ROWS, ...POLLING])("%s", (_rule, about, decision) => {
    expect(say(decided(aTask(about), NOON))).toBe(decision);
  });

  const CAUSES: readonly (readonly [cause: TurnCause, about: About, ends: Phase])[] = [
    ["Rollback", { control: { rollback: true } }, "RolledBack"],
    ["Cancel", { control: { cancel: true } }, "Cancelled"],
    ["Deletion", { view: { deletedAt: NOON } }, "RolledBack"],
    ["Failure", { phase: "Failed", status: { failure }, spec: { onFailure: "Rollback" } }, "RolledBack"],
  ];
  test.each(CAUSES)("turned back by %s it remembers why, and ends so", (cause, about, ends) => {
    const turned = storedBy(decide(aTask({ ...about, stages: { route: "Completed" } }), NOON));
    expect([turned.direction, turned.turnedBackBy, turned.phase, turned.finishedAt]).toEqual([
      "Back",
      cause,
      "RollingBack",
      null,
    ]);
    const last = back({ stages: { route: undone("write"), check: undone("verify") }, status: { turnedBackBy: cause } });
    expect(storedBy(decide(aTask(last), at(9)))).toMatchObject({ phase: ends, finishedAt: at(9) });
  });

  test("a read or gate has nothing to undo: it is RolledBack without a claim", () => {
    const about: About = {
      pipeline: { hold: "approval", route: "write", pause: "wait" },
      stages: { hold: "Completed", route: "Completed", pause: "Mine" },
      control: { rollback: true },
    };
    const { stages } = storedBy(decide(aTask(about), NOON));
    expect(stages.map(({ name, state, claim }) => `${name} ${state} ${claim !== null}`)).toEqual([
      "hold RolledBack false",
      "route RollingBack true",
      "pause RolledBack false",
    ]);
  });

  test("[S7] so is every stage where nothing could have moved the tenant", () => {
    const about: About = {
      pipeline: { check: "look", route: "write" },
      stages: { check: "Mine" },
      control: { rollback: true },
    };
    expect(storedBy(decide(aTask(about), NOON)).stages.map(({ state }) => state)).toEqual(["RolledBack"]);
  });

  test("what was skipped without a claim stays Skipped", () => {
    const about: About = {
      stages: { route: { state: "Skipped", seq: 0 }, notify: "Completed" },
      control: { rollback: true },
    };
    const status = storedBy(decide(aTask(about), NOON));
    expect(entryOf(status, "route")?.state).toBe("Skipped");
    expect(entryOf(status, "notify")?.state).toBe("RollingBack");
  });

  test("with no previous known, verifies are left out of it and over at once", () => {
    const about: About = {
      stages: { route: "Completed", check: "Completed" },
      status: { plan: aPlan(aSpec(), null) },
      tenant: heldTenant({ current: null }),
      control: { rollback: true },
    };
    expect(storedBy(decide(aTask(about), NOON)).stages.map(({ state }) => state)).toEqual([
      "RollingBack",
      "RolledBack",
    ]);
  });

  test("[S26] a write whose process is gone leaves a doubt, a read leaves none", () => {
    const claim = { nonce: "x", by: "y", at: NOON, until: at(20) };
    const write = back({ stages: { route: { state: "Running", claim } }, view: { claimantGone: true } });
    const freed = aTask({ ...write, view: { claimSeenFor: seconds(23), settings: { ...SETTINGS, endpoints: {} } } });
    expect(entryOf(storedBy(decide(freed, NOON)), "route")).toMatchObject({ claim: null, outcome: "Unknown" });
    const read = back({
      stages: {
        route: undone("write"),
        check: { state: "RollingBack", part: "verify", claim: { ...claim, until: null } },
      },
    });
    expect(entryOf(storedBy(decide(aTask(read), NOON)), "check")?.outcome).toBeNull();
  });

  test("a retry of the undo grants new attempts and a new timeout", () => {
    const about: About = {
      phase: "RollbackFailed",
      stages: { route: { state: "RollingBack", part: "write", attempts: 3, retryAt: at(90) } },
      status: { failure },
      control: { retry: 1 },
    };
    const status = storedBy(decide(aTask(about), at(60)));
    expect(entryOf(status, "route")).toMatchObject({ attempts: 4, attemptsBefore: 3, since: at(60), retryAt: null });
    expect([status.failure, status.retried, status.phase, status.pausedFor]).toEqual([
      null,
      1,
      "RollingBack",
      seconds(59),
    ]);
    expect(storedBy(decide(aTask({ ...about, status: {} }), at(60))).pausedFor).toBe(0);
  });

  test("[R41] a failed rollback says which stages are on which side", () => {
    const view = aTask({
      phase: "RollbackFailed",
      pipeline: { a: "write", b: "write" },
      stages: { a: "Completed", b: undone("write") },
    });
    expect(sidesOf(view, view.status)).toEqual({ undone: ["b"], ahead: ["a"] });
    const asking = aTask({
      phase: "RollbackFailed",
      pipeline: { a: "write", check: "look" },
      stages: { a: undone("write"), check: "Completed" },
    });
    expect(sidesOf(asking, asking.status)).toEqual({ undone: ["a"], ahead: [] });
  });

  test("[S2] a stage of two parts is undone part by part", () => {
    const view = aTask(back({ pipeline: { a: "duo" }, stages: { a: "Completed" } }));
    const first = decide(view, NOON);
    const held = after(view, first);
    const settled = settle(held, actOf(first), { is: "done", outputs: {} }, at(1));
    expect(entryOf(settled, "a")).toMatchObject({ state: "RollingBack", undone: ["write"], claim: null });
    const second = decide({ ...held, status: settled }, at(1));
    expect(say(second)).toBe("undo a/publish: Claimed");
    const done = settle(after(view, second), actOf(second), { is: "done", outputs: {} }, at(2));
    expect(entryOf(done, "a")).toMatchObject({ state: "RolledBack", undone: ["write", "publish"] });
  });
});
