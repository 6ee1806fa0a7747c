import { describe, expect, test } from "vitest";
import { quietUntil } from "../../src/domain/claims.ts";
import { decide } from "../../src/domain/decide.ts";
import type { StageEntry } from "../../src/domain/stored.ts";
import { after, anEntry, aStage, aTask, at, NOON, say, storedBy, withStored } from "../support/build.ts";

describe("receivers without fences", () => {
  const legacy = (name: string): ReturnType<typeof aStage> => aStage(name, "repeat", { endpoint: "legacy" });
  const pipeline = { first: legacy("first"), second: legacy("second"), third: "tell" } as const;
  const quiet: Partial<StageEntry> = { state: "Completed", quietUntil: at(23) };

  test("◆ [S8] another operation waits until nothing that was sent may still arrive", () => {
    const view = aTask({ pipeline, stages: { first: quiet } });
    const decision = decide(view, NOON);
    expect(say(decision)).toBe("write Running: Quiescing");
    expect(storedBy(decision).waiting).toMatchObject({ reason: "Quiescing", until: at(23) });
    expect(say(decide(after(view, decision), at(3)))).toBe("sleep 20s: Quiescing");
    expect(say(decide(after(view, decision), at(23)))).toBe("run second: Claimed");
  });

  test("a retry of the same operation need not wait", () => {
    const view = aTask({ pipeline, stages: { first: { state: "Running", quietUntil: at(23) } } });
    expect(say(decide(view, NOON))).toBe("run first: Claimed");
  });

  test("its undo is another operation", () => {
    const view = aTask({ phase: "RollingBack", pipeline: { first: legacy("first") }, stages: { first: quiet } });
    expect(say(decide(view, NOON))).toBe("write RollingBack: Quiescing");
  });

  test("a retry of the undo need not wait", () => {
    const entry = { state: "RollingBack", part: "announce", quietUntil: at(23) } as const;
    const view = aTask({ phase: "RollingBack", pipeline: { first: legacy("first") }, stages: { first: entry } });
    expect(say(decide(view, NOON))).toBe("undo first/announce: Claimed");
  });

  test("a receiver with fences needs no wait", () => {
    const view = aTask({ pipeline, stages: { first: quiet, second: "Completed" } });
    expect(say(decide(view, NOON))).toBe("run third: Claimed");
  });

  test("a verify of the undo asks at once: it is asked again when all is quiet", () => {
    const view = aTask({
      phase: "RollingBack",
      pipeline: { first: legacy("first"), check: aStage("check", "look", { endpoint: "legacy" }) },
      stages: { first: { state: "RolledBack", part: "announce", undone: ["announce"], quietUntil: at(23) } },
    });
    const asked = decide(view, NOON);
    expect(say(asked)).toBe("run check/verify: Claimed");
    const seen = withStored(view, {
      ...view.status,
      seq: 2,
      stages: [
        ...view.status.stages,
        anEntry(aStage("check", "look"), { state: "RollingBack", part: "verify", undone: ["verify"] }, 2),
      ],
    });
    expect(say(decide(seen, NOON))).toBe("write RollingBack: Quiescing");
    expect(say(decide(seen, at(23)))).toBe("run check/verify-again: Claimed");
  });

  test("the latest of all counts", () => {
    const view = aTask({ pipeline, stages: { first: quiet, second: { state: "Completed", quietUntil: at(40) } } });
    expect(quietUntil(view.status, null)).toBe(at(40));
    expect(quietUntil({ ...view.status, stages: view.status.stages.toReversed() }, null)).toBe(at(40));
    expect(quietUntil(aTask().status, null)).toBeNull();
  });
});
