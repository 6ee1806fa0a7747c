import { z } from "zod";
import { bounded, counted, duration, kubernetes, map, objectName, text } from "./fields.ts";
import { immutableSpec, LATCHES, ONLY_TRUE, oneKind, UNIQUE_STAGES } from "./rules.ts";

const deployUnit = z
  .strictObject({
    id: counted("Number of the deploy unit."),
    name: text(63, "Name of the deploy unit, such as blue or green.").min(1),
    version: counted("Version of the software that the unit runs."),
  })
  .describe("One colour of the system that can serve a tenant.");

const endpoints = z
  .array(
    z.strictObject({
      key: text(63, "Name of the service; stages select by it.").min(1),
      host: text(253, "DNS name, IPv4 or IPv6 address of the instance.").min(1),
      port: bounded(1, 65_535, "Port of the instance."),
    }),
  )
  .max(64)
  .describe("The tenant's service instances in this unit.")
  .meta(kubernetes({ "x-kubernetes-list-type": "atomic" }));

const placementFields = {
  deployUnit,
  endpoints: endpoints.optional(),
  parameters: map(
    z.string().max(1024),
    64,
    "Strings for templates: ${target.parameters.NAME}. Readable by everyone who may read the task: no secrets.",
  ).optional(),
  default: z.boolean().describe("This unit serves tenants that nobody assigned.").optional(),
};
const target = z.strictObject(placementFields).describe("Where the tenant goes.");
const previous = z
  .strictObject({
    ...placementFields,
    planVersion: counted("The version that the tenant's receivers report there: what an undo verifies."),
  })
  .describe("Where the tenant is now. Default: what TenantState says; contradicting it is refused.");

const backoff = z
  .strictObject({
    initial: duration("First wait.").optional(),
    factor: z.number().min(1).max(10).describe("Growth from wait to wait.").optional(),
    max: duration("Longest wait.").optional(),
  })
  .describe("Waits between attempts, with full jitter.");
const retry = z
  .strictObject({
    maxAttempts: bounded(1, 20, "Attempts before the stage fails; a person's retry grants as many again.").optional(),
    backoff: backoff.optional(),
  })
  .describe("How often and how fast a failed attempt is repeated.");

export const STAGE_NAME = /^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$/;
const stageName = z
  .string()
  .min(1)
  .max(40)
  .regex(STAGE_NAME, "must be lower-case letters, digits and -, beginning with a letter")
  .describe("Unique in the task; later stages read its outputs by it.");

/** Every kind's schema by its field name, as the registry of stages gives it. */
export type KindSchemas = Readonly<Record<string, z.ZodType>>;

function stage(kinds: KindSchemas): z.ZodType {
  const union = Object.fromEntries(Object.entries(kinds).map(([kind, schema]) => [kind, schema.optional()]));
  return z
    .strictObject({
      name: stageName,
      ...union,
      timeout: duration(
        "The whole stage, retries included. Default: the operator's settings (5m). Gates have none.",
      ).optional(),
      attemptTimeout: duration("One attempt. Default: the operator's settings (15s).").optional(),
      instanceTimeout: duration("One address within an attempt. Default: the operator's settings (3s).").optional(),
      retry: retry.optional(),
      onDrift: z
        .enum(["Hold", "Overwrite", "Keep"])
        .describe(
          "What an undo does where others changed what this stage wrote: hold for a person (default), overwrite, or keep theirs.",
        )
        .optional(),
    })
    .describe("One step: exactly one of the kinds.")
    .meta(kubernetes({ "x-kubernetes-validations": [oneKind(Object.keys(kinds))] }));
}

