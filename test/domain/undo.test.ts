import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileUndo, undoLeft, undoPlanOf, undoStages, wasClaimed } from "../../src/domain/undo.ts";
import { anEntry, aPlan, aSpec, aStage, aTask, type Pipeline } from "../support/build.ts";
import { KINDS, type KindName } from "../support/domain-kinds.ts";
import { cases } from "../support/seed.ts";
import { undoOrder } from "../support/undo-order.ts";

const stagesOf = (pipeline: Pipeline) => undoStages(aSpec({ pipeline }), KINDS);
const FENCED = { previousKnown: true, unfenced: false };
const say = (steps: readonly { readonly stage: string; readonly part: string }[]): string =>
  steps.map(({ stage, part }) => `${stage}/${part}`).join(" ");

const ROWS: readonly (readonly [rule: string, pipeline: Pipeline, order: string])[] = [
  [
    "[S2] write, notify, verify, patch → unpatch, unwrite, notify again, verify previous",
    { write: "write", notify: "tell", verify: "look", patch: "write" },
    "patch/write write/write notify/announce verify/verify",
  ],
  ["[S2] writes of one run are undone in reverse", { a: "write", b: "write" }, "b/write a/write"],
  ["[S2] announces are told again in order", { a: "write", b: "tell", c: "repeat" }, "a/write b/announce c/announce"],
  [
    "[S2] stages before the first write are the first segment, undone last",
    { hello: "tell", check: "look", route: "write", notify: "tell" },
    "route/write notify/announce hello/announce check/verify",
  ],
  [
    "[S2] a stage that writes and publishes: the publish after every write of its segment",
    { a: "duo", b: "write", check: "look" },
    "b/write a/write a/publish check/verify",
  ],
  [
    "[S2] nobody is asked before everybody was told again: what an older segment told still stands until then",
    { a: "write", na: "tell", va: "look", b: "write", vb: "look" },
    "b/write a/write na/announce vb/verify va/verify",
  ],
  ["gates have nothing to undo", { hold: "approval", a: "write", pause: "wait" }, "a/write"],
  [
    "a gate between two writes parts them: what was told in between is told again last",
    { a: "write", n: "tell", hold: "approval", b: "write" },
    "b/write a/write n/announce",
  ],
];

describe("the order of an undo", () => {
  test("no row is lost", () => expect(ROWS).toHaveLength(8));

  test.each(ROWS)("%s", (_rule, pipeline, order) => {
    expect(say(compileUndo(stagesOf(pipeline), FENCED))).toBe(order);
  });

  test("with no previous known there is nobody to verify against", () => {
    expect(say(compileUndo(stagesOf({ a: "write", check: "look" }), { ...FENCED, previousKnown: false }))).toBe(
      "a/write",
    );
  });

  test("[S8] where a receiver checks no fence, the previous unit is asked again at the end", () => {
    const steps = compileUndo(stagesOf({ a: "write", va: "look", b: "write", vb: "look" }), {
      ...FENCED,
      unfenced: true,
    });
    expect(say(steps)).toBe("b/write a/write vb/verify va/verify vb/verify-again va/verify-again");
    expect(steps.map(({ again }) => again)).toEqual([false, false, false, false, true, true]);
  });

  test("[S14] it follows from the frozen plan; before that there is none", () => {
    expect(undoPlanOf(aTask({ phase: "Pending" }), aTask({ phase: "Pending" }).status)).toEqual([]);
    const view = aTask({ stages: { route: "Completed" } });
    expect(say(undoPlanOf(view, view.status))).toBe("route/write notify/announce check/verify");
    expect(undoPlanOf({ ...view, spec: null }, view.status)).toEqual([]);
    const first = { ...view.status, plan: aPlan(aSpec(), null) };
    expect(say(undoPlanOf(view, first))).toBe("route/write notify/announce");
    const legacy = aTask({
      pipeline: { n: aStage("n", "tell", { endpoint: "legacy" }), check: "look" },
      stages: { n: "Completed" },
    });
    expect(say(undoPlanOf(legacy, legacy.status))).toBe("n/announce check/verify check/verify-again");
  });

  test("[S14] [S8] later settings change it no more: the second look stays although the endpoint is gone", () => {
    const pipeline = { n: aStage("n", "tell", { endpoint: "legacy" }), check: aStage("check", "look") } as const;
    const view = aTask({ phase: "RollingBack", pipeline, stages: { n: "Completed" } });
    const { legacy: _gone, ...endpoints } = view.settings.endpoints;
    const later = { ...view, settings: { ...view.settings, endpoints } };
    expect(say(undoPlanOf(later, view.status))).toBe("n/announce check/verify check/verify-again");
  });

  test("a kind that is not known has no part", () => {
    expect(undoStages(aSpec({ pipeline: { a: "write" } }), {})).toEqual([{ name: "a", parts: [] }]);
  });
});

