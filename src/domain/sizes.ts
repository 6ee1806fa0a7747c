import type { Drift, Outputs, Status } from "./stored.ts";

/** Sizes of api.md and of the CRD: what exceeds them would be refused by the API server, and the task could not move any more. */
const STAGE_OUTPUTS = 1024;
const TASK_OUTPUTS = 16 * 1024;
const TASK_DRIFT = 8 * 1024;

/** Longest texts of an answer's reason and of a wait's message. */
export const REASON = 256;

/** Bytes of a value as JSON. */
export const bytesOf = (value: unknown): number => new TextEncoder().encode(JSON.stringify(value)).length;

const total = (values: readonly unknown[]): number => values.reduce<number>((sum, value) => sum + bytesOf(value), 0);

/** What of `outputs` fits beside those of the other stages. What is left out is missed where it is read, by name (templates). */
export function fittingOutputs(outputs: Outputs, { stages }: Status, stage: string): Outputs {
  const others = stages.filter(({ name }) => name !== stage);
  const room = Math.min(STAGE_OUTPUTS, TASK_OUTPUTS - total(others.map((entry) => entry.outputs)));
  return Object.entries(outputs).reduce<Outputs>((kept, [key, value]) => {
    const next = { ...kept, [key]: value };
    return bytesOf(next) <= room ? next : kept;
  }, {});
}

/** `drift` with as many of its keys as fit beside the drift of the other stages. */
export function fittingDrift(drift: Drift, { stages }: Status, stage: string): Drift {
  const others = stages.filter((entry) => entry.name !== stage && entry.drift !== null);
  let room = TASK_DRIFT - total(others.map((entry) => entry.drift));
  const keys = drift.keys.filter((key) => {
    room -= bytesOf(key) + 1;
    return room >= bytesOf(drift.digests) + 64;
  });
  return { ...drift, keys };
}
