import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { openApiPeople } from "../support/api-person.ts";
import { conditionOf, refusal, released, type as typed, wayOut } from "../support/person.ts";
import {
  doubled,
  effectLines,
  effectsAt,
  historyOf,
  phasesOf,
  stagesOf,
  stageWrites,
  textAt,
} from "../support/stand-read.ts";
import {
  aSwitch,
  CHECK,
  type Document,
  NOTIFY,
  openTestStand,
  ROUTE,
  SOAK,
  type TaskAbout,
  type TestStand,
} from "../support/stand.ts";

// What several people, several tasks and several operators do to one tenant.
let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: 1 });
  await stand.operator();
  const { namespace, kubectl } = stand;
  for (const [user, ...roles] of [
    ["alice", "turnout-operator"],
    ["bob", "turnout-approver", "turnout-editor"],
  ] as const)
    for (const role of roles)
      await kubectl.run(
        "create",
        "rolebinding",
        `${user}-${role}`,
        "-n",
        namespace,
        `--clusterrole=${role}`,
        `--user=${user}`,
      );
});
afterAll(() => stand[Symbol.asyncDispose]());

const tenantOf = (name: string): string => `${stand.namespace}/${name}`;
const started = (name: string, about: TaskAbout = {}): Promise<void> =>
  stand.create(aSwitch(stand, { name, tenantId: name, ...about }));
const effects = async (name: string): Promise<readonly string[]> =>
  effectLines(await effectsAt([stand.blue, stand.green], tenantOf(name)));
const answer = (task: Document, field: string): string =>
  [textAt(task, `/status/commands/${field}/result`), textAt(task, `/status/commands/${field}/reason`)]
    .filter((part) => part !== "")
    .join(": ");
const gate = (about: object = {}): unknown => ({ name: "gate", approval: about });
const says = (user: string, decision: "Approve" | "Reject", more: object = {}): string =>
  JSON.stringify({ spec: { control: { approvals: { gate: { [user]: { decision, ...more } } } } } });
const digestOf = (task: Document): string => textAt(task, "/status/plan/digest").slice("sha256:".length, 12 + 7);
const deleted = (name: string): Promise<string> =>
  stand.kubectl.run("delete", "swt", name, "-n", stand.namespace, "--wait=false");
/** From green back to blue, wherever the tenant is said to be. */
const toBlue = (version: number): Readonly<Record<string, unknown>> => ({
  previous: undefined,
  plan: { id: 18, version },
  target: {
    deployUnit: { id: 1, name: "blue", version: 6 },
    endpoints: [{ key: "im-gateway", host: "127.0.0.1", port: stand.blue.port }],
  },
});