const approval = z.strictObject({
  decision: z.enum(["Approve", "Reject"]).describe("Yes or no."),
  comment: text(256, "Why; shown in status.").optional(),
  expect: z
    .string()
    .min(12)
    .max(71)
    .regex(/^(sha256:)?[0-9a-f]{12,64}$/, "must be at least 12 hex digits of status.plan.digest")
    .describe(
      "At least 12 hex digits of status.plan.digest: which plan this approves. Obligatory with quorum or requireDifferentUser.",
    )
    .optional(),
});
export const controlSchema = z
  .strictObject({
    paused: z.boolean().describe("true: start no further stage. Only an explicit false resumes.").optional(),
    rollback: z
      .boolean()
      .describe("true: undo everything that was claimed. Cannot be taken back.")
      .meta(kubernetes({ "x-kubernetes-validations": [ONLY_TRUE] }))
      .optional(),
    cancel: z
      .boolean()
      .describe("true: no further stage; what was claimed is undone. Cannot be taken back.")
      .meta(kubernetes({ "x-kubernetes-validations": [ONLY_TRUE] }))
      .optional(),
    retry: bounded(
      1,
      2_147_483_647,
      "A number higher than status.retried runs the failed stage, or the failed undo, again.",
    ).optional(),
    approvals: map(
      map(approval, 16, "By user: the name of whoever decides, forced by admission."),
      32,
      "Answers to approval stages, by stage and user.",
    ).optional(),
    skip: map(
      z.strictObject({ by: text(128, "Who skips; forced by admission."), reason: text(256, "Why; kept in status.") }),
      32,
      "Stages to mark Skipped although they failed or wait; never approvals, never while the outcome is unknown.",
    ).optional(),
  })
  .describe("Commands, given with kubectl patch --type=merge and answered in status.commands. Leave them out of Git.");

export const TENANT_ID = /^[A-Za-z0-9_-]+$/;

/** `spec` of a SwitchTask, with every kind of stage that `kinds` names. Unknown keys are errors here and pruned by the API server. */
export function switchTaskSpec(kinds: KindSchemas): z.ZodType {
  const fields = {
    tenantId: z
      .string()
      .min(1)
      .max(64)
      .regex(TENANT_ID, "must be letters, digits, _ and -")
      .describe("The tenant; with the namespace its identity."),
    executionUnit: objectName("Wait to be admitted by this ExecutionUnit.").optional(),
    plan: z
      .strictObject({
        id: counted("Number of the release plan."),
        version: counted("The tag that receivers must report."),
      })
      .describe("What is being delivered."),
    target,
    previous: previous.optional(),
    requestedBy: text(128, "Who asks for the switch: the caller, or absent.").optional(),
    serviceAccountName: objectName("Identity for everything done in Kubernetes on the tenant's behalf.").optional(),
    stages: z
      .array(stage(kinds))
      .min(1)
      .max(32)
      .describe("The pipeline, strictly in order.")
      .meta(kubernetes({ "x-kubernetes-list-type": "atomic", "x-kubernetes-validations": [UNIQUE_STAGES] })),
    onFailure: z
      .enum(["Hold", "Rollback"])
      .describe("A failed stage holds for a person (default) or rolls back.")
      .optional(),
    retry: retry.optional(),
    progressDeadline: duration(
      "From Running on; time waiting for locks, windows and people does not count. Expiry fails the task.",
    ).optional(),
    rollbackWindow: duration("How long after Completed a rollback is still possible. Default 168h.").optional(),
    deletionPolicy: z
      .enum(["Rollback", "Abandon", "Block"])
      .describe("What deleting an unfinished task does. Default Rollback.")
      .optional(),
    ttlAfterFinished: duration(
      "Delete the task this long after its rollback window. Ignored on objects tracked by Argo CD.",
    ).optional(),
    dryRun: z
      .boolean()
      .describe("Validate, render, and show plan and undo plan in status.preview; touch nothing.")
      .optional(),
  };
  return z
    .strictObject({ ...fields, control: controlSchema.optional() })
    .describe("One tenant's switch. Immutable but for control.")
    .meta(kubernetes({ "x-kubernetes-validations": [immutableSpec(Object.keys(fields)), ...LATCHES] }));
}
