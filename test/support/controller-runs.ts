import { fault } from "../../src/lib/failures.ts";
import type { Millis } from "../../src/lib/time.ts";
import type { StageSpec } from "../../src/domain/stored.ts";
import type { Outcome } from "../../src/domain/task.ts";
import { aStage } from "./build.ts";

// Stages and outcomes that runs of the controller rig are made of.

export const aWriteOnly: readonly StageSpec[] = [aStage("route", "write")];
export const ASK = aStage("ask", "approval");
export const SOAK = (duration: Millis): StageSpec => aStage("soak", "wait", { duration });

const PLACE = { endpoint: "store", address: "10.0.0.1:6379" };
/** Nobody knows whether it arrived. */
export const LOST: Outcome = { is: "unknown", fault: fault("AnswerLost", PLACE) };
export const REFUSED: Outcome = { is: "terminal", fault: fault("HttpRejected", { ...PLACE, status: "422" }) };
export const LATE: Outcome = {
  is: "terminal",
  fault: fault("VersionsLate", { late: "2", total: "2", version: "41", answers: "42" }),
};
