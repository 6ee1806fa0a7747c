import { z } from "zod";
import { bounded, kubernetes, text, timestamp } from "./fields.ts";
import { answerSchema, placement } from "./status-schema.ts";
import { TENANT_ID } from "./switch-task.ts";
import { PHASES } from "../domain/phase.ts";

const open = kubernetes({ "x-kubernetes-preserve-unknown-fields": true });
const fence = text(19, "EEEEEEEEEE-SSSSSSSS, ordered as text.").regex(
  /^[0-9]{10}-[0-9]{8}$/,
  "must be 10 digits, a hyphen and 8 digits",
);
const epoch = (about: string): z.ZodInt => bounded(0, 9_999_999_999, about);

const forceRelease = z
  .strictObject({
    epoch: epoch("status.epoch of the lock to break: a later lock is not touched."),
    by: text(128, "Who; forced by admission.").min(1),
    reason: text(256, "Why; kept in the abandoned task.").min(1),
    fence: fence.optional(),
  })
  .describe(
    "Gives the tenant free although its task has not finished. The task is abandoned first; where the tenant is, is unknown afterwards.",
  );

export const tenantStateSpec = z
  .strictObject({
    tenantId: z.string().min(1).max(64).regex(TENANT_ID, "must be letters, digits, _ and -").describe("The tenant."),
    forceRelease: forceRelease.optional(),
  })
  .describe("Written by the operator, but for forceRelease.")
  .meta(
    kubernetes({
      "x-kubernetes-validations": [
        { rule: "self.tenantId == oldSelf.tenantId", message: "tenantId is immutable", reason: "FieldValueForbidden" },
      ],
    }),
  );

export const tenantStateStatus = z
  .strictObject({
    current: z
      .strictObject({
        ...placement,
        since: timestamp("Since when."),
        restorable: z.boolean().describe("Whether the task that brought it here may still be rolled back."),
      })
      .describe("Where the tenant is.")
      .meta(open)
      .optional(),
    unknown: z
      .strictObject({ since: timestamp("Since when."), by: text(128, "Whose doing.") })
      .describe("Nobody knows where the tenant is.")
      .meta(open)
      .optional(),
    diverged: z
      .strictObject({ reason: text(256, "Why."), since: timestamp("Since when.") })
      .describe("Nobody may switch the tenant until a person releases it.")
      .meta(open)
      .optional(),
    holder: z
      .strictObject({
        task: text(253, "Name of the task."),
        uid: text(64, "UID of the task."),
        unit: text(253, "Its unit.").optional(),
        direction: z.enum(["Forward", "Back"]).describe("Back: rollback of a Completed task."),
        since: timestamp("Since when."),
      })
      .describe("The task that holds the tenant.")
      .meta(open)
      .optional(),
    epoch: epoch("Grows each time the lock is taken.").optional(),
    fence: fence.describe("Greatest fence of the last holder.").optional(),
    executions: z
      .array(
        z.strictObject({
          identity: text(64, "Digest of name and spec."),
          uid: text(64, "UID."),
          outcome: z.enum(PHASES).describe("How it ended."),
          at: timestamp("When."),
        }),
      )
      .max(20)
      .describe("The last 20 executions.")
      .meta(kubernetes({ "x-kubernetes-list-type": "atomic" }))
      .optional(),
    released: answerSchema.describe("Answer to spec.forceRelease.").optional(),
  })
  .describe("Lock, fence counter and place of one tenant.")
  .meta(open);
