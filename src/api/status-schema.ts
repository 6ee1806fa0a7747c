import { z } from "zod";
import { PHASES, STAGE_STATES } from "../domain/phase.ts";
import { WAITING_REASONS } from "../domain/reasons.ts";
import { FAILURE_TYPES } from "../lib/failures.ts";
import { bounded, kubernetes, map, text, timestamp } from "./fields.ts";

// Status objects keep fields they do not know: an older operator must not lose a newer one's (S32).
const open = kubernetes({ "x-kubernetes-preserve-unknown-fields": true });
const atomic = kubernetes({ "x-kubernetes-list-type": "atomic" });

const span = (about: string): z.ZodString => text(32, about);
const index = bounded(0, 4095, "Index into status.instances.");
const indexes = (about: string): z.ZodType => z.array(index).max(256).describe(about).meta(atomic).optional();

const claim = z
  .strictObject({
    nonce: text(64, "Names this claim."),
    by: text(128, "Identity of the operator that holds it."),
    at: timestamp("When it was made, by the API server's clock."),
    until: timestamp("The attempt ends and nothing is sent afterwards. Absent for reads and gates.").optional(),
  })
  .describe("Who carries the stage out just now.")
  .meta(open);

const stageEntry = z
  .strictObject({
    name: text(40, "Name of the stage."),
    state: z.enum(STAGE_STATES).describe("State of the stage."),
    attempts: bounded(0, 1_000_000, "Attempts so far.").optional(),
    attemptsBefore: bounded(0, 1_000_000, "Attempts that no longer count toward maxAttempts.").optional(),
    seq: bounded(0, 99_999_999, "seq of its last claim.").optional(),
    startedAt: timestamp("First claim.").optional(),
    finishedAt: timestamp("When it settled.").optional(),
    since: timestamp("Its timeout counts from here; absent: from startedAt.").optional(),
    ran: span("Gates: time that passed under earlier claims.").optional(),
    claim: claim.optional(),
    part: text(40, "The part of the undo that is under way.").optional(),
    undone: z.array(text(40, "Part.")).max(8).describe("Parts of the undo that settled.").meta(atomic).optional(),
    outcome: z
      .enum(["Unknown"])
      .describe("Present while nobody knows whether the last attempt took effect.")
      .optional(),
    audience: indexes("Instances it may touch."),
    acked: indexes("Instances that acknowledged."),
    failures: z
      .array(z.strictObject({ i: index, code: text(40, "Failure code.") }))
      .max(256)
      .describe("Instances that did not, by code.")
      .meta(atomic)
      .optional(),
    retryAt: timestamp("Next attempt.").optional(),
    quietUntil: timestamp("What was sent without a fence may arrive until then.").optional(),
    outputs: z.record(z.string().max(40), z.json()).describe("For later stages.").meta(open).optional(),
    drift: z
      .strictObject({
        keys: z.array(text(256, "Key or field.")).max(16).meta(atomic),
        digests: z.strictObject({
          before: text(80, "").optional(),
          ours: text(80, "").optional(),
          now: text(80, "").optional(),
        }),
      })
      .describe("What others changed.")
      .meta(open)
      .optional(),
    preset: map(
      text(16, "Digest."),
      16,
      "Approvals that stood before the stage waited, or were given while no policy vouched for names; they never count.",
    ).optional(),
    skipped: z
      .strictObject({ by: text(128, "Who."), reason: text(256, "Why.") })
      .describe("Who skipped it.")
      .meta(open)
      .optional(),
  })
  .describe("Journal of one stage; appears with its first claim or skip.")
  .meta(open);

export const answerSchema = z.strictObject({
  value: text(128, "The command, or its digest."),
  result: z
    .enum(["Accepted", "Done", "Rejected", "Superseded"])
    .describe("Accepted: takes effect soon. Done: in effect."),
  reason: text(256, "Why.").optional(),
  at: timestamp("When it was answered."),
});

const condition = z.strictObject({
  type: text(128, "Ready, Reconciling, Stalled, Validated, Succeeded, Paused, or stage.turnout.dev/NAME."),
  status: z.enum(["True", "False", "Unknown"]).describe("Whether it holds."),
  reason: text(64, "One word why."),
  message: text(1024, "For people.").optional(),
  lastTransitionTime: timestamp("When status last changed."),
});

const unitFields = {
  id: bounded(1, 2_147_483_647, "Number."),
  name: text(63, "Name."),
  version: bounded(1, 2_147_483_647, "Version."),
};
/** A placement as status keeps it. */
export const placement = {
  deployUnit: z.strictObject(unitFields).describe("The deploy unit.").meta(open),
  endpoints: z
    .array(z.strictObject({ key: text(63, "Service."), host: text(253, "Host."), port: bounded(1, 65_535, "Port.") }))
    .max(64)
    .describe("Instances.")
    .meta(atomic)
    .optional(),
  parameters: map(z.string().max(1024), 64, "Parameters.").optional(),
  default: z.boolean().describe("Serves tenants nobody assigned.").optional(),
  planVersion: bounded(1, 2_147_483_647, "The version that receivers report there."),
  task: z
    .strictObject({ name: text(253, "Name."), uid: text(64, "UID.") })
    .describe("The task that brought the tenant there.")
    .meta(open)
    .optional(),
};

