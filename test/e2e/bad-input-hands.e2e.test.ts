import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { command } from "../../deployment/demo/kubectl.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { conditionOf, refusal, released, type, wayOut } from "../support/person.ts";
import {
  aSwitch,
  type Document,
  NOTIFY,
  openTestStand,
  ROUTE,
  type TaskAbout,
  type TestStand,
} from "../support/stand.ts";
import { effectLines, effectsAt, historyOf, textAt } from "../support/stand-read.ts";

/** Promises that people break here: a status emptied, a finalizer taken off, a record emptied under its holder. */
const BY_HAND = { spaces: 0, breaks: ["S6", "S27", "S28"] };

let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), BY_HAND);
  await stand.operator();
});
afterAll(() => stand[Symbol.asyncDispose]());

const GATE = { name: "gate", approval: {} };

/** Half way: routed and told, waiting for an approval. Gives the name of the task. */
async function halfWay(tenantId: string): Promise<string> {
  const name = `${tenantId}-green`;
  await stand.create(aSwitch(stand, { name, tenantId, stages: [ROUTE(stand.namespace), NOTIFY, GATE] }));
  await stand.waits(name, "AwaitingApproval");
  return name;
}

const byHand = (...words: readonly string[]): Promise<unknown> =>
  stand.kubectl.run(words[0] ?? "", "-n", stand.namespace, ...words.slice(1));
