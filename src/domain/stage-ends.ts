import { between, type Instant, type Millis } from "../lib/time.ts";
import { attemptsUsed } from "./status.ts";
import type { StageEntry, Status } from "./stored.ts";

/** How one operation of a stage ended. */
export interface StageEnd {
  readonly entry: StageEntry;
  readonly as: "Completed" | "Failed" | "Skipped" | "RolledBack";
  /** All of the way forward; of an undo those of its last part. */
  readonly attempts: number;
  /** null where it was never started. */
  readonly took: Millis | null;
}

/**
 * Stages that settled with the write that made `after` of `before` (null: the first write), in pipeline order. One write may settle a
 * stage and claim its undo (R48): that stage ended all the same, although its state says so in no stored version.
 */
export function stageEnds(before: Status | null, after: Status): readonly StageEnd[] {
  return after.stages.flatMap((entry): readonly StageEnd[] => {
    const old = before?.stages.find(({ name }) => name === entry.name);
    if (old?.state === entry.state) return [];
    const { attempts, finishedAt } = entry;
    switch (entry.state) {
      case "Completed":
      case "Failed":
      case "Skipped":
        return [{ entry, as: entry.state, attempts, took: since(entry, finishedAt) }];
      case "RolledBack":
        return [{ entry, as: entry.state, attempts: attemptsUsed(entry), took: since(entry, finishedAt) }];
      case "RollingBack": {
        const as = old?.state === "Running" ? turnedBackAs(entry, after) : null;
        return as === null ? [] : [{ entry, as, attempts: entry.attemptsBefore, took: since(entry, entry.since) }];
      }
      default:
        return [];
    }
  });
}

const since = ({ startedAt }: StageEntry, at: Instant | null): Millis | null =>
  startedAt === null || at === null ? null : between(startedAt, at);

/** What a stage was for a moment between its settle and the claim of its undo; null: it was undone without an end. */
function turnedBackAs(entry: StageEntry, { failure, turnedBackBy }: Status): "Completed" | "Failed" | null {
  if (entry.outputs !== null) return "Completed";
  return turnedBackBy === "Failure" && failure?.stage === entry.name ? "Failed" : null;
}