describe.concurrent("[SEC-13] [S18] approvals", () => {
  const as = (who: "alice" | "bob" | "kubectl", name: string, patch: string): Promise<string> =>
    stand[who].run("patch", "swt", name, "-n", stand.namespace, "--type=merge", "-p", patch);

  test("alice may command and not approve, nobody may speak for bob, bob's yes opens the gate", async ({ expect }) => {
    const name = "one-yes";
    await started(name, { stages: [gate(), NOTIFY] });
    const waiting = await stand.waits(name, "AwaitingApproval");
    expect(await refusal(as("alice", name, says("alice", "Approve")))).toContain("approving needs the verb approve");
    expect(await refusal(as("alice", name, says("bob", "Approve")))).toContain("USER is your own user name");
    expect(await refusal(as("kubectl", name, says("bob", "Approve")))).toContain("USER is your own user name");
    expect(await effects(name)).toEqual([]);
    await typed(stand, wayOut(waiting), stand.env["KUBECONFIG_USER2"]);
    const task = await stand.over(name, "Completed");
    expect(at(task, "/status/stages/0/outputs/approvedBy")).toEqual(["bob"]);
    expect(answer(task, "approvals")).toBe("Done");
  });

  test("quorum: each names the plan; a yes to another plan does not count and is told", async ({ expect }) => {
    const name = "two-yes";
    await started(name, { stages: [gate({ quorum: 2 }), NOTIFY] });
    const waiting = await stand.waits(name, "AwaitingApproval");
    const expected = { expect: digestOf(waiting) };
    await as("bob", name, says("bob", "Approve", { expect: "0".repeat(12) }));
    expect(answer(await stand.answered(name, "approvals", "Rejected"), "approvals")).toContain(
      "bob: expect names another plan",
    );
    await as("bob", name, says("bob", "Approve", expected));
    expect(answer(await stand.answered(name, "approvals", "Accepted"), "approvals")).toBe("Accepted: 1 of 2");
    expect(at(await stand.task(name), "/status/phase")).toBe("Running");
    await as("kubectl", name, says("admin", "Approve", expected));
    const task = await stand.over(name, "Completed");
    expect(at(task, "/status/stages/0/outputs/approvedBy")).toEqual(["admin", "bob"]);
  });

  test("a no fails the stage and names who; what is behind it never begins", async ({ expect }) => {
    const name = "a-no";
    await started(name, { stages: [gate(), NOTIFY] });
    await stand.waits(name, "AwaitingApproval");
    await as("bob", name, says("bob", "Reject", { comment: "not tonight" }));
    const task = await stand.phase(name, "Failed");
    expect(at(task, "/status/failure")).toMatchObject({ type: "Rejected", stage: "gate" });
    expect(textAt(task, "/status/failure/message")).toContain("bob");
    expect(answer(task, "approvals")).toBe("Done: rejected by bob");
    expect(await effects(name)).toEqual([]);
  });

  test("given before the stage waits it never counts; given again it does", async ({ expect }) => {
    const name = "too-early";
    await started(name, { stages: [SOAK("1h"), gate(), NOTIFY] });
    await stand.waits(name, "Waiting");
    await as("bob", name, says("bob", "Approve"));
    const early = await stand.answered(name, "approvals", "Rejected");
    expect(answer(early, "approvals")).toBe("Rejected: stage gate does not wait for an approval");
    await as(
      "alice",
      name,
      JSON.stringify({ spec: { control: { skip: { soak: { by: "alice", reason: "no time" } } } } }),
    );
    const waiting = await stand.waits(name, "AwaitingApproval");
    expect(stagesOf(waiting)).toEqual({ soak: "Skipped", gate: "Running" });
    await as("bob", name, says("bob", "Approve", { comment: "now", expect: digestOf(waiting) }));
    await stand.over(name, "Completed");
  });

  test("whoever asks for a switch does not approve it where another must", async ({ expect }) => {
    const name = "own-yes";
    const stages = [gate({ requireDifferentUser: true }), NOTIFY];
    const manifest = JSON.stringify(aSwitch(stand, { name, tenantId: name, stages, spec: { requestedBy: "bob" } }));
    const people = await openApiPeople(stand.env["KUBECONFIG_USER2"] ?? "");
    const made = await people.as().create({ kind: "switchtasks", namespace: stand.namespace }, JSON.parse(manifest));
    await people[Symbol.asyncDispose]();
    expect(made.message).toBe("");
    const waiting = await stand.waits(name, "AwaitingApproval");
    const expected = { expect: digestOf(waiting) };
    await as("bob", name, says("bob", "Approve", expected));
    expect(answer(await stand.answered(name, "approvals", "Rejected"), "approvals")).toContain(
      "bob: asked for the switch and may not approve it",
    );
    await as("kubectl", name, says("admin", "Approve", expected));
    const task = await stand.over(name, "Completed");
    expect(at(task, "/status/stages/0/outputs/approvedBy")).toEqual(["admin"]);
  });
});