const lines = (shape: z.ZodType, about: string): z.ZodType =>
  z.array(shape).max(96).describe(about).meta(atomic).optional();
const preview = z
  .strictObject({
    stages: lines(z.strictObject({ stage: text(40, "Stage."), does: text(160, "What it does.") }), "Stages in order."),
    undo: lines(
      z.strictObject({ stage: text(40, "Stage."), part: text(40, "Part."), does: text(160, "What it does.") }),
      "Undo plan in order.",
    ),
    warnings: z.array(text(256, "Warning.")).max(16).describe("What to know before.").meta(atomic).optional(),
  })
  .describe("Dry run: what would be done, and how it would be undone.")
  .meta(open);

const retry = z.strictObject({
  maxAttempts: bounded(1, 20, "Attempts."),
  initial: span("First wait."),
  factor: z.number().describe("Growth."),
  max: span("Longest wait."),
});
const plan = z
  .strictObject({
    digest: text(80, "Over the spec without control, the previous configuration and the effective limits."),
    frozenAt: timestamp("When the lock was taken."),
    previous: z.strictObject(placement).describe("Where the tenant was.").meta(open).optional(),
    effective: z
      .strictObject({
        timeout: span("Stage."),
        attemptTimeout: span("Attempt."),
        instanceTimeout: span("Address."),
        retry,
      })
      .describe("What the operator's settings said where the spec said nothing.")
      .meta(open),
    unfenced: z
      .array(text(40, "Stage."))
      .max(32)
      .describe("Stages whose receivers check no fence.")
      .meta(atomic)
      .optional(),
  })
  .describe("The frozen plan.")
  .meta(open);

const waiting = z
  .strictObject({
    reason: z.enum(WAITING_REASONS).describe("What for."),
    message: text(512, "For people."),
    since: timestamp("Since when."),
    until: timestamp("Until when, where that is known.").optional(),
    unblock: text(512, "The command that ends it."),
  })
  .describe("What the task waits for, and the command that ends the wait.")
  .meta(open);

const failure = z
  .strictObject({
    type: z.enum(FAILURE_TYPES).describe("Class of the failure."),
    code: text(40, "Code, see the list of errors."),
    stage: text(40, "Stage; absent: the task.").optional(),
    message: text(1024, "What happened and what to do."),
    retryable: z.boolean().describe("Whether the same may succeed later without anybody doing anything."),
    at: timestamp("When."),
  })
  .describe("Why the task failed.")
  .meta(open);

const history = z.strictObject({
  from: z.enum(PHASES).optional(),
  to: z.enum(PHASES),
  at: timestamp("When."),
  reason: text(64, "Why."),
});
const issue = z.strictObject({
  severity: z.enum(["warning"]).describe("Absent: an error.").optional(),
  path: text(128, "Where."),
  value: text(128, "What stood there."),
  message: text(256, "What is wrong."),
});

/** `status` of a SwitchTask (api.md, Status). Written by the operator alone. */
export const switchTaskStatus = z
  .strictObject({
    observedGeneration: bounded(0, 2_147_483_647, "Generation of the spec that this status answers.").optional(),
    phase: z.enum(PHASES).describe("Phase of the task.").optional(),
    progress: text(16, "Settled stages / stages.").optional(),
    direction: z.enum(["Forward", "Back"]).describe("Forward to Back at most once.").optional(),
    protocolVersion: bounded(1, 1_000_000, "Version of the protocol that this status follows.").optional(),
    startedAt: timestamp("First claim.").optional(),
    finishedAt: timestamp("End.").optional(),
    deadline: timestamp("When progressDeadline strikes.").optional(),
    plan: plan.optional(),
    preview: preview.optional(),
    epoch: bounded(0, 9_999_999_999, "Epoch of the lock; first half of the fence.").optional(),
    seq: bounded(0, 99_999_999, "Grows with every claim; second half of the fence.").optional(),
    instances: z
      .array(text(320, "name|host:port"))
      .max(1024)
      .describe("Each address once; stages refer by index.")
      .meta(atomic)
      .optional(),
    stages: z.array(stageEntry).max(32).describe("The journal of the stages.").meta(atomic).optional(),
    waiting: waiting.optional(),
    commands: map(answerSchema, 16, "Answer to each command.").optional(),
    retried: bounded(0, 2_147_483_647, "Highest retry that was carried out.").optional(),
    pausedFor: span("All the time that counts toward no timeout.").optional(),
    abandoned: z
      .strictObject({ by: text(128, "Who."), reason: text(256, "Why."), at: timestamp("When.") })
      .describe("Given up without undo.")
      .meta(open)
      .optional(),
    failure: failure.optional(),
    turnedBackBy: z
      .enum(["Rollback", "Cancel", "Deletion", "Failure"])
      .describe("What turned the task back.")
      .optional(),
    issues: z.array(issue).max(50).describe("What is wrong with the spec.").meta(atomic).optional(),
    history: z.array(history).max(20).describe("The last 20 transitions.").meta(atomic).optional(),
    eventSequence: bounded(0, 2_147_483_647, "Sequence number of the last Event.").optional(),
    conditions: z
      .array(condition)
      .max(48)
      .describe("Public copy of the journal; nothing reads it back.")
      .meta(atomic)
      .optional(),
  })
  .describe("Where the task is. Written by the operator alone.")
  .meta(open);
