import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { released, type as typed, wayOut } from "../support/person.ts";
import { aSwitch, type Document, NOTIFY, openTestStand, SOAK, type TestStand } from "../support/stand.ts";
import { phasesOf, textAt } from "../support/stand-read.ts";

// Policies are the cluster's: a cluster of its own, so that nobody else's approvals are in doubt meanwhile.
let environment: Environment;
let stand: TestStand;
beforeAll(async () => {
  environment = await openEnvironment({ with: ["redis"], print: () => {} });
  stand = await openTestStand(environment.env);
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await environment.close();
});

const MISSING = "AdmissionPolicyMissing: nothing vouches for the name";
const answer = (task: Document, field: string): string =>
  `${textAt(task, `/status/commands/${field}/result`)}: ${textAt(task, `/status/commands/${field}/reason`)}`;
const GATE = { name: "gate", approval: {} };
const approve = (user: string, comment?: string): unknown => ({
  approvals: { gate: { [user]: { decision: "Approve", ...(comment === undefined ? {} : { comment }) } } },
});

describe("[SEC-14] without the policies that vouch for names, nobody's name counts", () => {
  test("approve, skip: said so with the command that mends it; what was forged meanwhile never counts", async () => {
    await stand.kubectl.run("delete", "validatingadmissionpolicybinding", "turnout-names");
    const operator = await stand.operator();
    await stand.create(aSwitch(stand, { name: "asked", tenantId: "asked", stages: [GATE, NOTIFY] }));
    await stand.create(aSwitch(stand, { name: "soaks", tenantId: "soaks", stages: [SOAK("1h"), NOTIFY] }));
    await stand.waits("asked", "AwaitingApproval");
    // Nobody stops the admin from speaking for alice now.
    await stand.patch("asked", approve("alice"));
    const asked = await stand.waits("asked", "AdmissionPolicyMissing");
    expect(textAt(asked, "/status/waiting/message")).toBe(
      "stage gate: the admission policies that force names in approvals are missing or do not deny",
    );
    await stand.waits("soaks", "Waiting");
    await stand.patch("soaks", { skip: { soak: { by: "alice", reason: "no time" } } });
    const soaks = await stand.answered("soaks", "skip", "Rejected");
    expect(answer(soaks, "skip")).toContain(MISSING);
    expect(textAt(soaks, "/status/waiting/reason")).toBe("Waiting");

    await typed(stand, wayOut(asked));
    const again = await stand.waits("asked", "AwaitingApproval");
    expect(phasesOf(again)).toEqual(["Validating", "Pending", "Running"]);
    expect(answer(again, "approvals")).toMatch(
      /^Rejected: AdmissionPolicyMissing: .*give it again with another comment$/,
    );
    await stand.patch("asked", approve("admin"));
    const over = await stand.over("asked", "Completed");
    expect(at(over, "/status/stages/0/outputs/approvedBy")).toEqual(["admin"]);
    await operator.stop();
  });

  test("release: refused with that reason, the holder stays; with the policies back the same is done", async () => {
    await stand.kubectl.run(
      "patch",
      "validatingadmissionpolicybinding",
      "turnout-releases",
      "--type=merge",
      "-p",
      '{"spec":{"validationActions":["Audit"]}}',
    );
    const operator = await stand.operator();
    await stand.create(aSwitch(stand, { name: "held", tenantId: "held", stages: [GATE, NOTIFY] }));
    await stand.waits("held", "AwaitingApproval");
    const { epoch } = (await stand.tenant("held"))["status"] as { readonly epoch: number };
    const asked = (reason: string): string =>
      JSON.stringify({ spec: { forceRelease: { epoch, by: "admin", reason } } });
    const release = (reason: string): Promise<string> =>
      stand.kubectl.run("patch", "tstate", "held", "-n", stand.namespace, "--type=merge", "-p", asked(reason));
    await release("it hangs");
    const answered = "--for=jsonpath={.status.released.result}=Rejected";
    await stand.kubectl.run("wait", "-n", stand.namespace, "tstate/held", "--timeout=10s", answered);
    const refused = await stand.tenant("held");
    expect(textAt(refused, "/status/released/reason")).toContain(MISSING);
    expect(textAt(refused, "/status/holder/task")).toBe("held");

    await stand.kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "admission/");
    await operator.stop();
    const next = await stand.operator();
    await release("it hangs for good");
    await stand.over("held", "Cancelled");
    expect(textAt(await released(stand, "held"), "/status/unknown/by")).toBe("admin");
    // It has seen the policies a moment ago, and would take a name for vouched for that no longer is.
    await next.stop();
  });
});