describe("what is left to undo", () => {
  const steps = compileUndo(stagesOf({ a: "write", n: "tell", check: "look", b: "duo" }), FENCED);
  const left = (...entries: Parameters<typeof anEntry>[]): string =>
    say(
      undoLeft(
        steps,
        entries.map((entry) => anEntry(...entry)),
      ),
    );

  test("[S2] everything that was claimed, and every verify", () => {
    expect(left([aStage("a", "write"), "Completed"])).toBe("a/write check/verify");
    expect(left([aStage("a", "write"), "Failed"], [aStage("n", "tell"), "Skipped"])).toBe(
      "a/write n/announce check/verify",
    );
  });

  test("[S2] a stage that was skipped without a claim is not in it", () => {
    expect(left([aStage("a", "write"), "Completed"], [aStage("n", "tell"), { state: "Skipped" }, 0])).toBe(
      "a/write check/verify",
    );
    expect(wasClaimed(undefined)).toBe(false);
  });

  test("nothing where no write or announce was claimed: nothing moved", () => {
    expect(left([aStage("check", "look"), "Completed"])).toBe("");
    expect(left()).toBe("");
  });

  test("a stage is over when its last part has settled", () => {
    expect(left([aStage("b", "duo"), { state: "RollingBack", undone: ["write"] }])).toBe("b/publish check/verify");
    expect(left([aStage("b", "duo"), { state: "RolledBack", undone: ["write", "publish"] }])).toBe("check/verify");
  });
});

describe("any plan", () => {
  const kinds = fc.constantFrom<KindName>("write", "duo", "tell", "repeat", "look", "wait", "approval");
  const pipelines = fc.array(kinds, { maxLength: 12 });
  const named = (names: readonly KindName[]): Pipeline => Object.fromEntries(names.map((kind, i) => [`s${i}`, kind]));

  test("[S2] is undone in the order that an independent reading gives", () => {
    fc.assert(
      fc.property(pipelines, fc.boolean(), fc.boolean(), (names, previousKnown, unfenced) => {
        const { stages } = aSpec({ pipeline: named(names) });
        const claimed = stages.map(({ name }) => name);
        const wanted = undoOrder({ stages }, { previousKnown, unfenced, claimed });
        const steps = compileUndo(undoStages(aSpec({ pipeline: named(names) }), KINDS), { previousKnown, unfenced });
        const writes = stages.some(({ kind }) => kind !== "look" && kind !== "wait" && kind !== "approval");
        expect(writes ? say(steps) : "").toBe(wanted.join(" "));
      }),
      cases(2000),
    );
  });

  test("[S2] has each write and announce in its undo exactly once, and no announce before a write of its segment", () => {
    fc.assert(
      fc.property(pipelines, (names) => {
        const stages = undoStages(aSpec({ pipeline: named(names) }), KINDS);
        const parts = stages.flatMap(({ name, parts: own }) => own.map(({ part }) => `${name}/${part}`));
        const steps = compileUndo(stages, FENCED);
        expect(steps.map(({ stage, part }) => `${stage}/${part}`).toSorted()).toEqual(parts.toSorted());
        for (const [i, step] of steps.entries()) {
          if (step.role !== "write") continue;
          const told = steps.slice(0, i).filter(({ role, index }) => role === "announce" && index < step.index);
          expect(told).toEqual([]);
        }
      }),
      cases(2000),
    );
  });
});
