import { z } from "zod";
import { fault } from "../lib/failures.ts";
import { formatDuration, type Millis, millisOf, seconds } from "../lib/time.ts";
import type { PlanContext } from "../domain/plan.ts";
import type { Approval } from "../domain/stored.ts";
import type { ApprovalAnswer, Outcome } from "../domain/task.ts";
import { defineStage, durationField, durationOf, type StageCall } from "./stage.ts";

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

/** api.md, Status: outputs of a stage, less the name of this one. */
const LARGEST_OUTPUT = 1000;

type Inputs = {
  readonly users: readonly string[] | null;
  readonly groups: readonly string[] | null;
  readonly quorum: number;
  readonly expires: number | null;
  readonly requireDifferentUser: boolean;
};

type Call = StageCall<Inputs, never>;

export const approval = defineStage<z.output<typeof config>, Inputs, never>({
  kind: "approval",
  effect: "gate",
  needs: [],
  config,
  outputs: ["approvedBy"],
  plan(context, about) {
    const inputs = inputsOf(context, about);
    return {
      inputs,
      conflicts: [],
      endpoint: null,
      audience: [],
      fencing: "Token",
      canProbe: false,
      idempotent: true,
      preview: `wait for ${inputs.quorum} approval${inputs.quorum === 1 ? "" : "s"}`,
    };
  },
  run: async (call) => weigh(call),
});

/** A gate that could never open is refused; an empty list is not the same as none. */
function inputsOf(context: PlanContext, about: z.output<typeof config>): Inputs {
  const { approvers, quorum = 1, requireDifferentUser = false } = about;
  const users = given(approvers?.users);
  const groups = given(approvers?.groups);
  const emptied = approvers?.users !== undefined || approvers?.groups !== undefined;
  if (users === null && groups === null && emptied) context.issue("approvers", "", "names nobody");
  if (users !== null && groups === null && quorum > users.length)
    context.issue("quorum", String(quorum), `only ${users.length} users may approve`);
  const expires = about.expires === undefined ? null : durationOf(context, about.expires, "expires");
  if (expires === 0) context.issue("expires", about.expires ?? "", "must be at least 1ms");
  return { users, groups, quorum, expires, requireDifferentUser };
}

const given = (names: readonly string[] = []): readonly string[] | null =>
  names.length === 0 ? null : [...new Set(names)];

function weigh(call: Call): Outcome {
  const { inputs, stage, approvals } = call;
  const all = Object.entries(approvals);
  // Nothing vouches for the names: none of them counts, for or against (SEC-14).
  const counted = call.policiesMissing ? [] : all.filter(([user, one]) => whyIgnored(call, user, one) === null);
  const no = counted.find(([, { decision }]) => decision === "Reject");
  if (no !== undefined)
    return {
      is: "terminal",
      fault: fault("ApprovalRejected", { user: no[0], stage }),
      answer: { result: "Done", reason: `rejected by ${no[0]}` },
    };
  const yes = counted.map(([user]) => user).toSorted();
  if (yes.length >= inputs.quorum)
    return { is: "done", outputs: { approvedBy: fitting(yes) }, answer: { result: "Done", reason: null } };
  if (inputs.expires !== null && call.age >= inputs.expires) {
    const expires = formatDuration(millisOf(inputs.expires));
    return { is: "terminal", fault: fault("ApprovalExpired", { stage, expires }) };
  }
  const again = inputs.expires === null ? null : millisOf(inputs.expires - call.age);
  if (call.policiesMissing) return policyMissing(stage, again);
  const message = `stage ${stage} waits for ${inputs.quorum - yes.length} of ${inputs.quorum} approvals`;
  const answer = answerOf(call, yes.length);
  const waiting = { is: "waiting", again, reason: "AwaitingApproval", message, memo: null } as const;
  return answer === null ? waiting : { ...waiting, answer };
}

/** No version of the task tells that the policies are back. */
const ASK_AGAIN = seconds(5);

/** What was given meanwhile may be forged: settle keeps it from ever counting. */
function policyMissing(stage: string, expires: Millis | null): Outcome {
  const reason =
    "AdmissionPolicyMissing: nothing vouches for the names; with the policies back, give it again with another comment";
  const message = `stage ${stage}: the admission policies that force names in approvals are missing or do not deny`;
  const answer: ApprovalAnswer = { result: "Rejected", reason };
  const again = expires === null ? ASK_AGAIN : millisOf(Math.min(expires, ASK_AGAIN));
  return { is: "waiting", again, reason: "AdmissionPolicyMissing", message, memo: null, answer };
}

/** What those are told who gave their approval; null where nobody did. */
function answerOf(call: Call, yes: number): ApprovalAnswer | null {
  const ignored = Object.entries(call.approvals).flatMap(([user, one]) => whyIgnored(call, user, one) ?? []);
  if (ignored[0] !== undefined) return { result: "Rejected", reason: ignored[0] };
  return yes > 0 ? { result: "Accepted", reason: `${yes} of ${call.inputs.quorum}` } : null;
}

/** As many as fit into what a stage may leave behind. */
function fitting(users: readonly string[]): readonly string[] {
  let size = 0;
  return users.filter((user) => {
    size += Buffer.byteLength(JSON.stringify(user)) + 1;
    return size <= LARGEST_OUTPUT;
  });
}

/** Why an approval does not count; null where it does. Groups are checked where they are known: at admission. */
function whyIgnored({ inputs, digest, requestedBy }: Call, user: string, { expect }: Approval): string | null {
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
