import { describe, expect, test } from "vitest";
import { sendTo } from "../../src/cli/conformance-send.ts";
import { CASES } from "../../src/receiver/conformance.ts";
import type { Target } from "../../src/receiver/conformance-play.ts";
import { conform, freshRun, notPassed, trialFolder } from "../support/receiver-target.ts";
import { MISTAKES, type Mistake, openWrongReceiver } from "../support/wrong-receiver.ts";

/** The case that must find the mistake; others may find it too. */
const FOUND_BY: Readonly<Record<Mistake, string>> = {
  acceptsLowerFence: "lower-fence",
  acceptsLowerFenceOfSameOperation: "late-double",
  ignoresNewClaimOfSameOperation: "new-claim",
  forgetsNewClaimOnRestart: "restart-new-claim",
  appliesAgain: "same-again",
  acceptsEqualFence: "equal-fence",
  ignoresBase: "above-base",
  remembersDiverged: "above-base",
  ignoresContent: "content-differs",
  firstLeavesNoFence: "undo-of-nothing",
  undoRestoresFence: "undo-then-original",
  fencePerService: "per-tenant",
  tenantWithoutNamespace: "per-tenant",
  writesLate: "at-once",
  appliesDoublesTwice: "doubles-at-once",
  refusesHigherFence: "higher-fence",
  getAnswersAnotherTime: "same-again",
  forgetsFenceOnRestart: "restart-fence",
  forgetsInForceOnRestart: "restart-in-force",
  failureLeavesNoFence: "failed-fence",
  failureCountsAsDone: "failed-again",
  failureLeavesOldInForce: "failed-between",
  comparesAnyText: "malformed-fence",
  takesNoFence: "missing-fence",
  takesAnyClaim: "malformed-claim",
  takesAnybody: "nobody",
  remembersStrangers: "wrong-credential",
  readsBodyFirst: "before-the-body",
  takesAnyTenantHeader: "tenant-header",
  takesAnySize: "oversized",
  takesAnyBody: "malformed-body",
  takesLastOfDoubledKeys: "malformed-body",
  refusesUnknownKeys: "unknown-keys",
  takesAnyType: "content-type",
  inventsTenants: "unknown-tenant",
  answersEverything: "small-answers",
  quotesBody: "quotes-nothing",
  decodesTwice: "path-encoding",
  answersOtherMethods: "methods",
  hidesAge: "first-apply",
};

async function runAgainst(mistake: Mistake | null, only: string | null) {
  await using folder = await trialFolder();
  await using wrong = await openWrongReceiver(folder.token, mistake);
  const target: Target = {
    ...freshRun(),
    authenticates: true,
    send: (request) =>
      sendTo(
        { origin: wrong.origin, token: folder.token, timeoutMs: mistake === "readsBodyFirst" ? 500 : 10_000 },
        request,
      ),
    restart: async () => wrong.restart(),
    failNext: async (tenant) => wrong.failNext(tenant),
    effects: async (tenant) => wrong.effects(tenant),
  };
  return await conform(
    target,
    CASES.filter(({ id }) => only === null || id === only),
  );
}

describe("the conformance suite", () => {
  test("a second implementation, written from the guide alone, passes", async () => {
    const results = await runAgainst(null, null);
    expect(notPassed(results)).toEqual([]);
    expect(results).toHaveLength(CASES.length);
  });

  test.each(MISTAKES)("finds the receiver that %s", async (mistake) => {
    const [result] = await runAgainst(mistake, FOUND_BY[mistake]);
    expect(result).toMatchObject({ id: FOUND_BY[mistake], outcome: "failed" });
    // Silence is the answer of one of them only: it waits for a body that never comes.
    expect(result?.detail.startsWith("no answer")).toBe(mistake === "readsBodyFirst");
  });

  test("each case has been seen to fail, on a mistake of its own", () => {
    const seen = new Set(Object.values(FOUND_BY));
    expect(CASES.map(({ id }) => id).filter((id) => !seen.has(id))).toEqual([]);
  });
});
