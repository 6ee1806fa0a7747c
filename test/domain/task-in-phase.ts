import type { Phase } from "../../src/domain/phase.ts";
import type { Status } from "../../src/domain/stored.ts";
import type { TaskView } from "../../src/domain/task.ts";
import { type About, aTask, at } from "../support/build.ts";

const failure: Status["failure"] = {
  type: "Rejected",
  code: "HttpRejected",
  stage: "route",
  message: "",
  retryable: false,
  at: at(1),
};

/** A task of that phase with one claimed stage, consistent with itself. */
export const inPhase = (phase: Phase, about: About = {}): TaskView =>
  aTask({
    phase,
    ...(phase === "Created" || phase === "Validating" || phase === "Pending" ? {} : { stages: { route: "Completed" } }),
    ...about,
    status: { ...(phase === "Failed" || phase === "RollbackFailed" ? { failure } : {}), ...about.status },
  });
