import { fenceOf } from "../../src/domain/lock.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import { type Fence, NO_FENCE, maxFence } from "../../src/lib/fence.ts";
import type { Json } from "../../src/lib/json.ts";
import type { Machine } from "./machine.ts";
import type { TaskObject, World } from "./world.ts";

// What checks ask of a task.

export const first = (wrong: readonly string[]): string | null => wrong[0] ?? null;

export const isDirty = ({ exists, status }: TaskObject): boolean =>
  exists &&
  status !== null &&
  status.abandoned === null &&
  !isTerminal(status.phase) &&
  status.stages.some(({ seq, state }) => seq > 0 && state !== "RolledBack");

export const claimedFence = ({ status }: TaskObject): Fence =>
  status === null || !status.stages.some(({ seq }) => seq > 0) ? NO_FENCE : fenceOf(status);
/** Among what was held before a task: the plan version that the tenant was at. */
export const PLACE = "the tenant";

/** The plan version that the tenant was at before this task moved it. null: nobody knew. */
export const placeBefore = ({ past }: World, { index, status }: TaskObject): Json =>
  past.before[index]?.[PLACE] ?? status?.plan?.previous?.planVersion ?? null;

/** The greatest fence that was ever claimed. */
export const greatest = ({ tasks, past }: World): Fence =>
  maxFence(past.gone?.fence ?? NO_FENCE, ...tasks.map(claimedFence));

/** The plan version that the tenant is at: the task that moved last says so. null: nobody knows. */
export function placeOf(machine: Machine, world: World): Json {
  const fence = greatest(world);
  if (fence === NO_FENCE) return machine.scenario.tenant?.current?.planVersion ?? null;
  const last = world.tasks.find((task) => claimedFence(task) === fence);
  if (last === undefined || last.status === null) return world.past.gone?.planVersion ?? null;
  const { status, index } = last;
  const arrived = status.phase === "Completed" || status.stages.every(({ state }) => state === "Completed");
  if (arrived) return machine.spec(index).plan.version;
  return status.abandoned === null ? placeBefore(world, last) : null;
}
