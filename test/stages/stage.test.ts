import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { fault } from "../../src/lib/failures.ts";
import { millisOf } from "../../src/lib/time.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { addressOf, fanOut, together, type Verdict } from "../../src/stages/stage.ts";
import { planOf, undecodable } from "../support/stage-rig-plan.ts";

const about = { endpoint: "e", address: "a", status: "500" };
const VERDICTS: Readonly<Record<Verdict["is"], Verdict>> = {
  acked: { is: "acked" },
  retryable: { is: "retryable", fault: fault("ReceiverBusy", about), after: null },
  terminal: { is: "terminal", fault: fault("HttpRejected", about) },
  unknown: { is: "unknown", fault: fault("ServerError", about) },
  fenced: { is: "fenced", fault: fault("Fenced", { ...about, seen: "x" }) },
  diverged: { is: "diverged", fault: fault("Diverged", { ...about, seen: "x" }) },
};
const outcomeOf = (...verdicts: readonly Verdict["is"][]): string =>
  together(verdicts.map((is, i) => [`i${i}`, VERDICTS[is]]))?.is ?? "done";

describe("the outcome of a fan-out", () => {
  const RANKS = ["acked", "retryable", "terminal", "unknown", "fenced", "diverged"] as const;
  test("all acknowledged is done", () => expect(outcomeOf("acked", "acked")).toBe("done"));

  test("otherwise the gravest verdict, whatever the order", () => {
    let pairs = 0;
    for (const [i, one] of RANKS.entries()) {
      for (const other of RANKS.slice(0, i)) {
        expect([outcomeOf(one, other), outcomeOf(other, one)]).toEqual([one, one]);
        pairs += 1;
      }
    }
    expect(pairs).toBe(15);
  });

  test("names who acknowledged and who did not, by code", () => {
    const outcome = together([
      ["a", VERDICTS.acked],
      ["b", VERDICTS.retryable],
      ["c", VERDICTS.terminal],
    ]);
    expect(outcome).toMatchObject({
      is: "terminal",
      reach: {
        acked: ["a"],
        failures: [
          { address: "b", code: "ReceiverBusy" },
          { address: "c", code: "HttpRejected" },
        ],
      },
    });
  });

  test("waits for the longest of what was asked for", () => {
    const busy = (after: number | null): Verdict => ({
      is: "retryable",
      fault: fault("ReceiverBusy", about),
      after: after === null ? null : millisOf(after),
    });
    const verdicts = [null, 5, 9, 7].map((after, i) => [`i${i}`, busy(after)] as const);
    expect(together(verdicts)).toMatchObject({ is: "retryable", after: 9 });
    expect(together([["i", busy(null)]])).toMatchObject({ after: null });
  });
});

describe("fanOut", () => {
  test("has at most so many under way at once, and keeps the order", async () => {
    let [under, most] = [0, 0];
    const items = Array.from({ length: 50 }, (_, i) => i);
    const results = await fanOut(items, 7, async (item) => {
      under += 1;
      most = Math.max(most, under);
      for (let i = 0; i <= item % 3; i += 1) await setImmediate();
      under -= 1;
      return item * 2;
    });
    expect(results).toEqual(items.map((item) => item * 2));
    expect(most).toBe(7);
  });
  test("of nothing is nothing", async () => {
    expect(await fanOut([], 7, async () => 1)).toEqual([]);
  });
});

test("an instance is a name and an address", () => {
  expect(addressOf("im-gateway|10.0.3.7:8080")).toBe("10.0.3.7:8080");
  expect(addressOf("im-gateway|[fd00::1]:8080")).toBe("[fd00::1]:8080");
});

describe("the registry", () => {
  test("[R53] finds each kind under its own name, each in a file of that name", () => {
    expect(Object.entries(STAGES).map(([name, { kind }]) => [name, kind])).toEqual([
      ["http", "http"],
      ["redis", "redis"],
      ["verify", "verify"],
      ["wait", "wait"],
      ["approval", "approval"],
    ]);
  });
  test("[R53] an unknown kind, no kind and two kinds are refused", () => {
    expect(undecodable({ carrierPigeon: {} })).toHaveLength(1);
    expect(undecodable({})).toEqual([expect.stringContaining("exactly one of http, redis, verify, wait, approval")]);
    expect(undecodable({ wait: { duration: "1s" }, approval: {} })).toEqual([
      expect.stringContaining("exactly one of"),
    ]);
  });
  test("what a kind promises as outputs can be read by later stages, and nothing else", () => {
    const promised = Object.fromEntries(Object.entries(STAGES).map(([name, { outputs }]) => [name, outputs]));
    expect(promised).toEqual({
      http: ["instances"],
      redis: ["key", "version"],
      verify: ["instances", "version"],
      wait: [],
      approval: ["approvedBy"],
    });
    const before = [{ name: "gate", approval: {} }];
    const reading = (key: string): object => ({
      http: { endpoint: "open", path: "/x", body: `\${stages.gate.outputs.${key}}` },
    });
    expect(planOf(reading("approvedBy"), { before }).issues).toEqual([]);
    expect(planOf(reading("version"), { before }).issues).toHaveLength(1);
  });
});