describe.concurrent("deletion", () => {
  const half = (name: string, deletionPolicy?: string): Promise<void> =>
    started(name, {
      stages: [ROUTE(stand.namespace), NOTIFY, SOAK("1h")],
      ...(deletionPolicy === undefined ? {} : { spec: { deletionPolicy } }),
    });

  test("[S27] [L5] Rollback, the default: undone first, then gone, and the tenant is free", async ({ expect }) => {
    const name = "deleted-back";
    await stand.redis.hset(`${stand.namespace}:${name}`, { unit: "blue", version: "41" });
    await half(name);
    await stand.waits(name, "Waiting");
    await deleted(name);
    await stand.gone(name);
    const last = stand.versions(name).at(-1) ?? {};
    expect(phasesOf(last)).toEqual(["Validating", "Pending", "Running", "RollingBack", "RolledBack"]);
    expect(await stand.redis.hgetall(`${stand.namespace}:${name}`)).toEqual({ unit: "blue", version: "41" });
    expect(await stand.green.state(tenantOf(name))).toMatchObject({ version: 41 });
    expect(at(await released(stand, name), "/status/current/deployUnit/name")).toBe("blue");
  });

  test("Abandon: gone at once, nothing undone, and nobody claims to know where the tenant is", async ({ expect }) => {
    const name = "deleted-abandon";
    await half(name, "Abandon");
    await stand.waits(name, "Waiting");
    await deleted(name);
    await stand.gone(name);
    expect(at(stand.versions(name).at(-1) ?? {}, "/status/abandoned")).toMatchObject({ by: "deletion" });
    expect(await effects(name)).toEqual(["green 42 applied"]);
    const tenant = await released(stand, name);
    expect(at(tenant, "/status/current")).toBeUndefined();
    expect(at(tenant, "/status/unknown")).toMatchObject({ by: "deletion" });
  });

  test("Block: it stays and goes on; over, it goes", async ({ expect }) => {
    const name = "deleted-block";
    await half(name, "Block");
    await stand.waits(name, "Waiting");
    await deleted(name);
    await stand.patch(name, { skip: { soak: { by: "admin", reason: "no time" } } });
    await stand.gone(name);
    expect(phasesOf(stand.versions(name).at(-1) ?? {})).toEqual(["Validating", "Pending", "Running", "Completed"]);
    expect(await effects(name)).toEqual(["green 42 applied"]);
    expect(at(await released(stand, name), "/status/current/deployUnit/name")).toBe("green");
  });

  test("of a finished task undoes nothing", async ({ expect }) => {
    const name = "deleted-over";
    await started(name, { stages: [NOTIFY] });
    await stand.over(name, "Completed");
    await deleted(name);
    await stand.gone(name);
    expect(await effects(name)).toEqual(["green 42 applied"]);
    expect(at(await stand.tenant(name), "/status/current/deployUnit/name")).toBe("green");
  });
});

interface Shown {
  readonly stage: string;
  readonly part?: string;
  readonly does: string;
}

describe.concurrent("[R21] dry run", () => {
  test("plan and undo plan in status, and nothing else anywhere", async ({ expect }) => {
    const name = "dry";
    await started(name, { spec: { dryRun: true } });
    const task = await stand.over(name, "Completed");
    const green = `127.0.0.1:${stand.green.port}`;
    const shown = (list: string): readonly string[] =>
      (at(task, `/status/preview/${list}`) as unknown as readonly Shown[]).map(({ stage, part, does }) =>
        `${stage}${part === undefined ? "" : ` ${part}`}: ${does}`
          .replaceAll(green, "GREEN")
          .replaceAll(stand.namespace, "NS"),
      );
    expect(shown("stages")).toMatchInlineSnapshot(`
      [
        "route: HSET 2 fields of NS:dry on routing, PUBLISH to NS-switch",
        "notify: PUT /turnout/v1/tenants/NS/dry to 1 of im-gateway",
        "check: GET /turnout/v1/tenants/NS/dry of 1 of im-gateway until all report 42",
      ]
    `);
    expect(shown("undo").map((line) => line.split(":", 1)[0])).toEqual([
      "route write",
      "route publish",
      "notify announce",
      "check verify",
    ]);
    expect(await effects(name)).toEqual([]);
    expect(await stand.redis.keys(`*${stand.namespace}:${name}*`)).toEqual([]);
    await expect(stand.tenant(name)).rejects.toThrow("NotFound");
    expect(at(task, "/metadata/finalizers")).toBeUndefined();
    expect(stagesOf(task)).toEqual({});
    // In no ledger: the same task for real is no repetition.
    await stand.kubectl.run("delete", "swt", name, "-n", stand.namespace);
    await started(name);
    expect(phasesOf(await stand.over(name, "Completed"))).toContain("Running");
  });
});

