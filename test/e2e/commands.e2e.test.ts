import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { type Front, openFront } from "../support/front.ts";
import { type as typed, wayOut } from "../support/person.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { messageOf, doubled, effectLines, effectsAt, phasesOf, stagesOf, textAt } from "../support/stand-read.ts";
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

// Every command by `kubectl patch --type=merge`, in the phases in which it is accepted and in some in which it is not.
let stand: TestStand;
/** Before green, for the one test that cuts answers off. */
let front: Front;
beforeAll(async () => {
  front = await openFront();
  const fronted = {
    name: "fronted",
    protocol: "http",
    fencing: "Token",
    addresses: [front.address],
    ports: [front.port],
    allow: { methods: ["GET", "PUT"], paths: ["/turnout/v1/tenants/"] },
    credentials: { bearer: { env: "TURNOUT_SECRET_GATEWAY" } },
  };
  stand = await openTestStand(inject("env"), { endpoints: [fronted] });
  front.before(stand.green);
  await stand.operator();
});
afterAll(async () => {
  await stand[Symbol.asyncDispose]();
  await front[Symbol.asyncDispose]();
});

const tenantOf = (name: string): string => `${stand.namespace}/${name}`;
/** A task and its tenant of the same name; where the tenant was before stands in Redis. */
async function started(name: string, about: TaskAbout = {}): Promise<void> {
  await stand.redis.hset(`${stand.namespace}:${name}`, { unit: "blue", version: "41" });
  await stand.create(aSwitch(stand, { name, tenantId: name, ...about }));
}
const effects = async (name: string): Promise<readonly string[]> =>
  effectLines(await effectsAt([stand.blue, stand.green], tenantOf(name)));
const answer = (task: Document, field: string): string =>
  [textAt(task, `/status/commands/${field}/result`), textAt(task, `/status/commands/${field}/reason`)]
    .filter((part) => part !== "")
    .join(": ");
const redis = (name: string): Promise<Record<string, string>> => stand.redis.hgetall(`${stand.namespace}:${name}`);
const reasons = async (name: string, count: number): Promise<readonly string[]> =>
  (await stand.events(name, count)).map(({ reason }) => reason);
const called = (name: string): unknown => ({ ...(NOTIFY as object), name });
const route = (): unknown => ROUTE(stand.namespace);
const AT_BLUE = { unit: "blue", version: "41" };
/** Long enough for a kubectl to start on a busy machine; the stages that take it wait longer. */
const IN_FLIGHT = 2500;
const UNHURRIED = { attemptTimeout: "12s", instanceTimeout: "10s" };
/** What an undone announce leaves: told forward, then told again at both sides. */
const UNDONE = ["blue 41 applied", "green 42 applied", "green 41 applied"];

