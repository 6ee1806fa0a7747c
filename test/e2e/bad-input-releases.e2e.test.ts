import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { conditionOf, type } from "../support/person.ts";
import { type LegacyReceiver, openLegacyReceiver } from "../support/legacy-receiver.ts";
import { aSwitch, CHECK, type Document, NOTIFY, openTestStand, ROUTE, SOAK, type TestStand } from "../support/stand.ts";
import { effectLines, effectsAt, textAt } from "../support/stand-read.ts";

let stand: TestStand;
let legacy: LegacyReceiver;
beforeAll(async () => {
  legacy = await openLegacyReceiver();
  const unfenced = {
    name: "legacy",
    protocol: "http",
    fencing: "None",
    addresses: [`127.0.0.1:${legacy.port}`],
    ports: [legacy.port],
    allow: { methods: ["GET", "POST"], paths: ["/apply", "/state/"] },
  };
  stand = await openTestStand(inject("env"), { spaces: 1, endpoints: [unfenced] });
  await stand.operator();
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await legacy[Symbol.asyncDispose]();
});

const GATE = { name: "gate", approval: {} };
const TELL = {
  name: "tell",
  attemptTimeout: "1s",
  instanceTimeout: "500ms",
  http: {
    endpoint: "legacy",
    method: "POST",
    path: "/apply",
    body: { tenant: "${tenantId}", unit: "${target.deployUnit.name}", version: "${plan.version}" },
    probe: { path: "/state/${tenantId}", opIdPointer: "/opId" },
  },
};

const answer = (tenant: Document): Document => (at(tenant, "/status/released") ?? {}) as Document;

/** Types the release that gives the tenant free. */
async function release(tenantId: string): Promise<void> {
  const epoch = textAt(await stand.tenant(tenantId), "/status/epoch");
  const patch = `{"spec":{"forceRelease":{"epoch":${epoch},"by":"YOU","reason":"WHY"}}}`;
  await type(stand, `kubectl patch tstate ${tenantId} -n ${stand.namespace} --type=merge -p '${patch}'`);
}

describe.concurrent("a tenant that a person gives free", () => {
  test("[S28] its holder is moving: abandoned first, then free, and the next task waits no longer", async ({
    expect,
  }) => {
    const name = "moving-green";
    await stand.create(aSwitch(stand, { name, tenantId: "moving", stages: [ROUTE(stand.namespace), NOTIFY, GATE] }));
    await stand.waits(name, "AwaitingApproval");
    await stand.create(aSwitch(stand, { name: "moving-next", tenantId: "moving" }));
    await stand.waits("moving-next", "WaitingForLock");
    await release("moving");
    const over = await stand.over(name, "Cancelled");
    expect(at(over, "/status/abandoned")).toMatchObject({ by: "admin", reason: "seen in the night" });
    expect(conditionOf(over, "Stalled")).toMatchObject({
      status: "True",
      reason: "Cancelled",
      message:
        "abandoned by admin: seen in the night; nobody knows where the tenant is: the next task must state spec.previous",
    });
    await stand.over("moving-next", "Completed");
    expect(answer(await stand.tenant("moving"))).toMatchObject({ result: "Done" });
    const [abandoned] = stand.versions(name).filter((one) => at(one, "/status/abandoned") !== undefined);
    const [free] = stand.tenantVersions("moving").filter((one) => at(one, "/status/unknown") !== undefined);
    expect(Number(textAt(abandoned ?? {}, "/metadata/resourceVersion"))).toBeLessThan(
      Number(textAt(free ?? {}, "/metadata/resourceVersion")),
    );
  });

  test("an older lock is meant: refused, and said which one there is", async ({ expect }) => {
    const name = "older-green";
    await stand.create(aSwitch(stand, { name, tenantId: "older", stages: [ROUTE(stand.namespace), NOTIFY, GATE] }));
    await stand.waits(name, "AwaitingApproval");
    const epoch = textAt(await stand.tenant("older"), "/status/epoch");
    const patch = { spec: { forceRelease: { epoch: Number(epoch) - 1, by: "admin", reason: "read it wrong" } } };
    await stand.kubectl.run(
      "patch",
      "tstate",
      "older",
      "-n",
      stand.namespace,
      "--type=merge",
      "-p",
      JSON.stringify(patch),
    );
    await stand.kubectl.run(
      "wait",
      "tstate/older",
      "-n",
      stand.namespace,
      "--for=jsonpath={.status.released.result}=Rejected",
    );
    expect(answer(await stand.tenant("older"))["reason"]).toBe(`the lock has epoch ${epoch}`);
    expect(at(await stand.task(name), "/status/phase")).toBe("Running");
    await stand.patch(name, { rollback: true });
    await stand.over(name, "RolledBack");
  });

  test("[S8] what was sent without a fence may still arrive: Accepted, and free only when it must have", async ({
    expect,
  }) => {
    const name = "quiet-green";
    const tenant = "quiet";
    legacy.answerNext("cut");
    legacy.answerState({ status: 503 });
    await stand.create(aSwitch(stand, { name, tenantId: tenant, stages: [TELL, CHECK] }));
    await stand.waits(name, "UnknownOutcome");
    await stand.create(aSwitch(stand, { name: "quiet-next", tenantId: tenant, stages: [ROUTE(stand.namespace)] }));
    await stand.waits("quiet-next", "WaitingForLock");
    await release(tenant);
    const over = await stand.phase(name, "Cancelled");
    const quiet = textAt(over, "/status/stages/0/quietUntil");
    await stand.over("quiet-next", "Completed");
    const [accepted] = stand.tenantVersions(tenant).filter((one) => answer(one)["result"] === "Accepted");
    expect(answer(accepted ?? {})["reason"]).toBe(
      `Quiescing until ${quiet}: what went to receivers without fences may still arrive`,
    );
    const [free] = stand.tenantVersions(tenant).filter((one) => at(one, "/status/unknown") !== undefined);
    expect(textAt(free ?? {}, "/status/unknown/since") >= quiet).toBe(true);
    expect(legacy.applied).toEqual(["quiet green 42"]);
    legacy.answerState(null);
  });
});

describe.concurrent("a namespace that is deleted", () => {
  test("[S7] in the middle of a switch: the tenant goes back, then everything is gone", async ({ expect }) => {
    const space = await stand.space();
    const tenant = `${space.namespace}/acme`;
    await space.operator();
    const stages = [ROUTE(space.namespace), NOTIFY, CHECK, SOAK("1h")];
    await stand.redis.hset(`${space.namespace}:acme`, { unit: "blue", version: "41" });
    await space.create(aSwitch({ ...stand, namespace: space.namespace }, { stages }));
    await space.waits("acme-green", "Waiting");
    await stand.kubectl.run("delete", "namespace", space.namespace, "--timeout=30s");
    const last = space.versions("acme-green").at(-1) ?? {};
    expect(at(last, "/status/phase")).toBe("RolledBack");
    expect(await stand.redis.hgetall(`${space.namespace}:acme`)).toEqual({ unit: "blue", version: "41" });
    expect(await stand.blue.state(tenant)).toMatchObject({ deployUnit: { name: "blue" }, version: 41 });
    expect(effectLines(await effectsAt([stand.blue, stand.green], tenant))).toContain("green 42 applied");
  });
});
