import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import type { Control, Status, TaskSpec } from "../../src/domain/stored.ts";
import { millisOf } from "../../src/lib/time.ts";
import { specs, stories, play } from "../support/arbitrary-runs.ts";
import { aSpec, aStage } from "../support/build.ts";
import type { KindName } from "../support/domain-kinds.ts";
import { claimedBy, wrongWith } from "../support/run-checks.ts";
import { aWorld, make, versionsOf } from "../support/run-domain.ts";
import { type Run, statusOf, viewOf } from "../support/run-process.ts";
import type { Fate, Happening } from "../support/run-world.ts";
import { cases } from "../support/seed.ts";

const TASK = "acme-green";
const begun = (spec: TaskSpec): Run => ({ world: aWorld({ [TASK]: spec }), trace: [] });
const statusIn = (run: Run): Status | null => {
  const task = run.world.tasks[TASK];
  return task === undefined ? null : statusOf(task);
};

/** One turn of the only process. */
const turn = (run: Run, fate: Fate = "ok"): Run =>
  make(run, { move: "turn", process: "p1", task: TASK, fate, put: "ok" });
const asked = (run: Run, control: Partial<Control>): Run =>
  make(make(run, { move: "patch", task: TASK, control }), { move: "sync", process: "p1" });

const lastDecision = ({ trace }: Run): Extract<Happening, { readonly is: "decision" }>["decision"] | undefined =>
  trace.flatMap((one) => (one.is === "decision" ? [one.decision] : [])).at(-1);

/** Turns, with time passing where the task waits for time, until nothing comes of it any more: it slept three times running. */
function rested(from: Run, most = 400): Run {
  let run = from;
  let slept = 0;
  for (let i = 0; i < most; i += 1) {
    run = turn(run);
    const decision = lastDecision(run);
    slept = decision?.do === "sleep" ? slept + 1 : 0;
    if (decision?.do !== "sleep") continue;
    if (decision.after === null || slept === 3) return run;
    run = make(run, { move: "pass", time: millisOf(decision.after + 1) });
  }
  throw new Error(
    `no rest after ${most} turns: ${statusIn(run)?.phase} ${JSON.stringify(lastDecision(run)).slice(0, 200)}`,
  );
}

/** So many turns in which all goes well. */
const after = (spec: TaskSpec, turns: number): Run =>
  Array.from({ length: turns }).reduce<Run>((run) => turn(run), begun(spec));

/** Plans as people write them: stores first, then those who are told, then a look at what they say; and that again. */
const block = (announces: readonly KindName[]): fc.Arbitrary<readonly KindName[]> =>
  fc
    .record({
      writes: fc.array(fc.constantFrom<KindName>("write", "duo"), { minLength: 1, maxLength: 2 }),
      tells: fc.array(fc.constantFrom(...announces), { minLength: 1, maxLength: 2 }),
      looks: fc.boolean(),
    })
    .map(({ writes, tells, looks }) => [...writes, ...tells, ...(looks ? (["look"] as const) : [])]);
const plans = (...announces: readonly KindName[]): fc.Arbitrary<TaskSpec> =>
  fc
    .array(block(announces), { minLength: 1, maxLength: 2 })
    .map((drawn) => aSpec({ stages: drawn.flat().map((kind, i) => aStage(`s${i + 1}`, kind)) }));
const plain = plans("tell", "repeat", "once");
const turns = fc.integer({ min: 0, max: 24 });

