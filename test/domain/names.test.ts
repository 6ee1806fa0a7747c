import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planStage } from "../../src/domain/plan.ts";
import { basisOf } from "../../src/domain/basis.ts";
import type { StageEntry } from "../../src/domain/stored.ts";
import { aStage, aTask, decided, NOON, say, type StageAbout } from "../support/build.ts";
import { cases } from "../support/seed.ts";
import type { KindName } from "../support/domain-kinds.ts";

/** What people name may be called as every JavaScript object has something called. */
const NAME = "constructor";
const named = <V>(value: V): Readonly<Record<string, V>> => Object.fromEntries([[NAME, value]]);

describe("[SEC-44] a name is looked up among what was given, never among what every object has", () => {
  const settled: Partial<StageEntry> = { state: "Running", claim: null, attempts: 1, retryAt: null };

  test("nobody skipped a stage because of its name", () => {
    const view = aTask({ pipeline: named<KindName>("write"), stages: named(settled) });
    expect(say(decided(view, NOON))).toBe(`run ${NAME}: Claimed`);
  });

  test("nor one that waits", () => {
    const view = aTask({ pipeline: named<KindName>("look"), stages: named<StageAbout>("Mine") });
    expect(say(decided(view, NOON))).toBe("sleep 5m: Poll");
  });

  test("nobody approved", () => {
    const view = aTask({ pipeline: named<KindName>("approval") });
    const decision = decided(view, NOON);
    expect(decision.do === "act" ? decision.act.approvals : null).toEqual({});
  });

  test("an endpoint of that name is not in the settings", () => {
    const view = aTask({ pipeline: { route: aStage("route", "write", { endpoint: NAME }) } });
    expect(planStage(basisOf(view, view.status), 0, "Forward").issues).toEqual([
      {
        severity: "error",
        path: "spec.stages[0].write.endpoint",
        value: NAME,
        message: "is not an endpoint that this namespace may use",
      },
    ]);
    expect(say(decided(view, NOON))).toBe("write Running: EndpointUnavailable");
  });

  test("any name does as any other", () => {
    const kinds = fc.constantFrom<KindName>("write", "tell", "look", "wait", "approval");
    const turn = (name: string, kind: KindName, entry: boolean): string => {
      const about = { pipeline: { [name]: kind }, ...(entry ? { stages: { [name]: settled } } : {}) };
      return say(decided(aTask(about), NOON)).replace(name, "NAME");
    };
    fc.assert(
      fc.property(fc.constantFrom(NAME, "a", "a-1", "then"), kinds, fc.boolean(), (name, kind, entry) => {
        expect(turn(name, kind, entry)).toBe(turn("route", kind, entry));
      }),
      cases(100),
    );
  });
});
