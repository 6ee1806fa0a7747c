import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { type Front, openFront } from "../support/front.ts";
import { type as typed, wayOut } from "../support/person.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { messageOf, doubled, effectLines, effectsAt, phasesOf, stagesOf, textAt } from "../support/stand-read.ts";
import { CHECK, type Document, NOTIFY, openTestStand, SOAK, type TestStand } from "../support/stand.ts";
import { answer, called, commandedOn, IN_FLIGHT, UNHURRIED } from "./commanded.ts";

// Pause, resume, retry and skip by `kubectl patch --type=merge`, in the phases in which they are accepted and in some in which they are not.
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

const { tenantOf, started, effects, reasons, route } = commandedOn(() => stand);

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
