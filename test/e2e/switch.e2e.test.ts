import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { aSwitch, CHECK, NOTIFY, openTestStand, ROUTE, type TestStand } from "../support/stand.ts";
import {
  conditionsOf,
  doubled,
  effectLines,
  effectsAt,
  historyOf,
  messageOf,
  phasesOf,
  stageConditionsOf,
  stagesOf,
  stageWrites,
  textAt,
} from "../support/stand-read.ts";

let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: 2 });
  await stand.operator();
});
afterAll(() => stand[Symbol.asyncDispose]());

const lines = async (space: Pick<TestStand, "events">, name: string, count: number): Promise<readonly string[]> =>
  (await space.events(name, count)).map(({ line }) => line);
const redisKey = (tenant: string): string => `${stand.namespace}:${tenant}`;

describe.concurrent("one tenant, one switch", () => {
  test("[R79] normal: every stage settles, receivers and Redis hold what the status says", async ({ expect }) => {
    const name = "normal";
    const tenant = `${stand.namespace}/normal`;
    await stand.redis.hset(redisKey("normal"), { unit: "blue", version: "41", owner: "ops" });
    await stand.create(aSwitch(stand, { name, tenantId: "normal" }));
    await stand.kubectl.run(
      "wait",
      "-n",
      stand.namespace,
      "--for=condition=stage.turnout.dev/check",
      "--timeout=20s",
      `swt/${name}`,
    );
    await stand.kubectl.run("wait", "-n", stand.namespace, "--for=condition=Ready", "--timeout=20s", `swt/${name}`);
    const task = await stand.over(name, "Completed");

    expect(historyOf(task)).toEqual([
      "Created → Validating (TaskSeen)",
      "Validating → Pending (SpecValid)",
      "Pending → Running (LockTaken)",
      "Running → Completed (AllStagesSettled)",
    ]);
    expect(textAt(task, "/status/progress")).toBe("3/3");
    expect(stageConditionsOf(task)).toEqual({
      route: "True/Completed",
      notify: "True/Completed",
      check: "True/Completed",
    });
    expect(conditionsOf(task)).toMatchObject({
      Ready: "True/Completed",
      Reconciling: "False/Completed",
      Stalled: "False/Completed",
      Succeeded: "True/Completed",
      Validated: "True/SpecValid",
    });
    expect(await lines(stand, name, 7)).toEqual([
      "1 Normal Created: 3 stages: route, notify, check",
      "2 Normal Validated: 3 stages valid, 1 warnings",
      "3 Normal Started: 3 stages",
      "4 Normal StageCompleted: stage route Completed, attempts 1 in …",
      "5 Normal StageCompleted: stage notify Completed, attempts 1 in …",
      "6 Normal StageCompleted: stage check Completed, attempts 1 in …",
      "7 Normal Completed: completed in …: route, notify, check",
    ]);
    expect(at(task, "/status/eventSequence")).toBe(7);
    expect(await stand.green.state(tenant)).toMatchObject({ deployUnit: { name: "green" }, version: 42 });
    expect(effectLines(await effectsAt([stand.blue, stand.green], tenant))).toEqual(["green 42 applied"]);
    expect(await stand.redis.hgetall(redisKey("normal"))).toEqual({ unit: "green", version: "42", owner: "ops" });
    expect((await stand.tenant("normal"))["status"]).toMatchObject({
      current: { deployUnit: { name: "green" }, planVersion: 42, restorable: true, task: { name } },
      executions: [{ outcome: "Completed" }],
    });
    expect(at(await stand.tenant("normal"), "/status/holder")).toBeUndefined();
    expect(stageWrites(stand.versions(name))).toBe(4);
  });

  test("[R79] [R20] validation fails: every issue is named, nothing is touched, nothing is held", async ({
    expect,
  }) => {
    const name = "invalid";
    const stages = [
      { name: "route", redis: { endpoint: "no-such", key: "x:${tenantId}", string: { value: "${target.colour}" } } },
      { name: "notify", http: { endpoint: "im-gateway", to: { key: "nobody", select: "All" } } },
    ];
    await stand.create(aSwitch(stand, { name, tenantId: "invalid", stages }));
    const task = await stand.over(name, "ValidationFailed");

    expect(historyOf(task)).toEqual(["Created → Validating (TaskSeen)", "Validating → ValidationFailed (SpecInvalid)"]);
    expect(conditionsOf(task)).toMatchObject({
      Ready: "False/ValidationFailed",
      Stalled: "True/ValidationFailed",
      Validated: "False/SpecInvalid",
      Succeeded: "False/ValidationFailed",
    });
    const said = messageOf(task, "Validated");
    expect(said).toContain("spec.stages[0].redis.endpoint");
    expect(said).toContain("no-such");
    expect(said).toContain("${target.colour}");
    expect(said).toContain("spec.stages[1].http");
    const events = await lines(stand, name, 2);
    expect(events).toHaveLength(2);
    expect(events[0]).toBe("1 Normal Created: 2 stages: route, notify");
    expect(events[1]).toMatch(/^2 Warning ValidationFailed: .*no-such.*nobody/);
    expect(at(task, "/metadata/finalizers")).toBeUndefined();
    expect(stagesOf(task)).toEqual({});
    await expect(stand.tenant("invalid")).rejects.toThrow("NotFound");
    expect(await effectsAt([stand.blue, stand.green], `${stand.namespace}/invalid`)).toEqual([]);
  });

  test("[R79] stage fails and rolls back: what was there before is there again, the old unit was told and verified", async ({
    expect,
  }) => {
    const name = "fails";
    const tenant = `${stand.namespace}/fails`;
    await stand.redis.hset(redisKey("fails"), { unit: "blue", version: "41" });
    await stand.green.tell({ mode: "refuse", tenant, status: 422, times: 1 });
    await stand.create(aSwitch(stand, { name, tenantId: "fails", spec: { onFailure: "Rollback" } }));
    const task = await stand.over(name, "RolledBack");

    expect(historyOf(task)).toEqual([
      "Created → Validating (TaskSeen)",
      "Validating → Pending (SpecValid)",
      "Pending → Running (LockTaken)",
      "Running → Failed (StageFailed)",
      "Failed → RollingBack (FailureRollsBack)",
      "RollingBack → RolledBack (AllUndone)",
    ]);
    expect(stageConditionsOf(task)).toEqual({
      route: "False/RolledBack",
      notify: "False/RolledBack",
      check: "False/RolledBack",
    });
    expect(conditionsOf(task)).toMatchObject({
      Ready: "False/RolledBack",
      Stalled: "True/RolledBack",
      Succeeded: "False/RolledBack",
    });
    const green = `127.0.0.1:${stand.green.port}`;
    expect(await lines(stand, name, 8)).toEqual([
      "1 Normal Created: 3 stages: route, notify, check",
      "2 Normal Validated: 3 stages valid, 1 warnings",
      "3 Normal Started: 3 stages",
      "4 Normal StageCompleted: stage route Completed, attempts 1 in …",
      expect.stringMatching(new RegExp(`^5 Warning StageFailed: stage notify Failed, attempts 1 in ….*422.*${green}`)),
      expect.stringMatching(/^6 Warning Failed: completed route; failed notify: .*422/),
      "7 Normal RollingBack: Failure; to undo: route, notify",
      "8 Normal RolledBack: undone route, notify, check; tenant is back on blue (unit 1 version 6) in …",
    ]);
    expect(await stand.redis.hgetall(redisKey("fails"))).toEqual({ unit: "blue", version: "41" });
    expect(await stand.blue.state(tenant)).toMatchObject({ deployUnit: { name: "blue" }, version: 41 });
    const { current } = (await stand.tenant("fails"))["status"] as { readonly current: unknown };
    expect(current).toMatchObject({ deployUnit: { name: "blue" }, planVersion: 41 });
  });

  test("[R79] [R69] [R70] pause and resume: clocks stop at the boundary, every stage runs once", async ({ expect }) => {
    const name = "pauses";
    const tenant = `${stand.namespace}/pauses`;
    const soak = { name: "soak", wait: { duration: "1m" } };
    await stand.create(
      aSwitch(stand, { name, tenantId: "pauses", stages: [ROUTE(stand.namespace), soak, NOTIFY, CHECK] }),
    );
    await stand.waits(name, "Waiting");
    await stand.patch(name, { paused: true });
    await stand.kubectl.run("wait", "-n", stand.namespace, "--for=condition=Paused", "--timeout=20s", `swt/${name}`);
    const paused = await stand.answered(name, "paused", "Done");
    expect(conditionsOf(paused)).toMatchObject({
      Ready: "False/Paused",
      Reconciling: "True/Paused",
      Succeeded: "Unknown/Paused",
      Paused: "True/Paused",
    });
    expect(textAt(paused, "/status/waiting/unblock")).toBe(
      `kubectl patch swt ${name} -n ${stand.namespace} --type=merge -p '{"spec":{"control":{"paused":false}}}'`,
    );
    const { namespace } = stand;
    const whoami = { by: "admin", reason: "long enough" };
    await stand.patch(name, { paused: false });
    await stand.waits(name, "Waiting");
    await stand.patch(name, { skip: { soak: whoami } });
    const task = await stand.over(name, "Completed");

    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Paused", "Resuming", "Running", "Completed"]);
    expect(stageConditionsOf(task)).toEqual({
      route: "True/Completed",
      soak: "True/Skipped",
      notify: "True/Completed",
      check: "True/Completed",
    });
    expect(textAt(task, "/status/commands/paused/value")).toBe("false");
    expect(textAt(task, "/status/commands/paused/result")).toBe("Done");
    expect(textAt(task, "/status/pausedFor")).not.toBe("");
    expect(await lines(stand, name, 10)).toEqual([
      "1 Normal Created: 4 stages: route, soak, notify, check",
      "2 Normal Validated: 4 stages valid, 1 warnings",
      "3 Normal Started: 4 stages",
      "4 Normal StageCompleted: stage route Completed, attempts 1 in …",
      "5 Normal Paused: paused by kubectl-patch (unverified) at stage soak",
      "6 Normal Resumed: resumed by kubectl-patch (unverified), goes on from stage soak",
      "7 Normal StageCompleted: stage soak Skipped by admin: long enough",
      "8 Normal StageCompleted: stage notify Completed, attempts 1 in …",
      "9 Normal StageCompleted: stage check Completed, attempts 1 in …",
      "10 Normal Completed: completed in …: route, notify, check, soak",
    ]);
    expect(effectLines(await effectsAt([stand.blue, stand.green], `${namespace}/pauses`))).toEqual([
      "green 42 applied",
    ]);
    expect(await stand.green.state(tenant)).toMatchObject({ version: 42 });
  });

  test("[R79] [R49] recovery from checkpoint: killed after an effect, restarted, nothing lost and nothing doubled", async ({
    expect,
  }) => {
    const space = await stand.space();
    const tenant = `${space.namespace}/acme`;
    const first = await space.operator({ boundary: "effect/http#1.sent=kill" });
    await space.create(aSwitch({ ...stand, namespace: space.namespace }, { name: "recovers" }));
    await first.ended();
    const left = await space.task("recovers");
    expect(stagesOf(left)).toEqual({ route: "Completed", notify: "Running" });
    await space.operator();
    const task = await space.over("recovers", "Completed");

    expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Completed"]);
    expect(stageConditionsOf(task)).toEqual({
      route: "True/Completed",
      notify: "True/Completed",
      check: "True/Completed",
    });
    expect(await lines(space, "recovers", 7)).toEqual([
      "1 Normal Created: 3 stages: route, notify, check",
      "2 Normal Validated: 3 stages valid, 1 warnings",
      "3 Normal Started: 3 stages",
      "4 Normal StageCompleted: stage route Completed, attempts 1 in …",
      "5 Normal StageCompleted: stage notify Completed, attempts 2 in …",
      "6 Normal StageCompleted: stage check Completed, attempts 1 in …",
      "7 Normal Completed: completed in …: route, notify, check",
    ]);
    const effects = await effectsAt([stand.blue, stand.green], tenant);
    expect(effectLines(effects).filter((line) => line.endsWith("applied"))).toEqual(["green 42 applied"]);
    expect(await stand.redis.hgetall(`${space.namespace}:acme`)).toEqual({ unit: "green", version: "42" });
  });

  test(
    "[R79] [R62] many at once: 60 tenants complete, each stage of each once",
    { timeout: 60_000 },
    async ({ expect }) => {
      const space = await stand.space();
      await space.operator();
      const where = { ...stand, namespace: space.namespace };
      const ids = Array.from({ length: 60 }, (_, i) => `t${i}`);
      const items = ids.map((id) => aSwitch(where, { name: `many-${id}`, tenantId: id }));
      await space.create({ apiVersion: "v1", kind: "List", items });
      await stand.kubectl.run("wait", "-n", space.namespace, "--for=condition=Ready", "--timeout=50s", "swt", "--all");
      for (const id of ids) {
        const task = await space.over(`many-${id}`, "Completed", seconds(30));
        expect(phasesOf(task)).toEqual(["Validating", "Pending", "Running", "Completed"]);
        expect(stageWrites(space.versions(`many-${id}`))).toBe(4);
        const events = await space.events(`many-${id}`, 7);
        expect(events.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7]);
        expect(events.map(({ reason }) => reason)).toEqual([
          "Created",
          "Validated",
          "Started",
          "StageCompleted",
          "StageCompleted",
          "StageCompleted",
          "Completed",
        ]);
        expect(await stand.redis.hgetall(`${space.namespace}:${id}`)).toEqual({ unit: "green", version: "42" });
        const effects = await effectsAt([stand.blue, stand.green], `${space.namespace}/${id}`);
        expect(effectLines(effects)).toEqual(["green 42 applied"]);
        expect(doubled(effects)).toEqual([]);
      }
    },
  );
});