const takeOffFinalizer = (what: string): Promise<unknown> =>
  byHand("patch", what, "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
const emptyStatus = (what: string): Promise<unknown> =>
  byHand("patch", what, "--subresource=status", "--type=merge", "-p", '{"status":null}');

/** Stopped for a person, who is told why and what to type. */
async function diverged(name: string, why: string): Promise<Document> {
  const task = await stand.until(name, "to be Diverged", (seen) => at(seen, "/status/waiting/reason") === "Diverged");
  const stalled = conditionOf(task, "Stalled");
  if (stalled.status !== "True" || stalled.reason !== "Diverged" || !stalled.message.includes(why))
    throw new Error(`Stalled says ${JSON.stringify(stalled)}`);
  return task;
}

/** What the tenant has is what the half-way task gave it: nobody touched it. */
async function isWhereItWas(tenantId: string): Promise<readonly unknown[]> {
  const tenant = `${stand.namespace}/${tenantId}`;
  const effects = await effectsAt([stand.blue, stand.green], tenant);
  return [await stand.redis.hgetall(`${stand.namespace}:${tenantId}`), effectLines(effects)];
}
const HALF_WAY = [{ unit: "green", version: "42" }, ["green 42 applied"]];

/** The next task of the tenant ends well; it had to say where the tenant comes from. */
async function nextCompletes(tenantId: string, about: TaskAbout = {}): Promise<Document> {
  const name = `${tenantId}-next`;
  await stand.create(aSwitch(stand, { name, tenantId, ...about }));
  return stand.over(name, "Completed");
}

describe.concurrent("what people do by hand", () => {
  test("[S30] status emptied: stopped and said; given free by the named command, the next task goes on", async ({
    expect,
  }) => {
    const name = await halfWay("emptied");
    await emptyStatus(`swt/${name}`);
    const task = await diverged(name, "the status of this task is gone");
    expect(await isWhereItWas("emptied")).toEqual(HALF_WAY);
    expect(at(await stand.tenant("emptied"), "/status/holder/task")).toBe(name);
    await type(stand, wayOut(task));
    const over = await stand.over(name, "Cancelled");
    expect(conditionOf(over, "Stalled")).toMatchObject({ status: "True", reason: "Cancelled" });
    expect(at(over, "/status/abandoned")).toMatchObject({ by: "admin", reason: "seen in the night" });
    expect(at(await released(stand, "emptied"), "/status/unknown/by")).toBe("admin");
    await nextCompletes("emptied");
  });

  test("TenantState's status emptied while it is held: stopped; made again by the named command", async ({
    expect,
  }) => {
    const name = await halfWay("blank");
    await emptyStatus("tstate/blank");
    const task = await diverged(name, "this task has claims, but nobody holds the tenant");
    expect(await isWhereItWas("blank")).toEqual(HALF_WAY);
    await type(stand, wayOut(task));
    await stand.over(name, "Cancelled");
    expect(at(await released(stand, "blank"), "/status/released")).toMatchObject({
      result: "Done",
      reason: "the record was made again",
    });
    await nextCompletes("blank");
  });

  test("TenantState deleted while it is held: it stays until the task is over, then it goes", async ({ expect }) => {
    const name = await halfWay("deleted");
    await byHand("delete", "tstate/deleted", "--wait=false");
    expect(at(await stand.tenant("deleted"), "/status/holder/task")).toBe(name);
    await type(stand, wayOut(await stand.task(name)));
    await stand.over(name, "Completed");
    await byHand("wait", "--for=delete", "--timeout=10s", "tstate/deleted");
    // Nobody remembers where the tenant is: whoever comes next has to say.
    await nextCompletes("deleted");
  });

  test("[S30] TenantState gone with its finalizer: stopped; made again by the named command, the next task goes on", async ({
    expect,
  }) => {
    const name = await halfWay("lost");
    await takeOffFinalizer("tstate/lost");
    await byHand("delete", "tstate/lost");
    const task = await diverged(name, "this task has claims, but nobody holds the tenant");
    expect(await isWhereItWas("lost")).toEqual(HALF_WAY);
    const fence = `${textAt(task, "/status/epoch")}-0000000${textAt(task, "/status/seq")}`;
    await type(stand, wayOut(task));
    await stand.over(name, "Cancelled");
    const record = await released(stand, "lost");
    expect(textAt(record, "/status/fence") >= fence).toBe(true);
    await nextCompletes("lost");
  });

  test("[S27] finalizer taken off and deleted: the tenant is kept from all; freed by the named command, the waiting task goes on", async ({
    expect,
  }) => {
    const name = await halfWay("vanished");
    await takeOffFinalizer(`swt/${name}`);
    await byHand("delete", `swt/${name}`);
    await stand.create(aSwitch(stand, { name: "vanished-next", tenantId: "vanished" }));
    const task = await diverged("vanished-next", `its holder ${name} `);
    expect(at(task, "/status/phase")).toBe("Pending");
    expect(await isWhereItWas("vanished")).toEqual(HALF_WAY);
    await type(stand, wayOut(task));
    await stand.over("vanished-next", "Completed");
    expect(at(await stand.tenant("vanished"), "/status/released")).toMatchObject({ result: "Done" });
  });

  test("recreated, tenant still there: Completed at once, nothing is done again", async ({ expect }) => {
    const task = aSwitch(stand, { name: "again-green", tenantId: "again" });
    await stand.create(task);
    await stand.over("again-green", "Completed");
    await byHand("delete", "swt/again-green");
    await stand.create(task);
    const again = await stand.until(
      "again-green",
      "to be done anew",
      (seen) => conditionOf(seen, "Succeeded").message !== "",
    );
    expect(conditionOf(again, "Succeeded").message).toBe(
      "executed before, and the tenant is still there: nothing was done",
    );
    expect(historyOf(again).at(-1)).toBe("Validating → Completed (AlreadyExecuted)");
    expect(await isWhereItWas("again")).toEqual(HALF_WAY);
  });

  test("recreated, tenant elsewhere: Cancelled, and told how to run it again", async ({ expect }) => {
    const task = aSwitch(stand, { name: "twice-green", tenantId: "twice" });
    await stand.create(task);
    await stand.over("twice-green", "Completed");
    await stand.patch("twice-green", { rollback: true });
    const back = await stand.over("twice-green", "RolledBack");
    expect(conditionOf(back, "Stalled").message).toBe("undone: the tenant is where it was before");
    await byHand("delete", "swt/twice-green");
    await stand.create(task);
    const replayed = await stand.over("twice-green", "Cancelled");
    expect(conditionOf(replayed, "Stalled").message).toBe(
      'executed before, and the tenant is elsewhere now; to run it again, delete it and create it with annotation turnout.dev/rerun: "NEW TEXT"',
    );
    await byHand("delete", "swt/twice-green");
    const annotations = { "turnout.dev/rerun": "NEW TEXT" };
    await stand.create(aSwitch(stand, { name: "twice-green", tenantId: "twice", annotations }));
    await stand.over("twice-green", "Completed");
  });

  test("second task of a busy tenant: it waits, names the holder, and goes on after it", async ({ expect }) => {
    const name = await halfWay("busy");
    await stand.create(aSwitch(stand, { name: "busy-next", tenantId: "busy", spec: { previous: undefined } }));
    const waiting = await stand.waits("busy-next", "WaitingForLock");
    expect(conditionOf(waiting, "Ready").message).toContain(`${stand.namespace}/${name}`);
    expect(await type(stand, wayOut(waiting))).toContain(name);
    await type(stand, wayOut(await stand.task(name)));
    await stand.over(name, "Completed");
    const next = await stand.over("busy-next", "Completed");
    expect(at(next, "/status/plan/previous/task/name")).toBe(name);
  });

  test("[SEC-13] forged approval: refused, whoever types it; the stage waits on, and the approver's own is taken", async ({
    expect,
  }) => {
    const { namespace, alice, kubectl, env } = stand;
    const name = await halfWay("forged");
    const approvals = { gate: { bob: { decision: "Approve" } } };
    const forged = command(name, namespace, { approvals });
    const own = command(name, namespace, { approvals: { gate: { alice: { decision: "Approve" } } } });
    const bind = (role: string): Promise<unknown> =>
      byHand("create", "rolebinding", role, `--clusterrole=${role}`, "--user=alice");
    await bind("turnout-operator");
    expect(await refusal(alice.run(...own))).toContain("approving needs the verb approve on this SwitchTask");
    await bind("turnout-approver");
    for (const who of [alice, kubectl])
      expect(await refusal(who.run(...forged))).toContain(
        "control.approvals.STAGE.USER: USER is your own user name (kubectl auth whoami)",
      );
    const waiting = await stand.task(name);
    expect(at(waiting, "/status/waiting/reason")).toBe("AwaitingApproval");
    expect(at(waiting, "/status/commands")).toBeUndefined();
    await type(stand, wayOut(waiting), env["KUBECONFIG_USER"]);
    const task = await stand.over(name, "Completed");
    expect(at(task, "/status/stages/2/outputs")).toMatchObject({ approvedBy: ["alice"] });
  });
});
