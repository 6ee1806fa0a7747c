import { expect, test } from "vitest";
import { aPlacement, aSpec, aStage, aTenant } from "../support/build.ts";
import { refuted } from "./model.ts";
import * as weaker from "./weaker.ts";
import type { Rules, Scenario, World } from "./world.ts";

// Every looser reading of the protocol breaks something; ◆ marks those that docs/protocol.md marks (docs/models.md has the table).

const held = ({ tenant }: World): boolean => tenant.status?.holder?.uid === "uid-1";
const claimed = ({ tasks: [one] }: World): boolean => (one?.status?.seq ?? 0) > 0;
const done = ({ tasks: [one] }: World): boolean => one?.done === true;
const allDone = ({ tasks }: World): boolean => tasks.every((task) => task.done);

const stages = [aStage("route", "write", { key: "t:acme" })];
const SPECS = [
  aSpec({ stages }),
  aSpec({ stages, plan: { id: 18, version: 43 }, target: aPlacement("red") }),
  aSpec({ stages, plan: { id: 19, version: 44 } }),
];
const ONE: Omit<Scenario, "may"> = {
  name: "one task",
  specs: [aSpec({ stages: [aStage("route", "write"), aStage("notify", "tell")] })],
  tenant: aTenant(),
  processes: 1,
  from: held,
};
const TWO: Omit<Scenario, "may"> = { ...ONE, name: "two tasks", specs: SPECS.slice(0, 2), processes: 2 };
const AFTER_ONE = { ...TWO, from: done };
const DURING_ONE = { ...TWO, from: claimed };
const { from: _from, ...FROM_THE_START } = TWO;
const THREE = { ...TWO, name: "three tasks", specs: SPECS, processes: 1, first: [0, 1, 2], from: allDone };

const FAULTS = { rollbacks: [1], crashes: 1, losses: 1 };

const ROWS: readonly (readonly [rule: string, rules: Partial<Rules>, scenario: Scenario, breaks: string])[] = [
  ["no fences at the receivers", weaker.NO_FENCES, { ...ONE, may: FAULTS }, "[S8]"],
  ["sent again without a claim", weaker.SENT_AGAIN, { ...ONE, may: FAULTS }, "[S3]"],
  ["an undo of nothing writes no fence", weaker.UNDO_WITHOUT_FENCE, { ...ONE, may: FAULTS }, "[S8]"],
  ["only what settled Completed is undone", weaker.COMPLETED_ONLY, { ...ONE, may: FAULTS, only: ["[S7]"] }, "[S7]"],
  ["◆ an undo leaves no record", weaker.NOTHING_REMAINS, { ...ONE, may: FAULTS }, "[S8]"],
  ["◆ what an undo leaves is not signed", weaker.UNDO_UNSIGNED, { ...ONE, may: FAULTS }, "[S7]"],
  [
    "◆ base of a rollback of Completed is the own last claim",
    weaker.OWN_BASE,
    { ...AFTER_ONE, processes: 1, may: { rollbacks: [1, 1] } },
    "[S30]",
  ],
  ["◆ back under a lock with direction Forward", weaker.BACK_UNDER_FORWARD, { ...DURING_ONE, may: FAULTS }, "[S9]"],
  [
    "◆ a Completed holder released while its lock says Back",
    weaker.RELEASED_WHILE_BACK,
    { ...AFTER_ONE, may: FAULTS, only: ["[S9]"] },
    "[S9]",
  ],
  [
    "◆ what was rolled back to may be rolled back",
    weaker.ALWAYS_RESTORABLE,
    { ...THREE, may: { rollbacks: [1, 1, 1] } },
    "[S7]",
  ],
  [
    "◆ a rejection decided on the cache",
    weaker.CACHE_BELIEVED,
    { ...AFTER_ONE, may: { rollbacks: [1, 1] }, only: ["[S29]"] },
    "[S29]",
  ],
  [
    "◆ the done patch decided on the cache",
    weaker.CACHE_BELIEVED,
    { ...AFTER_ONE, may: { rollbacks: [1, 0] }, only: ["[S27]"] },
    "[S27]",
  ],
  [
    "◆ `previous` resolved before the lock is taken",
    weaker.PREVIOUS_TOO_EARLY,
    { ...FROM_THE_START, processes: 1, may: { rollbacks: [1, 1] } },
    "[L9]",
  ],
  [
    "◆ place and fence stored though nothing was claimed under the lock",
    weaker.ALWAYS_SAYS_WHERE,
    { ...FROM_THE_START, may: {} },
    "[L9]",
  ],
  [
    "◆ the metadata patch without a version",
    weaker.PATCH_UNCHECKED,
    { ...DURING_ONE, may: { rollbacks: [1, 0], losses: 1 } },
    "[S27]",
  ],
  [
    "◆ a missing TenantState made without a list",
    weaker.NOT_LISTED,
    { ...DURING_ONE, may: { vanishings: 1 }, only: ["[S9]"] },
    "[S9]",
  ],
  [
    "◆ Completed tasks with a finalizer not counted in it",
    weaker.COMPLETED_NOT_COUNTED,
    { ...AFTER_ONE, may: { vanishings: 1, rollbacks: [1, 0] }, only: ["[S9]"] },
    "[S9]",
  ],
  [
    "◆ a TenantState made again without the fences of its tasks",
    weaker.FENCE_FORGOTTEN,
    { ...FROM_THE_START, processes: 1, may: { vanishings: 1 } },
    "[S10]",
  ],
];

test("no looser reading is lost", () => expect(ROWS).toHaveLength(18));

test.each(ROWS)("[T1] %s", (_rule, rules, scenario, breaks) => {
  const { states } = refuted({ ...scenario, rules }, breaks);
  expect(states).toBeGreaterThan(10);
});
