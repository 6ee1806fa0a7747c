import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { previewOf } from "../../src/domain/preview.ts";
import { bytesOf } from "../../src/domain/sizes.ts";
import type { Issue, Preview, StageSpec } from "../../src/domain/stored.ts";
import { aPlan, aSpec, aStage, aTask, type Pipeline } from "../support/build.ts";
import type { KindName } from "../support/domain-kinds.ts";
import { cases } from "../support/seed.ts";

const WARNING: Issue = { severity: "warning", path: "spec.target.endpoints", value: "1", message: "only one endpoint" };
const UNFENCED = "its receiver checks no fence; safe only while pauses and delays are bounded";

function preview(pipeline: Pipeline, issues: readonly Issue[] = []): Preview {
  const spec = aSpec({ pipeline, dryRun: true });
  const view = aTask({ phase: "Validating", spec: { stages: spec.stages, dryRun: true } });
  return previewOf(view, { ...view.status, plan: aPlan(spec) }, issues);
}

const legacy = (name: string): StageSpec => aStage(name, "tell", { endpoint: "legacy" });

describe("what a dry run shows", () => {
  test("each stage, and the undo in its order with what it does", () => {
    expect(preview({ route: "write", notify: "tell", check: "look" })).toEqual({
      stages: [
        { stage: "route", does: "put k:route" },
        { stage: "notify", does: "tell 2" },
        { stage: "check", does: "ask for 42" },
      ],
      undo: [
        { stage: "route", part: "write", does: "put back k:route" },
        { stage: "notify", part: "announce", does: "tell 2" },
        { stage: "check", part: "verify", does: "ask for 41" },
      ],
      warnings: [],
    });
  });

  test("[S8] stages whose receivers check no fence are named before all other warnings", () => {
    expect(preview({ route: "write", old: legacy("old") }, [WARNING]).warnings).toEqual([
      `stage old: ${UNFENCED}`,
      "spec.target.endpoints: only one endpoint",
    ]);
  });

  test("[S8] however many warnings there are", () => {
    const many = Array.from({ length: 40 }, () => WARNING);
    const { warnings } = preview({ route: "write", old: legacy("old") }, many);
    expect(warnings).toHaveLength(16);
    expect(warnings[0]).toBe(`stage old: ${UNFENCED}`);
  });

  test("what cannot be rendered before something ran has no words", () => {
    const broken = aStage("notify", "tell", { content: "${nothing}" });
    expect(preview({ notify: broken }).stages).toEqual([{ stage: "notify", does: "" }]);
  });

  test("a line is at most 160 characters", () => {
    const long = aStage("route", "write", { key: "k".repeat(400) });
    const { stages, undo } = preview({ route: long });
    expect([stages[0]?.does.length, undo[0]?.does.length]).toEqual([160, 160]);
  });
});

test("[S25] any plan of up to 32 stages is shown whole in 8 KiB; names of 40 characters may take 12", () => {
  const kinds = fc.constantFrom<KindName>("write", "duo", "tell", "look", "wait");
  const plans = fc.record({
    kinds: fc.array(kinds, { minLength: 1, maxLength: 32, size: "max" }),
    name: fc.integer({ min: 3, max: 40 }),
    key: fc.constantFrom("k", "k".repeat(200), "é".repeat(200)),
    issues: fc.array(fc.constant<Issue>({ ...WARNING, message: "m".repeat(256) }), { maxLength: 20 }),
  });
  fc.assert(
    fc.property(plans, ({ kinds: names, name, key, issues }) => {
      const stages = names.map((kind, i) => {
        const of = `s${i}`.padEnd(name, "x");
        return [of, kind === "write" || kind === "duo" ? aStage(of, kind, { key: `${key}${i}` }) : kind] as const;
      });
      const shown = preview(Object.fromEntries(stages), issues);
      expect(shown.stages.map(({ stage }) => stage)).toEqual(stages.map(([of]) => of));
      const parts = stages.map(([, kind]) =>
        kind === "wait" ? 0 : typeof kind !== "string" && kind.kind === "duo" ? 2 : 1,
      );
      expect(shown.undo).toHaveLength(parts.reduce<number>((sum, n) => sum + n, 0));
      expect(bytesOf(shown)).toBeLessThanOrEqual(name <= 12 ? 8192 : 12 * 1024);
    }),
    cases(100),
  );
});
