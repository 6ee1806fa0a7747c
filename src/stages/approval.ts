import { z } from "zod";
import { fault } from "../lib/failures.ts";
import { formatDuration, millisOf, parseDuration } from "../lib/time.ts";
import type { Approval } from "../domain/stored.ts";
import type { ApprovalAnswer, Outcome } from "../domain/task.ts";
import { defineStage, durationField, type StageCall } from "./stage.ts";

/** SEC-13: as much of the plan digest as an approval must name. */
const EXPECT = 12;

const names = (about: string): z.ZodType<string[]> => z.array(z.string().min(1).max(128)).max(32).describe(about);

const config = z
  .strictObject({
    approvers: z
      .strictObject({
        users: names("User names that may decide.").optional(),
        groups: names("Groups whose members may decide; admission checks membership.").optional(),
      })
      .describe("Who may decide; admission lets nobody else through. Left out: whoever holds the verb approve.")
      .optional(),
    quorum: z.int().min(1).max(16).describe("How many must approve (1).").optional(),
    expires: durationField("The stage fails if nobody decided by then.").optional(),
    requireDifferentUser: z.boolean().describe("spec.requestedBy may not approve.").optional(),
  })
  .describe("Waits for people: control.approvals.STAGE.USER.");

type Inputs = {
  readonly users: readonly string[] | null;
  readonly groups: readonly string[] | null;
  readonly quorum: number;
  readonly expires: number | null;
  readonly requireDifferentUser: boolean;
};

export const approval = defineStage<z.output<typeof config>, Inputs, never>({
  kind: "approval",
  effect: "gate",
  needs: [],
  config,
  outputs: ["approvedBy"],
  plan(_context, about) {
    const quorum = about.quorum ?? 1;
    return {
      inputs: {
        users: about.approvers?.users ?? null,
        groups: about.approvers?.groups ?? null,
        quorum,
        expires: about.expires === undefined ? null : parseDuration(about.expires),
        requireDifferentUser: about.requireDifferentUser ?? false,
      },
      conflicts: [],
      endpoint: null,
      audience: [],
      fencing: "Token",
      canProbe: false,
      idempotent: true,
      preview: `wait for ${quorum} approval${quorum === 1 ? "" : "s"}`,
    };
  },
  run: async (call) => weigh(call),
});

function weigh(call: StageCall<Inputs, never>): Outcome {
  const { inputs, stage, approvals } = call;
  const given = Object.entries(approvals);
  if (given.length > 0 && call.policiesMissing) {
    const answer: ApprovalAnswer = {
      result: "Accepted",
      reason: "AdmissionPolicyMissing: nothing vouches for the names",
    };
    const message = `stage ${stage}: the admission policies that force names in approvals are missing or do not deny`;
    return { is: "waiting", again: null, reason: "AdmissionPolicyMissing", message, memo: null, answer };
  }
  const ignored = given.flatMap(([user, one]) => whyIgnored(call, user, one) ?? []);
  const counted = given.filter(([user, one]) => whyIgnored(call, user, one) === null);
  const no = counted.find(([, { decision }]) => decision === "Reject");
  if (no !== undefined)
    return {
      is: "terminal",
      fault: fault("ApprovalRejected", { user: no[0], stage }),
      answer: { result: "Done", reason: `rejected by ${no[0]}` },
    };
  const yes = counted.map(([user]) => user).toSorted();
  if (yes.length >= inputs.quorum)
    return { is: "done", outputs: { approvedBy: yes }, answer: { result: "Done", reason: null } };
  if (inputs.expires !== null && call.age >= inputs.expires) {
    return {
      is: "terminal",
      fault: fault("ApprovalExpired", { stage, expires: formatDuration(millisOf(inputs.expires)) }),
    };
  }
  const left = inputs.expires === null ? null : millisOf(inputs.expires - call.age);
  const message = `stage ${stage} waits for ${inputs.quorum - yes.length} of ${inputs.quorum} approvals`;
  const answer: ApprovalAnswer | null =
    ignored.length > 0
      ? { result: "Rejected", reason: ignored[0] ?? null }
      : yes.length > 0
        ? { result: "Accepted", reason: `${yes.length} of ${inputs.quorum}` }
        : null;
  return {
    is: "waiting",
    again: left,
    reason: "AwaitingApproval",
    message,
    memo: null,
    ...(answer === null ? {} : { answer }),
  };
}

/** Why an approval does not count; null where it does. Groups are checked where they are known: at admission. */
function whyIgnored(
  { inputs, digest, requestedBy }: StageCall<Inputs, never>,
  user: string,
  { expect }: Approval,
): string | null {
  const named = (expect ?? "").replace(/^sha256:/, "");
  if (expect !== null && (named.length < EXPECT || !digest.replace(/^sha256:/, "").startsWith(named)))
    return `${user}: expect names another plan`;
  const must = inputs.quorum > 1 || inputs.requireDifferentUser;
  if (must && expect === null) return `${user}: expect must name the plan (${EXPECT} hex digits of status.plan.digest)`;
  if (inputs.requireDifferentUser && user === requestedBy)
    return `${user}: asked for the switch and may not approve it`;
  const only = inputs.groups === null ? inputs.users : null;
  return only !== null && !only.includes(user) ? `${user}: is not an approver` : null;
}
