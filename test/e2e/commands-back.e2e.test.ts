import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { phasesOf, stagesOf } from "../support/stand-read.ts";
import { CHECK, type Document, NOTIFY, openTestStand, SOAK, type TestStand } from "../support/stand.ts";
import { answer, AT_BLUE, commandedOn, IN_FLIGHT, UNDONE, UNHURRIED } from "./commanded.ts";

// Rollback and cancel by `kubectl patch --type=merge`, in the phases in which they are accepted and in some in which they are not.
let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"));
  await stand.operator();
});
afterAll(() => stand[Symbol.asyncDispose]());

const { tenantOf, started, effects, redis, reasons, route } = commandedOn(() => stand);

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