describe.concurrent("pause and resume", () => {
  const PIPELINE = ["one", "two", "three", "four"];
  /** Only the stage that is to be met in flight goes to blue, which takes its time. */
  const heldAtBlue = (name: string): unknown => ({
    ...UNHURRIED,
    name,
    http: { endpoint: "im-gateway", to: { key: "slow-one", select: "All" } },
  });
  const bothSides = (): Readonly<Record<string, unknown>> => {
    const endpoints = [
      { key: "im-gateway", host: "127.0.0.1", port: stand.green.port },
      { key: "slow-one", host: "127.0.0.1", port: stand.blue.port },
    ];
    return {
      target: { deployUnit: { id: 2, name: "green", version: 7 }, endpoints },
      previous: { deployUnit: { id: 1, name: "blue", version: 6 }, endpoints, planVersion: 41 },
    };
  };
  test.for([0, 1, 2, 3, 4])(
    "[R69] [R70] [F3] paused after stage %i of 4: the one in flight settles, no other begins, each is called once",
    async (boundary, { expect }) => {
      const name = `boundary-${boundary}`;
      await stand.blue.tell({ mode: "slow", tenant: tenantOf(name), ms: IN_FLIGHT, times: 1 });
      const stages = PIPELINE.map((stage, i) => (i === boundary - 1 ? heldAtBlue(stage) : called(stage)));
      const control = boundary === 0 ? { control: { paused: true } } : {};
      await started(name, { stages, spec: { ...bothSides(), ...control } });
      if (boundary > 0) {
        const stage = PIPELINE[boundary - 1] ?? "";
        await stand.until(name, `to run ${stage}`, (task) => stagesOf(task)[stage] === "Running");
        await stand.patch(name, { paused: true });
      }
      const paused = await stand.answered(name, "paused", "Done");
      const settled = PIPELINE.slice(0, boundary);
      expect(stagesOf(paused)).toEqual(Object.fromEntries(settled.map((stage) => [stage, "Completed"])));
      expect(at(paused, "/status/phase")).toBe("Paused");
      expect(await effects(name)).toHaveLength(boundary);
      const accepted = stand
        .versions(name)
        .filter((version) => at(version, "/status/commands/paused/result") === "Accepted");
      // Said while the stage is still in flight, or before the task is where a pause takes effect.
      const waited = boundary === 0 ? undefined : "Running";
      expect(accepted.length).toBeGreaterThan(0);
      for (const version of accepted) expect(stagesOf(version)[PIPELINE[boundary - 1] ?? ""]).toBe(waited);

      await stand.patch(name, { paused: false });
      await stand.over(name, "Completed");
      const all = await effectsAt([stand.blue, stand.green], tenantOf(name));
      const sides = PIPELINE.map((_, i) => (i === boundary - 1 ? "blue 42 applied" : "green 42 applied"));
      expect(effectLines(all).toSorted()).toEqual(sides.toSorted());
      expect(doubled(all)).toEqual([]);
    },
  );

  test("[R69] a read is stopped at once, not at its end, and asked again when resumed", async ({ expect }) => {
    const name = "stops-read";
    await stand.green.tell({ mode: "old-version", tenant: tenantOf(name) });
    const check = { name: "check", verify: { ...(CHECK as { verify: object }).verify, rounds: 200 } };
    await started(name, { stages: [NOTIFY, check] });
    await stand.waits(name, "AwaitingVersions");
    await stand.patch(name, { paused: true });
    const paused = await stand.answered(name, "paused", "Done");
    expect(messageOf(paused, "Ready")).toContain("paused at stage check");
    await stand.green.tell({ mode: "ok", tenant: tenantOf(name) });
    await stand.patch(name, { paused: false });
    const task = await stand.over(name, "Completed");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Paused", "Resuming", "Running", "Completed"]);
    expect(await effects(name)).toEqual(["green 42 applied"]);
  });

  test("[F2] paused after its last stage it is Paused: no Completed is told before somebody resumes", async ({
    expect,
  }) => {
    const name = "last-paused";
    await started(name, { stages: [SOAK("1h")] });
    await stand.waits(name, "Waiting");
    await stand.patch(name, { paused: true });
    await stand.answered(name, "paused", "Done");
    expect(await reasons(name, 4)).toEqual(["Created", "Validated", "Started", "Paused"]);
    await stand.patch(name, { cancel: true });
    const task = await stand.over(name, "Cancelled");
    expect(answer(task, "cancel")).toBe("Done");
    expect(await reasons(name, 6)).not.toContain("Completed");
  });
});

