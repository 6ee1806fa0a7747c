import { describe, expect, test } from "vitest";
import { decide } from "../../src/domain/decide.ts";
import type { Issue } from "../../src/domain/stored.ts";
import { type About, aStage, aTask, aTenant, decided, heldTenant, NOON, say, storedBy } from "../support/build.ts";
import { executed, fresh, GREEN } from "./starting-situations.ts";

const error = (about: Partial<Issue> = {}): Issue => ({
  severity: "error",
  path: "spec.x",
  value: "1",
  message: "is wrong",
  ...about,
});

const CREATED: readonly (readonly [rule: string, about: About, decision: string])[] = [
  ["a valid task waits for its turn", {}, "write Pending: SpecValid"],
  ["so does one that was looked at before and not decided", { phase: "Validating" }, "write Pending: SpecValid"],
  [
    "a spec that does not decode is refused",
    { view: { spec: null, issues: [error()] } },
    "write ValidationFailed: SpecInvalid",
  ],
  ["so is one that no plan can be made of", { spec: { tenantId: "no spaces" } }, "write ValidationFailed: SpecInvalid"],
  ["warnings refuse nothing", { spec: { tenantId: "test_1" } }, "write Pending: SpecValid"],
  ["a dry run touches nothing", { spec: { dryRun: true } }, "write Completed: DryRun"],
  [
    "a dry run of a bad plan is refused",
    { spec: { dryRun: true }, pipeline: { n: aStage("n", "tell", { to: "nobody" }) } },
    "write ValidationFailed: SpecInvalid",
  ],
  [
    "a dry run sees what only the frozen plan shows",
    { spec: { dryRun: true }, pipeline: { n: aStage("n", "tell", { content: "${previous.parameters.x}" }) } },
    "write ValidationFailed: SpecInvalid",
  ],
  [
    "a dry run says what the lock would be refused for",
    { spec: { dryRun: true }, pipeline: { n: "tell" }, tenant: aTenant({ current: null }) },
    "write ValidationFailed: SpecInvalid",
  ],
  [
    "[R44] what a stage will leave is not known before it ran, and no reason to refuse",
    { pipeline: { a: "write", n: aStage("n", "tell", { content: "${stages.a.outputs.key}" }) } },
    "write Pending: SpecValid",
  ],
  [
    "a replay is judged on a consistent read",
    { tenant: aTenant({ executions: [executed("Completed")] }) },
    "read tenant: MustReadTenant",
  ],
  [
    "executed before, and the tenant is still there: nothing to do",
    { tenant: aTenant({ current: GREEN, executions: [executed("Completed")] }), tenantView: fresh },
    "write Completed: AlreadyExecuted",
  ],
  [
    "executed before, and the tenant is elsewhere: not again by itself",
    { tenant: aTenant({ executions: [executed("Completed")] }), tenantView: fresh },
    "write Cancelled: Replay",
  ],
  [
    "another plan version is elsewhere, too",
    {
      tenant: aTenant({ current: { ...GREEN, planVersion: 41 }, executions: [executed("Completed")] }),
      tenantView: fresh,
    },
    "write Cancelled: Replay",
  ],
  [
    "executed before and rolled back: not again by itself",
    {
      tenant: aTenant({ current: GREEN, executions: [executed("Completed"), executed("RolledBack")] }),
      tenantView: fresh,
    },
    "write Cancelled: Replay",
  ],
  [
    "nobody knows where the tenant is: not again by itself",
    { tenant: aTenant({ current: null, executions: [executed("Completed")] }), tenantView: fresh },
    "write Cancelled: Replay",
  ],
  [
    "the task's own entry is no replay",
    { tenant: aTenant({ executions: [executed("Completed", { uid: aTask().ref.uid })] }) },
    "write Pending: SpecValid",
  ],
  [
    "another spec is another execution",
    { tenant: aTenant({ executions: [executed("Completed", { identity: "other" })] }) },
    "write Pending: SpecValid",
  ],
  [
    "a new text in turnout.dev/rerun is one, too",
    { tenant: aTenant({ executions: [executed("Completed")] }), view: { rerun: "june" } },
    "write Pending: SpecValid",
  ],
  [
    "a label without a status came from a backup",
    { view: { done: true }, tenantView: fresh },
    "write Cancelled: Replay",
  ],
  ["which is read first", { view: { done: true } }, "read tenant: MustReadTenant"],
];

describe("a task that nobody looked at", () => {
  test("no row is lost", () => expect(CREATED).toHaveLength(21));
  test.each(CREATED)("%s", (_rule, about, decision) => {
    expect(say(decided(aTask({ phase: "Created", ...about }), NOON))).toBe(decision);
  });

  test("[F5] its first write says everything that happened", () => {
    const status = storedBy(decide(aTask({ phase: "Created" }), NOON));
    expect(status.history.map(({ from, to, reason }) => `${from} ${to} ${reason}`)).toEqual([
      "Created Validating TaskSeen",
      "Validating Pending SpecValid",
    ]);
  });

  test("warnings are kept for the condition", () => {
    const status = storedBy(decide(aTask({ phase: "Created", spec: { tenantId: "test_1" } }), NOON));
    expect(status.issues.map(({ severity, message }) => `${severity} ${message}`)).toEqual([
      "warning looks like a test tenant",
    ]);
  });

  test("[R18] a tenant that is being switched is a warning that names the task: the lock decides", () => {
    const holder = { task: "acme-red", uid: "red", unit: null, direction: "Forward" as const, since: NOON };
    const status = storedBy(decide(aTask({ phase: "Created", tenant: aTenant({ holder }) }), NOON));
    expect(status.issues.map(({ message }) => message)).toEqual([
      "is being switched by acme-red; this task waits for it",
    ]);
    const own = heldTenant();
    const validating = aTask({ phase: "Validating", tenant: own });
    expect(storedBy(decide(validating, NOON)).issues).toEqual([]);
  });

  test("[R10] a refusal says how many errors, and the first fifty with path and value", () => {
    const issues = Array.from({ length: 60 }, (_, i) => error({ path: `spec.x[${i}]` }));
    const status = storedBy(decide(aTask({ phase: "Created", view: { spec: null, issues } }), NOON));
    expect(status.issues).toHaveLength(50);
    expect(status.failure?.message).toBe(
      "spec.x[0]=1: is wrong (and 59 more: see the condition Validated); nothing was switched: delete this task and create a corrected one",
    );
    expect(status.finishedAt).toBe(NOON);
  });

  test("an issue fits its fields, whatever was found where", () => {
    const long = "x".repeat(999);
    const status = storedBy(
      decide(
        aTask({ phase: "Created", view: { spec: null, issues: [error({ path: long, value: long, message: long })] } }),
        NOON,
      ),
    );
    expect(status.issues.map(({ path, value, message }) => [path.length, value.length, message.length])).toEqual([
      [128, 128, 256],
    ]);
  });

  test("a dry run shows plan and undo plan, and holds nothing", () => {
    const status = storedBy(decide(aTask({ phase: "Created", spec: { dryRun: true } }), NOON));
    expect(status.preview?.stages.map(({ stage }) => stage)).toEqual(["route", "notify", "check"]);
    expect(status.preview?.undo.map(({ stage, part }) => `${stage}/${part}`)).toEqual([
      "route/write",
      "notify/announce",
      "check/verify",
    ]);
    expect([status.epoch, status.plan?.digest.startsWith("sha256:"), status.finishedAt]).toEqual([0, true, NOON]);
  });
});
