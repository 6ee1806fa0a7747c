import { describe, expect, test } from "vitest";
import { millisOf, seconds } from "../../src/lib/time.ts";
import { type About, decided, aStage, aTask, at, NOON, say } from "../support/build.ts";
import { SETTINGS } from "../support/domain-kinds.ts";
import { BACKING_OFF, DOUBTED, failedAt, gate, GONE, SKIP } from "./forward-situations.ts";

const ROWS: readonly (readonly [rule: string, about: About, decision: string])[] = [
  // Running, nothing open
  ["[S1] the first stage is claimed first", {}, "run route: Claimed"],
  ["[S1] then the first that has not settled", { stages: { route: "Completed" } }, "run notify: Claimed"],
  ["[S1] a skipped stage has settled", { stages: { route: "Completed", notify: "Skipped" } }, "run check: Claimed"],
  [
    "[R25] Completed only with every stage settled",
    { stages: { route: "Completed", notify: "Skipped", check: "Completed" } },
    "write Completed: AllStagesSettled",
  ],
  ["a failed attempt waits for its back-off", { stages: { route: BACKING_OFF } }, "sleep 5s: BackingOff"],
  ["and is then made again", { stages: { route: { ...BACKING_OFF, retryAt: at(0) } } }, "run route: Claimed"],
  ["[S26] a doubt backs off, too", { stages: { route: { ...DOUBTED, retryAt: at(5) } } }, "sleep 5s: UnknownOutcome"],
  ["[S26] and is asked about before anything is sent", { stages: { route: DOUBTED } }, "probe, run route: Claimed"],
  [
    "[S26] with the attempts used up it is only asked about",
    { stages: { route: { ...DOUBTED, attempts: 3 } } },
    "ask route: Claimed",
  ],
  [
    "[S26] a kind that may be repeated is sent again",
    { pipeline: { route: "repeat" }, stages: { route: DOUBTED } },
    "run route: Claimed",
  ],
  [
    "a back-off never outlasts the stage's own timeout",
    { stages: { route: { ...BACKING_OFF, retryAt: at(1000) } } },
    "sleep 5m: BackingOff",
  ],
  [
    "a stage that runs out of time fails",
    { stages: { route: { ...BACKING_OFF, startedAt: at(-300) } } },
    "write Failed: StageTimeout",
  ],
  [
    "what others or people took does not count",
    { stages: { route: { ...BACKING_OFF, startedAt: at(-300), since: at(-299) } } },
    "sleep 1s: BackingOff",
  ],
  [
    "a stage that is backing off may be skipped",
    { stages: { route: BACKING_OFF }, control: SKIP },
    "run notify: Claimed",
  ],
  [
    "[S26] one whose outcome nobody knows may not",
    { stages: { route: DOUBTED }, control: SKIP },
    "probe, run route: Claimed",
  ],
  ["a stage that does not wait is not skipped", { control: SKIP }, "run route: Claimed"],
  [
    "one that waits for its endpoint and was never claimed is",
    {
      pipeline: { route: "write", hold: "wait" },
      control: SKIP,
      view: GONE,
      status: { waiting: { reason: "EndpointUnavailable", message: "", since: NOON, until: null, unblock: "" } },
    },
    "run hold: Claimed",
  ],
  ["a stage whose endpoint is gone is not claimed", { view: GONE }, "write Running: EndpointUnavailable"],
  [
    "[SEC-14] nobody skips where nothing vouches for the name",
    { stages: { route: BACKING_OFF }, control: SKIP, view: { policiesMissing: true } },
    "sleep 5s: BackingOff",
  ],
  [
    "a skip that was refused stays refused",
    {
      stages: { route: BACKING_OFF },
      control: SKIP,
      status: { commands: { skip: { value: "route:bob:known good", result: "Rejected", reason: "no", at: NOON } } },
    },
    "sleep 5s: BackingOff",
  ],

  // Running, a claim of this process is open
  ["a gate that only a person ends sleeps", gate(), "sleep: Poll"],
  ["a gate is asked when its time has come", gate({ mine: { waitLeft: millisOf(0) } }), "poll hold: Poll"],
  ["and sleeps until then", gate({ mine: { waitLeft: seconds(7) } }), "sleep 7s: Poll"],
  [
    "a read sleeps until its next round",
    { pipeline: { check: "look" }, stages: { check: "Mine" }, mine: { waitLeft: seconds(3) } },
    "sleep 3s: Poll",
  ],
  [
    "a read that waits for nobody ends with its timeout",
    { pipeline: { check: "look" }, stages: { check: "Mine" } },
    "sleep 5m: Poll",
  ],
  [
    "the rounds of a read end with its timeout",
    {
      pipeline: { check: "look" },
      stages: { check: "Mine" },
      mine: { waitLeft: millisOf(0) },
      status: {},
      view: { settings: { ...SETTINGS, defaults: { ...SETTINGS.defaults, timeout: millisOf(0) } } },
      spec: { stages: [aStage("check", "look", {}, { timeout: millisOf(0) })] },
    },
    "write Failed: StageTimeout",
  ],
  [
    "a gate has no timeout of its own",
    { pipeline: { hold: aStage("hold", "wait", {}, { timeout: millisOf(0) }) }, stages: { hold: "Mine" } },
    "sleep: Poll",
  ],
  [
    "a gate that waits may be skipped",
    {
      pipeline: { hold: "wait", notify: "tell" },
      stages: { hold: "Mine" },
      control: { skip: { hold: { by: "bob", reason: "late" } } },
    },
    "run notify: Claimed",
  ],
  ["an approval is never skipped", gate({ control: { skip: { hold: { by: "bob", reason: "late" } } } }), "sleep: Poll"],
  [
    "a poll whose endpoint is gone waits for it, and says so",
    { pipeline: { check: "look" }, stages: { check: "Mine" }, mine: { waitLeft: millisOf(0) }, view: GONE },
    "write Running: EndpointUnavailable",
  ],

  // Running, a claim of a process that is gone is open
  [
    "[S26] a claimant may still act: wait out its time to live",
    { stages: { route: "Running" } },
    "sleep 20s: ClaimantMayLive",
  ],
  [
    "◆ by this process's own clock, since it first saw the claim",
    { stages: { route: "Running" }, view: { claimSeenFor: seconds(19) } },
    "sleep 1s: ClaimantMayLive",
  ],
  [
    "[S26] then it is claimed again and asked about",
    { stages: { route: "Running" }, view: { claimSeenFor: seconds(20) } },
    "probe, run route: TakeOver",
  ],
  [
    "its lease seen to end is enough where receivers fence",
    { stages: { route: "Running" }, view: { claimantGone: true } },
    "probe, run route: TakeOver",
  ],
  [
    "and not where one does not: the request may still be under way",
    {
      pipeline: { notify: aStage("notify", "tell", { endpoint: "legacy" }) },
      stages: { notify: "Running" },
      view: { claimantGone: true },
    },
    "sleep 23s: ClaimantMayLive",
  ],
  [
    "a take-over is not charged to the stage",
    {
      stages: { route: { ...DOUBTED, attempts: 3, claim: { nonce: "x", by: "y", at: NOON, until: at(20) } } },
      view: { claimantGone: true },
    },
    "probe, run route: TakeOver",
  ],
  [
    "[S26] a kind that may be repeated is repeated",
    { pipeline: { route: "repeat" }, stages: { route: "Running" }, view: { claimantGone: true } },
    "run route: TakeOver",
  ],
  [
    "[S26] one that can neither be asked nor repeated holds for a person",
    { pipeline: { route: "once" }, stages: { route: "Running" }, view: { claimantGone: true } },
    "write Failed: UnknownOutcome",
  ],
  [
    "[L3] a read starts again at once",
    { pipeline: { check: "look" }, stages: { check: "Running" } },
    "run check: TakeOver",
  ],
  [
    "[L3] even against a receiver without fences: it sends nothing that could be late",
    { pipeline: { check: aStage("check", "look", { endpoint: "legacy" }) }, stages: { check: "Running" } },
    "run check: TakeOver",
  ],
  [
    "a gate that was skipped while nobody looked is not asked again",
    {
      pipeline: { hold: "wait", notify: "tell" },
      stages: { hold: "Running" },
      control: { skip: { hold: { by: "bob", reason: "late" } } },
    },
    "run notify: Claimed",
  ],
  [
    "a take-over whose endpoint is gone waits for it",
    { stages: { route: "Running" }, view: { claimSeenFor: seconds(23), ...GONE } },
    "write Running: EndpointUnavailable",
  ],

  // Paused, Resuming
  ["Paused rests", { phase: "Paused", control: { paused: true } }, "sleep: Paused"],
  ["a field that vanished does not resume", { phase: "Paused" }, "sleep: Paused"],
  ["an explicit false does", { phase: "Paused", control: { paused: false } }, "write Resuming: ResumeAsked"],
  ["what was paused before it began waits for the lock again", { phase: "Resuming" }, "write Pending: Resumed"],
  [
    "[R70] the stage that the pause cut short is claimed again",
    { phase: "Resuming", stages: { route: { state: "Running" } } },
    "run route: Claimed",
  ],
  ["[R70] settled stages stay", { phase: "Resuming", stages: { route: "Completed" } }, "run notify: Claimed"],
  [
    "with all of them settled the task is done",
    { phase: "Resuming", stages: { route: "Completed", notify: "Completed", check: "Completed" } },
    "write Completed: AllStagesSettled",
  ],
  [
    "a claim that nobody settled is taken over",
    { phase: "Resuming", stages: { route: "Running" }, view: { claimantGone: true } },
    "probe, run route: TakeOver",
  ],
  [
    "[S26] or held for a person",
    { phase: "Resuming", pipeline: { route: "once" }, stages: { route: "Running" }, view: { claimantGone: true } },
    "write Failed: UnknownOutcome",
  ],
  [
    "a stage whose time was over before the pause fails",
    { phase: "Resuming", stages: { route: { state: "Running", startedAt: at(-300) } } },
    "write Failed: StageTimeout",
  ],

  // Failed
  [
    "Failed rests until a person says what happens",
    { phase: "Failed", stages: { route: "Failed" }, status: failedAt(1) },
    "sleep: StageFailed",
  ],
  [
    "[R72] a retry runs the failed stage again",
    { phase: "Failed", stages: { route: "Failed" }, status: failedAt(1), control: { retry: 1 } },
    "run route: Claimed",
  ],
  [
    "[F17] from the checkpoint: what settled is not done again",
    {
      phase: "Failed",
      stages: { route: "Completed", notify: "Failed" },
      status: failedAt(1, "notify"),
      control: { retry: 1 },
    },
    "run notify: Claimed",
  ],
  [
    "[R25] a retry needs a larger number",
    { phase: "Failed", stages: { route: "Failed" }, status: { ...failedAt(1), retried: 1 }, control: { retry: 1 } },
    "sleep: StageFailed",
  ],
  [
    "[S8] a claim on a receiver that is gone from the settings is waited for as one that checks no fence",
    { stages: { route: "Running" }, view: { ...GONE, claimantGone: true } },
    "sleep 23s: ClaimantMayLive",
  ],
  [
    "with nothing left to do a failure rests",
    { phase: "Failed", stages: { route: "Completed", notify: "Completed", check: "Completed" }, status: failedAt(1) },
    "sleep: StageFailed",
  ],
  [
    "until a retry ends it",
    {
      phase: "Failed",
      stages: { route: "Completed", notify: "Completed", check: "Completed" },
      status: failedAt(1),
      control: { retry: 1 },
    },
    "write Completed: AllStagesSettled",
  ],
  [
    "a retry that lost to a stronger command stays lost",
    {
      phase: "Failed",
      stages: { route: "Failed" },
      status: {
        ...failedAt(1),
        commands: { retry: { value: "2", result: "Superseded", reason: "a stronger command came first", at: NOON } },
      },
      control: { retry: 2 },
    },
    "sleep: StageFailed",
  ],
  [
    "a retry that was refused stays refused",
    {
      phase: "Failed",
      stages: { route: "Failed" },
      status: {
        ...failedAt(1),
        commands: { retry: { value: "2", result: "Rejected", reason: "not Failed", at: NOON } },
      },
      control: { retry: 2 },
    },
    "sleep: StageFailed",
  ],
  [
    "another number is another retry",
    {
      phase: "Failed",
      stages: { route: "Failed" },
      status: { ...failedAt(1), commands: { retry: { value: "2", result: "Superseded", reason: "", at: NOON } } },
      control: { retry: 3 },
    },
    "run route: Claimed",
  ],
  [
    "[S26] what nobody knows about is asked about first",
    {
      phase: "Failed",
      stages: { route: { state: "Failed", outcome: "Unknown", attempts: 3 } },
      status: failedAt(1),
      control: { retry: 1 },
    },
    "probe, run route: Claimed",
  ],
  [
    "[S26] a person's retry is the accepted repeat",
    {
      phase: "Failed",
      pipeline: { route: "once" },
      stages: { route: { state: "Failed", outcome: "Unknown" } },
      status: failedAt(1),
      control: { retry: 1 },
    },
    "run route: Claimed",
  ],
  [
    "pause outranks retry: the task wakes up and claims nothing",
    { phase: "Failed", stages: { route: "Failed" }, status: failedAt(1), control: { retry: 1, paused: true } },
    "write Running: RetryAsked",
  ],
  [
    "a skip of the failed stage goes on behind it",
    { phase: "Failed", stages: { route: "Failed" }, status: failedAt(1), control: SKIP },
    "run notify: Claimed",
  ],
  [
    "pause outranks skip",
    { phase: "Failed", stages: { route: "Failed" }, status: failedAt(1), control: { ...SKIP, paused: true } },
    "write Running: SkipAsked",
  ],
  [
    "a stage that failed before its first claim can be skipped",
    { phase: "Failed", status: failedAt(1), control: SKIP },
    "run notify: Claimed",
  ],
  ["and retried", { phase: "Failed", status: failedAt(1), control: { retry: 1 } }, "run route: Claimed"],
  [
    "[S26] a failed stage whose outcome nobody knows cannot be skipped",
    { phase: "Failed", stages: { route: { state: "Failed", outcome: "Unknown" } }, status: failedAt(1), control: SKIP },
    "sleep: StageFailed",
  ],
  [
    "after a deadline the stage that was under way can be skipped",
    { phase: "Failed", stages: { route: { state: "Running" } }, status: failedAt(1, null), control: SKIP },
    "run notify: Claimed",
  ],
  [
    "a retry with nothing left to do completes",
    {
      phase: "Failed",
      pipeline: { route: "write" },
      stages: { route: "Completed" },
      status: failedAt(1, null),
      control: { retry: 1 },
    },
    "write Completed: AllStagesSettled",
  ],
];

describe("forward", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(72));

  test.each(ROWS)("%s", (_rule, about, decision) => {
    expect(say(decided(aTask(about), NOON))).toBe(decision);
  });
});