describe.concurrent("[R71] rollback", () => {
  const back = async (name: string): Promise<Document> => {
    await stand.patch(name, { rollback: true });
    return stand.over(name, "RolledBack");
  };
  const stages = (...more: readonly unknown[]): readonly unknown[] => [route(), NOTIFY, CHECK, ...more];

  test("from Pending: nothing was claimed, nothing is touched", async ({ expect }) => {
    await started("from-pending", { stages: stages(), spec: { executionUnit: "june" } });
    await stand.waits("from-pending", "UnitUnavailable");
    const task = await back("from-pending");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "RollingBack", "RolledBack"]);
    expect(answer(task, "rollback")).toBe("Done");
    expect(await effects("from-pending")).toEqual([]);
    expect(await redis("from-pending")).toEqual(AT_BLUE);
  });

  test("from Running", async ({ expect }) => {
    await started("from-running", { stages: stages(SOAK("1h")) });
    await stand.waits("from-running", "Waiting");
    const task = await back("from-running");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "RollingBack", "RolledBack"]);
    expect((await effects("from-running")).toSorted()).toEqual(UNDONE.toSorted());
    expect(await redis("from-running")).toEqual(AT_BLUE);
  });

  test("from Paused, and with a resume in the same patch it wins", async ({ expect }) => {
    await started("from-paused", { stages: stages(SOAK("1h")) });
    await stand.waits("from-paused", "Waiting");
    await stand.patch("from-paused", { paused: true });
    await stand.phase("from-paused", "Paused");
    await stand.patch("from-paused", { paused: false, rollback: true });
    const task = await stand.over("from-paused", "RolledBack");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Paused", "RollingBack", "RolledBack"]);
    expect((await effects("from-paused")).toSorted()).toEqual(UNDONE.toSorted());
  });

  test("from Failed: the failed stage is undone too", async ({ expect }) => {
    await stand.green.tell({ mode: "fail", tenant: tenantOf("from-failed"), times: 3 });
    await started("from-failed", { stages: stages() });
    await stand.phase("from-failed", "Failed");
    const task = await back("from-failed");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Failed", "RollingBack", "RolledBack"]);
    expect(stagesOf(task)).toMatchObject({ route: "RolledBack", notify: "RolledBack" });
    expect(await redis("from-failed")).toEqual(AT_BLUE);
    expect(await stand.green.state(tenantOf("from-failed"))).toMatchObject({ version: 41 });
  });

  test("from Completed: the tenant is taken again and brought back", async ({ expect }) => {
    await started("from-completed", { stages: stages() });
    const before = await stand.over("from-completed", "Completed");
    await stand.patch("from-completed", { rollback: true });
    const task = await stand.over("from-completed", "RolledBack");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Completed", "RollingBack", "RolledBack"]);
    expect(Number(at(task, "/status/epoch"))).toBeGreaterThan(Number(at(before, "/status/epoch")));
    expect((await effects("from-completed")).toSorted()).toEqual(UNDONE.toSorted());
    expect(await redis("from-completed")).toEqual(AT_BLUE);
    const { current } = (await stand.tenant("from-completed"))["status"] as { readonly current: unknown };
    expect(current).toMatchObject({ deployUnit: { name: "blue" }, planVersion: 41, restorable: false });
  });

  test("refused where a later task moved the tenant, which it names", async ({ expect }) => {
    await started("earlier", { tenantId: "moved", stages: [NOTIFY] });
    await stand.over("earlier", "Completed");
    const endpoints = [{ key: "im-gateway", host: "127.0.0.1", port: stand.blue.port }];
    const target = { deployUnit: { id: 1, name: "blue", version: 6 }, endpoints };
    const later = { previous: undefined, plan: { id: 18, version: 43 }, target };
    await started("later", { tenantId: "moved", stages: [NOTIFY], spec: later });
    await stand.over("later", "Completed");
    await stand.patch("earlier", { rollback: true });
    const task = await stand.answered("earlier", "rollback", "Rejected");
    expect(answer(task, "rollback")).toContain("later");
    expect(at(task, "/status/phase")).toBe("Completed");
    expect(await stand.blue.state(tenantOf("moved"))).toMatchObject({ version: 43 });
    expect(at(await stand.tenant("moved"), "/status/holder")).toBeUndefined();
  });

  test("[F10] [R41] an undo that fails says which stage is on which side; retried, it goes on from there", async ({
    expect,
  }) => {
    const name = "undo-fails";
    await started(name, { stages: stages(SOAK("1h")) });
    await stand.waits(name, "Waiting");
    await stand.blue.tell({ mode: "refuse", tenant: tenantOf(name), status: 422 });
    await stand.patch(name, { rollback: true });
    const failed = await stand.phase(name, "RollbackFailed");
    expect(answer(failed, "rollback")).toBe("Accepted");
    const refusing = `127.0.0.1:${stand.blue.port}`;
    expect((await stand.events(name, 8)).at(-1)?.line).toMatch(
      new RegExp(
        `^8 Warning RollbackFailed: undone route, soak; still on the new side notify.*: .*${refusing} answered 422`,
      ),
    );
    await stand.patch(name, { paused: true });
    expect(answer(await stand.answered(name, "paused", "Rejected"), "paused")).toBe(
      "Rejected: a rollback is not paused",
    );
    await stand.blue.tell({ mode: "ok", tenant: tenantOf(name) });
    await stand.patch(name, { retry: 1 });
    const task = await stand.over(name, "RolledBack");
    expect(answer(task, "retry")).toBe("Done");
    expect(answer(task, "rollback")).toBe("Done");
    expect((await effects(name)).filter((line) => line.endsWith("applied")).toSorted()).toEqual(UNDONE.toSorted());
    expect(await redis(name)).toEqual(AT_BLUE);
  });

  test("asked for while a stage runs: it settles first, then all is undone", async ({ expect }) => {
    const name = "in-flight";
    await stand.green.tell({ mode: "slow", tenant: tenantOf(name), ms: IN_FLIGHT, times: 1 });
    await started(name, { stages: [route(), { ...(NOTIFY as object), ...UNHURRIED }, CHECK] });
    await stand.until(name, "to tell", (task) => stagesOf(task)["notify"] === "Running");
    await stand.patch(name, { rollback: true });
    await stand.answered(name, "rollback", "Accepted");
    const task = await stand.over(name, "RolledBack");
    expect(answer(task, "rollback")).toBe("Done");
    expect((await effects(name)).toSorted()).toEqual(UNDONE.toSorted());
  });
});