/** What a run leaves in the receivers: value and whose it is. */
const left = ({ world }: Run): unknown =>
  Object.fromEntries(
    Object.entries(world.receivers)
      .map(([to, { value }]) => [to, value] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );

describe("where all goes well", { timeout: 60_000 }, () => {
  test("[R48] N stages are Completed with N+1 stage writes and one before them, and nothing is read", () => {
    fc.assert(
      fc.property(plain, (spec) => {
        const run = rested(begun(spec));
        expect(statusIn(run)?.phase).toBe("Completed");
        expect(versionsOf(run, TASK)).toHaveLength(spec.stages.length + 2);
        expect(run.trace.filter((one) => one.is === "decision" && one.decision.do === "read")).toEqual([]);
        expect(wrongWith(run)).toEqual([]);
      }),
      cases(40),
    );
  });

  test("[L8] [S12] what is over stays over, without a write", () => {
    fc.assert(
      fc.property(plain, turns, (spec, more) => {
        const over = rested(begun(spec));
        const later = Array.from({ length: more }).reduce<Run>((run) => turn(run), over);
        expect(versionsOf(later, TASK)).toHaveLength(versionsOf(over, TASK).length);
        expect(later.world.tasks[TASK]).toBe(over.world.tasks[TASK]);
      }),
      cases(40),
    );
  });
});

describe("told to, at any moment", { timeout: 60_000 }, () => {
  test("[L2] [S7] it goes back: RolledBack, and the stores hold what they held", () => {
    fc.assert(
      fc.property(plain, turns, (spec, at) => {
        const run = rested(asked(after(spec, at), { rollback: true }));
        expect(statusIn(run)?.phase).toBe("RolledBack");
        expect(wrongWith(run)).toEqual([]);
        const stores = Object.entries(run.world.receivers).filter(
          ([to]) => to.startsWith("store|") && !to.includes("#"),
        );
        expect(stores.map(([, { value, before }]) => [value, before])).toEqual(
          stores.map(([, { before }]) => [before, before]),
        );
      }),
      cases(50),
    );
  });

  test("[L2] it is cancelled: Cancelled, or Completed where that came first", () => {
    fc.assert(
      fc.property(plain, turns, (spec, at) => {
        const before = after(spec, at);
        const run = rested(asked(before, { cancel: true }));
        const was = statusIn(before)?.phase;
        expect(statusIn(run)?.phase).toBe(was === "Completed" ? "Completed" : "Cancelled");
        expect(wrongWith(run)).toEqual([]);
      }),
      cases(50),
    );
  });

  test("[S20] it pauses: no claim until somebody resumes, and then it completes", () => {
    fc.assert(
      fc.property(plain, turns, (spec, at) => {
        const paused = rested(asked(after(spec, at), { paused: true }));
        const phase = statusIn(paused)?.phase;
        expect(["Paused", "Completed"]).toContain(phase);
        const idle = turn(paused);
        expect(idle.trace.slice(paused.trace.length).filter(({ is }) => is !== "decision")).toEqual([]);
        const run = rested(asked(idle, { paused: false }));
        expect(statusIn(run)?.phase).toBe("Completed");
        expect(wrongWith(run)).toEqual([]);
      }),
      cases(40),
    );
  });

  test("[R49] its process dies, also under an act: it ends where the undisturbed run ends", () => {
    const dying = fc.constantFrom<Fate>("crash", "crash-landed");
    fc.assert(
      fc.property(plans("tell", "repeat"), turns, dying, (spec, at, fate) => {
        const run = rested(turn(after(spec, at), fate));
        expect(statusIn(run)?.phase).toBe("Completed");
        expect(left(run)).toEqual(left(rested(begun(spec))));
        expect(wrongWith(run)).toEqual([]);
      }),
      cases(50),
    );
  });
});

describe("in any run", { timeout: 60_000 }, () => {
  test("[L2] told to roll back, it ends, or names what it waits for", () => {
    fc.assert(
      fc.property(stories(), (story) => {
        const run = rested(asked(make(play(story), { move: "settings", without: null }), { rollback: true }));
        const status = statusIn(run);
        const phase = status?.phase ?? "Created";
        const named = status?.waiting !== null || phase === "RollbackFailed" || phase === "Failed";
        expect(isTerminal(phase) || named).toBe(true);
      }),
      cases(80),
    );
  });

  test("[S10] every claim has a greater fence than the one before, and a name of its own", () => {
    fc.assert(
      fc.property(stories(2, 2), (story) => {
        const claims = play(story).trace.flatMap((one) => {
          const claim = one.is === "version" ? claimedBy(one) : null;
          return claim === null ? [] : [claim.claim?.nonce ?? ""];
        });
        expect(new Set(claims).size).toBe(claims.length);
      }),
      cases(40),
    );
  });

  test("[R24] decide is pure: the same view and moment give the same decision, and change nothing", () => {
    fc.assert(
      fc.property(stories(), (story) => {
        const { world } = play(story);
        const process = world.processes["p1"];
        if (process === undefined) throw new Error("no p1");
        const view = viewOf(world, process, TASK);
        const before = JSON.stringify(view);
        const first = decide(view, world.now);
        expect(JSON.stringify(decide(view, world.now))).toBe(JSON.stringify(first));
        expect(JSON.stringify(view)).toBe(before);
      }),
      cases(50),
    );
  });

  test("[S14] the plan of a task is frozen once, whatever the settings say later", () => {
    fc.assert(
      fc.property(specs, turns, fc.constantFrom("store", "receivers", "legacy"), (spec, at, without) => {
        const changed = make(after(spec, at), { move: "settings", without });
        const later = Array.from({ length: 8 }).reduce<Run>((run) => turn(run), changed);
        const plans = versionsOf(later, TASK).flatMap(({ plan }) => (plan === null ? [] : [JSON.stringify(plan)]));
        expect(new Set(plans).size).toBeLessThanOrEqual(1);
      }),
      cases(50),
    );
  });
});
