import fc from "fast-check";
import { millisOf, seconds } from "../../src/lib/time.ts";
import type { Control, StageSpec, TaskSpec, TenantStatus } from "../../src/domain/stored.ts";
import { aSpec, aStage, aTenant } from "./build.ts";
import type { KindName } from "./domain-kinds.ts";
import { aWorld, make } from "./run-domain.ts";
import type { Run } from "./run-process.ts";
import { FATES, type Fate, type Move, type Put } from "./run-world.ts";

const KIND_NAMES: readonly KindName[] = ["write", "duo", "tell", "repeat", "once", "look", "wait", "approval"];
const ANNOUNCES: readonly KindName[] = ["tell", "repeat", "once"];

interface Drawn {
  readonly kind: KindName;
  readonly legacy: boolean;
  readonly to: boolean;
}
const drawn: fc.Arbitrary<Drawn> = fc.record({
  kind: fc.constantFrom(...KIND_NAMES),
  legacy: fc.boolean(),
  to: fc.boolean(),
});

function stageOf({ kind, legacy, to }: Drawn, i: number): StageSpec {
  const tells = ANNOUNCES.includes(kind);
  return aStage(`s${i + 1}`, kind, {
    ...(tells && legacy ? { endpoint: "legacy" } : {}),
    ...((tells || kind === "look") && to && !legacy ? { to: "gateway" } : {}),
    ...(kind === "wait" ? { duration: 30_000 } : {}),
    // Without a previous configuration an announce must say itself how it is undone.
    ...(tells || kind === "duo" ? { undo: { version: 41 } } : {}),
  });
}

/** One to five stages of any kinds; now and then a deadline, a short retry, `onFailure: Rollback`. */
export const specs: fc.Arbitrary<TaskSpec> = fc
  .record({
    drawn: fc.array(drawn, { minLength: 1, maxLength: 5 }),
    onFailure: fc.constantFrom("Hold", "Hold", "Rollback"),
    progressDeadline: fc.constantFrom(null, null, seconds(120)),
    maxAttempts: fc.integer({ min: 1, max: 3 }),
    deletionPolicy: fc.constantFrom("Rollback", "Rollback", "Abandon", "Block"),
  })
  .map(({ drawn: stages, maxAttempts, ...rest }) =>
    aSpec({
      ...rest,
      stages: stages.map(stageOf),
      retry: { maxAttempts },
    }),
  );

/** The tenant is on blue, or was never placed. */
export const tenants = fc.constantFrom(aTenant(), aTenant(), aTenant({ current: null }), null);

const NAMES = ["acme-green", "acme-red"] as const;

const controls: fc.Arbitrary<Partial<Control>> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ paused: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant({ rollback: true }) },
  { weight: 1, arbitrary: fc.constant({ cancel: true }) },
  { weight: 3, arbitrary: fc.record({ retry: fc.integer({ min: 1, max: 4 }) }) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        stage: fc.constantFrom("s1", "s2", "s3", "s4", "s5"),
        decision: fc.constantFrom("Approve" as const, "Reject" as const),
        comment: fc.constantFrom("a", "b", "c"),
      })
      .map(({ stage, decision, comment }) => ({
        approvals: { [stage]: { bob: { decision, comment, expect: null } } },
      })),
  },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("s1", "s2", "s3", "s4", "s5")
      .map((stage) => ({ skip: { [stage]: { by: "bob", reason: "known good" } } })),
  },
);

const fates: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Fate>("ok") },
  { weight: 3, arbitrary: fc.constantFrom(...FATES) },
);
const puts: fc.Arbitrary<Put> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Put>("ok") },
  { weight: 1, arbitrary: fc.constantFrom<Put>("answer-lost", "lost") },
);

/** Anything that can happen to `tasks` tasks and `processes` operators. */
export function moves(tasks: 1 | 2, processes: 1 | 2): fc.Arbitrary<Move> {
  const task = fc.constantFrom(...NAMES.slice(0, tasks));
  const process = fc.constantFrom(...["p1", "p2"].slice(0, processes));
  return fc.oneof(
    {
      weight: 24,
      arbitrary: fc.record({ move: fc.constant("turn" as const), process, task, fate: fates, put: puts }),
    },
    { weight: 5, arbitrary: fc.record({ move: fc.constant("sync" as const), process }) },
    { weight: 1, arbitrary: fc.record({ move: fc.constant("restart" as const), process }) },
    { weight: 4, arbitrary: fc.record({ move: fc.constant("patch" as const), task, control: controls }) },
    { weight: 1, arbitrary: fc.record({ move: fc.constant("delete" as const), task }) },
    { weight: 2, arbitrary: fc.record({ move: fc.constant("arrive" as const), index: fc.constant(0) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        move: fc.constant("settings" as const),
        without: fc.constantFrom(null, null, "store", "receivers", "legacy"),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        move: fc.constant("pass" as const),
        time: fc.constantFrom(millisOf(700), seconds(6), seconds(25), seconds(200)),
      }),
    },
  );
}

/** What goes into a run. Printed on a failure: pipeline by pipeline, move by move. */
export interface Story {
  readonly specs: readonly TaskSpec[];
  readonly tenant: TenantStatus | null;
  readonly moves: readonly Move[];
}

/** A world of `tasks` tasks of one tenant and what happens in it. */
export const stories = (tasks: 1 | 2 = 1, processes: 1 | 2 = 1, maxLength = 60): fc.Arbitrary<Story> =>
  fc
    .record({
      specs: fc.array(specs, { minLength: tasks, maxLength: tasks }),
      tenant: tenants,
      moves: fc.array(moves(tasks, processes), { maxLength, size: "max" }),
    })
    .map((story) => ({ ...story, [fc.toStringMethod]: () => told(story) }));

export function play({ specs: all, tenant, moves: each }: Story): Run {
  const world = aWorld(Object.fromEntries(all.map((spec, i) => [NAMES[i] ?? "", spec])), {
    tenant,
    processes: ["p1", "p2"],
  });
  return each.reduce<Run>(make, { world, trace: [] });
}

function told({ specs: all, tenant, moves: each }: Story): string {
  const pipelines = all.map(({ stages, onFailure, retry, progressDeadline, deletionPolicy }) => {
    const words = stages.map(({ kind, config }) => `${kind}${JSON.stringify(config)}`);
    return `${words.join(" → ")} onFailure ${onFailure}, ${retry?.maxAttempts} attempts, deadline ${progressDeadline}, ${deletionPolicy}`;
  });
  const place = tenant === null ? "unknown to the API server" : tenant.current === null ? "never placed" : "on blue";
  return [`\ntenant ${place}`, ...pipelines, ...each.map((move) => Object.values(move).map(shown).join(" ")), ""].join(
    "\n",
  );
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