describe.concurrent("[R74] cancel", () => {
  test("with nothing claimed: over at once, nothing touched, the tenant never held", async ({ expect }) => {
    await started("cancel-early", { spec: { executionUnit: "june" } });
    await stand.waits("cancel-early", "UnitUnavailable");
    await stand.patch("cancel-early", { cancel: true });
    const task = await stand.over("cancel-early", "Cancelled");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Cancelled"]);
    expect(answer(task, "cancel")).toBe("Done");
    expect(await effects("cancel-early")).toEqual([]);
    const event = (await stand.events("cancel-early", 3)).at(-1);
    expect(event?.line).toMatch(/^3 Normal Cancelled: .*kubectl-patch \(unverified\)/);
  });

  test("[F14] while a stage runs: it settles, all is undone, then Cancelled", async ({ expect }) => {
    const name = "cancel-flight";
    await stand.green.tell({ mode: "slow", tenant: tenantOf(name), ms: IN_FLIGHT, times: 1 });
    await started(name, { stages: [route(), { ...(NOTIFY as object), ...UNHURRIED }, CHECK] });
    await stand.until(name, "to tell", (task) => stagesOf(task)["notify"] === "Running");
    await stand.patch(name, { cancel: true });
    await stand.answered(name, "cancel", "Accepted");
    const task = await stand.over(name, "Cancelled");
    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "RollingBack", "Cancelled"]);
    expect(stagesOf(task)).toMatchObject({ route: "RolledBack", notify: "RolledBack" });
    expect((await effects(name)).toSorted()).toEqual(UNDONE.toSorted());
    expect(await redis(name)).toEqual(AT_BLUE);
    expect(await reasons(name, 7)).not.toContain("Completed");
    expect(at(task, "/status/conditions")).toContainEqual(
      expect.objectContaining({ type: "Succeeded", status: "False", reason: "Cancelled" }),
    );
  });
});

describe.concurrent("[R72] retry", () => {
  test("from the checkpoint: settled stages are not called again; the same number does nothing twice", async ({
    expect,
  }) => {
    const name = "retried";
    await stand.green.tell({ mode: "refuse", tenant: tenantOf(name), status: 422, times: 2 });
    await started(name);
    await stand.phase(name, "Failed");
    await stand.patch(name, { retry: 1 });
    await stand.until(
      name,
      "to fail again",
      (task) => at(task, "/status/retried") === 1 && at(task, "/status/phase") === "Failed",
    );
    await stand.patch(name, { retry: 1, paused: false });
    await stand.answered(name, "paused", "Done");
    expect(at(await stand.task(name), "/status/phase")).toBe("Failed");
    await stand.patch(name, { retry: 2 });
    const task = await stand.over(name, "Completed");
    const [first] = at(task, "/status/stages") as readonly { readonly name: string; readonly attempts: number }[];
    expect(first).toMatchObject({ name: "route", attempts: 1 });
    expect((await effects(name)).filter((line) => line.endsWith("applied"))).toEqual(["green 42 applied"]);
  });

  test("refused while it runs, and never taken up later", async ({ expect }) => {
    const name = "retried-early";
    await stand.green.tell({ mode: "refuse", tenant: tenantOf(name), status: 422, times: 1 });
    await started(name, { stages: [SOAK("1h"), NOTIFY] });
    await stand.waits(name, "Waiting");
    await stand.patch(name, { retry: 7 });
    const told = await stand.answered(name, "retry", "Rejected");
    expect(answer(told, "retry")).toBe("Rejected: the task is Running, not Failed or RollbackFailed");
    await stand.patch(name, { skip: { soak: { by: "admin", reason: "no time" } } });
    const failed = await stand.phase(name, "Failed");
    expect(answer(failed, "retry")).toMatch(/^Rejected/);
    await stand.patch(name, { retry: 8 });
    await stand.over(name, "Completed");
  });
});

