import { fenceOf } from "../../src/domain/lock.ts";
import { isTerminal } from "../../src/domain/phase.ts";
import { type Fence, NO_FENCE, maxFence } from "../../src/lib/fence.ts";
import type { TaskObject } from "./world.ts";

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
export const greatest = (tasks: readonly TaskObject[]): Fence => maxFence(...tasks.map(claimedFence));
