import type { StageEntry, Status } from "../../src/domain/stored.ts";
import { type About, at } from "../support/build.ts";
import { SETTINGS } from "../support/domain-kinds.ts";

export const BACKING_OFF: Partial<StageEntry> = { state: "Running", retryAt: at(5) };
export const DOUBTED: Partial<StageEntry> = { state: "Running", outcome: "Unknown" };
export const SKIP = { skip: { route: { by: "bob", reason: "known good" } } };
export const failedAt = (after: number, stage: string | null = "route"): Partial<Status> => ({
  failure: { type: "Rejected", code: "HttpRejected", stage, message: "no", retryable: false, at: at(after) },
});
export const GONE = { settings: { ...SETTINGS, endpoints: {} } };

/** A gate alone: its own process polls it, or one that is gone did. */
export const gate = (about: Partial<About> = {}): About => ({
  pipeline: { hold: "approval", pause: "wait" },
  stages: { hold: "Mine" },
  ...about,
});