test("[HTTP receiver/silent] [S26] never answered and known not to be in force: Failed says so, its command goes on", async ({
  expect,
}) => {
  const name = "silent";
  await stand.green.tell({ mode: "silent", tenant: tenantOf(name) });
  await started(name, { stages: [NOTIFY] });
  const task = await stand.phase(name, "Failed");
  expect(textAt(task, "/status/failure/message")).toBe(
    "stage notify: none of its attempts was answered, and its receivers say that none took effect; see why they did not answer, then retry",
  );
  await stand.green.tell({ mode: "ok", tenant: tenantOf(name) });
  await typed(stand, wayOut(task));
  await stand.over(name, "Completed");
  expect(await effects(name)).toEqual(["green 42 applied"]);
});

describe.concurrent("skip", () => {
  const by = (reason: string): unknown => ({ by: "admin", reason });

  test("a failed stage: Skipped with who and why, and a later rollback undoes it all the same", async ({ expect }) => {
    const name = "skips-failed";
    await stand.green.tell({ mode: "refuse", tenant: tenantOf(name), status: 422, times: 1 });
    await started(name, { stages: [route(), NOTIFY] });
    await stand.phase(name, "Failed");
    await stand.patch(name, { skip: { notify: by("told by hand") } });
    const task = await stand.over(name, "Completed");
    expect(stagesOf(task)).toEqual({ route: "Completed", notify: "Skipped" });
    expect(at(task, "/status/stages/1/skipped")).toMatchObject({ by: "admin", reason: "told by hand" });
    await stand.patch(name, { rollback: true });
    const back = await stand.over(name, "RolledBack");
    expect(stagesOf(back)).toEqual({ route: "RolledBack", notify: "RolledBack" });
    expect(await stand.blue.state(tenantOf(name))).toMatchObject({ version: 41 });
  });

  test("refused: an approval, a stage that nobody knows, one that neither failed nor waits", async ({ expect }) => {
    const name = "skips-not";
    await started(name, { stages: [{ name: "gate", approval: {} }, NOTIFY] });
    await stand.waits(name, "AwaitingApproval");
    const told = async (skip: unknown): Promise<string> => {
      const before = textAt(await stand.task(name), "/status/commands/skip/value");
      await stand.patch(name, { skip: null });
      await stand.patch(name, { skip });
      const changed = (task: Document): boolean => textAt(task, "/status/commands/skip/value") !== before;
      return answer(await stand.until(name, "to answer the skip", changed), "skip");
    };
    expect(await told({ gate: by("no time") })).toBe("Rejected: stage gate is an approval and cannot be skipped");
    expect(await told({ nothing: by("no time") })).toBe("Rejected: there is no stage nothing");
    expect(await told({ notify: by("no time") })).toBe("Rejected: stage notify neither failed nor waits");
    expect(at(await stand.task(name), "/status/phase")).toBe("Running");
    await stand.patch(name, { cancel: true });
    await stand.over(name, "Cancelled");
  });

  test("[S26] refused while nobody knows whether the stage took effect", async ({ expect }) => {
    const name = "skips-unknown";
    front.spoil("cut");
    await started(name, { stages: [{ name: "notify", http: { endpoint: "fronted" } }] });
    await stand.waits(name, "UnknownOutcome");
    await stand.patch(name, { skip: { notify: by("no time") } });
    const task = await stand.answered(name, "skip", "Rejected");
    expect(answer(task, "skip")).toBe("Rejected: nobody knows yet whether stage notify took effect");
    front.spoil("nothing");
    const over = await stand.over(name, "Completed");
    expect(stagesOf(over)).toEqual({ notify: "Completed" });
    expect((await effects(name)).filter((line) => line.endsWith("applied"))).toEqual(["green 42 applied"]);
  });
});