describe.concurrent("one tenant, several tasks", () => {
  test("created again it is not done again; with the tenant elsewhere it says how to mean it", async ({ expect }) => {
    const name = "again";
    const remade = async (annotations?: Readonly<Record<string, string>>): Promise<void> => {
      await stand.kubectl.run("delete", "swt", name, "-n", stand.namespace);
      await started(name, { stages: [NOTIFY], ...(annotations === undefined ? {} : { annotations }) });
    };
    await started(name, { stages: [NOTIFY] });
    await stand.over(name, "Completed");
    await remade();
    const same = await stand.over(name, "Completed");
    expect(historyOf(same).at(-1)).toBe("Validating → Completed (AlreadyExecuted)");
    expect(conditionOf(same, "Ready")).toMatchObject({ status: "True", reason: "Completed" });
    expect(await effects(name)).toEqual(["green 42 applied"]);

    await started("moves-on", { tenantId: name, stages: [NOTIFY], spec: toBlue(43) });
    await stand.over("moves-on", "Completed");
    await remade();
    const replay = await stand.over(name, "Cancelled");
    expect(conditionOf(replay, "Ready")).toMatchObject({ status: "False" });
    expect(conditionOf(replay, "Stalled").message).toContain("turnout.dev/rerun");
    expect(await effects(name)).toEqual(["blue 43 applied", "green 42 applied"]);

    await remade({ "turnout.dev/rerun": "I mean it" });
    const meant = await stand.over(name, "ValidationFailed");
    expect(conditionOf(meant, "Stalled").message).toContain("the tenant is served by blue");
  });

  test("[R58] [F26] the second waits and names the first, goes on when it is over; a third is not disturbed", async ({
    expect,
  }) => {
    await started("holds", { tenantId: "busy", stages: [NOTIFY, gate()] });
    await stand.waits("holds", "AwaitingApproval");
    await started("queues", { tenantId: "busy", stages: [NOTIFY], spec: toBlue(43) });
    const waiting = await stand.waits("queues", "WaitingForLock");
    expect(textAt(waiting, "/status/waiting/message")).toContain("holds");
    await stand.patch("holds", { paused: true });
    await stand.answered("holds", "paused", "Done");
    await started("sibling", { stages: [NOTIFY] });
    await stand.over("sibling", "Completed");
    expect(at(await stand.task("queues"), "/status/phase")).toBe("Pending");
    await stand.patch("holds", { cancel: true });
    await stand.over("holds", "Cancelled");
    await stand.over("queues", "Completed");
    expect((await effects("busy")).filter((line) => line.startsWith("blue 43"))).toEqual(["blue 43 applied"]);
  });

  test("[F6] [S10] twenty switches of one tenant in a row: each once, fences only grow, the ledger stays short", async ({
    expect,
  }) => {
    const tenantId = "to-and-fro";
    for (let i = 0; i < 20; i += 1) {
      const name = `trip-${i}`;
      const spec = i % 2 === 1 ? toBlue(43 + i) : { previous: undefined, plan: { id: 17, version: 43 + i } };
      await stand.create(aSwitch(stand, { name, tenantId, stages: [NOTIFY], spec: i === 0 ? {} : spec }));
      await stand.over(name, "Completed");
    }
    const all = await effectsAt([stand.blue, stand.green], tenantOf(tenantId));
    expect(all.map(({ verdict }) => verdict)).toEqual(Array.from({ length: 20 }, () => "applied"));
    const fences = all.map(({ fence }) => fence).toSorted();
    expect(new Set(fences).size).toBe(20);
    const inTime = all.toSorted((a, b) => a.version - b.version).map(({ fence }) => fence);
    expect(inTime).toEqual(fences);
    const { executions } = (await stand.tenant(tenantId))["status"] as { readonly executions: readonly unknown[] };
    expect(executions).toHaveLength(20);
  });
});

interface Tried {
  readonly attempts: number;
}

describe("[S3] two operators without election", () => {
  test("on one namespace: every stage is written once and takes effect once", async ({ expect }) => {
    const space = await stand.space();
    await Promise.all([space.operator({ identity: "left" }), space.operator({ identity: "right" })]);
    const names = Array.from({ length: 8 }, (_, i) => `both-${i}`);
    const where = { ...stand, namespace: space.namespace };
    const items = names.map((name) =>
      aSwitch(where, { name, tenantId: name, stages: [ROUTE(space.namespace), NOTIFY, CHECK] }),
    );
    await space.create({ apiVersion: "v1", kind: "List", items });
    for (const name of names) {
      const task = await space.over(name, "Completed");
      expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Completed"]);
      // A read that the other one has under way is taken over at once: a claim more, and nothing sent twice.
      const attempts = (at(task, "/status/stages") as unknown as readonly Tried[]).map((stage) => stage.attempts);
      expect(stageWrites(space.versions(name))).toBeLessThanOrEqual(attempts.reduce((a, b) => a + b, 1));
      expect(attempts.slice(0, 2)).toEqual([1, 1]);
      const all = await effectsAt([stand.blue, stand.green], `${space.namespace}/${name}`);
      expect(effectLines(all)).toEqual(["green 42 applied"]);
      expect(doubled(all)).toEqual([]);
      const sequences = (await space.events(name, 7)).map(({ sequence }) => sequence);
      expect(sequences).toEqual([1, 2, 3, 4, 5, 6, 7]);
    }
  });
});
