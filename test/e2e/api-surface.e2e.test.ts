import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import type { Json } from "../../src/lib/json.ts";
import { seconds } from "../../src/lib/time.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { type ApiPeople, openApiPeople } from "../support/api-person.ts";
import { aSwitch, CHECK, NOTIFY, openTestStand, SOAK, type Space, type TestStand } from "../support/stand.ts";
import { PHASES, type Phase } from "../../src/domain/phase.ts";

// What a person sees and may do with kubectl alone. `bare` is a namespace in which no operator works.
let stand: TestStand;
let bare: Space;
let people: ApiPeople;
beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: 1 });
  bare = await stand.space();
  people = await openApiPeople(stand.env["KUBECONFIG_ADMIN"] ?? "");
  await stand.operator();
});
afterAll(async () => {
  await people[Symbol.asyncDispose]();
  await stand[Symbol.asyncDispose]();
});

const where = (space: Space): Pick<TestStand, "blue" | "green" | "namespace"> => ({
  ...stand,
  namespace: space.namespace,
});
const inBare = (name: string): { readonly kind: "switchtasks"; readonly namespace: string; readonly name: string } => ({
  kind: "switchtasks",
  namespace: bare.namespace,
  name,
});
const control = (fields: Json): Json => ({ spec: { control: fields } });

describe.concurrent("commands stay where they were given", () => {
  test("`kubectl apply` of the same manifest, client or server side, leaves control alone", async ({ expect }) => {
    const name = "applied";
    const file = join(stand.folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(aSwitch(stand, { name, tenantId: name, stages: [SOAK("1h"), NOTIFY] })));
    const apply = (...more: readonly string[]): Promise<string> =>
      stand.kubectl.run("apply", "-n", stand.namespace, "-f", file, ...more);
    expect(await apply()).toBe(`switchtask.turnout.dev/${name} created\n`);
    await stand.waits(name, "Waiting");
    await stand.patch(name, { paused: true });
    await stand.answered(name, "paused", "Done");
    expect(await apply()).toBe(`switchtask.turnout.dev/${name} unchanged\n`);
    await apply("--server-side", "--field-manager=argocd-controller", "--force-conflicts");
    const task = await stand.task(name);
    expect(at(task, "/spec/control")).toEqual({ paused: true });
    expect(at(task, "/status/phase")).toBe("Paused");
    expect(at(task, "/status/history")).toHaveLength(4);
  });

  test("[R71] [R72] [R74] latches: rollback and cancel stay, retry never falls, and each refusal says so", async ({
    expect,
  }) => {
    const name = "latched";
    await bare.create(aSwitch(where(bare), { name }));
    const admin = people.as();
    const say = async (fields: Json): Promise<string> => (await admin.patch(inBare(name), control(fields))).message;
    expect(await say({ retry: 3 })).toBe("");
    expect(await say({ retry: 2 })).toContain("control.retry never falls: use a higher number");
    expect(await say({ retry: 3, paused: true })).toBe("");
    expect(await say({ retry: null, paused: false })).toBe("");
    expect(await say({ paused: null })).toBe("");
    for (const latch of ["rollback", "cancel"]) {
      expect(await say({ [latch]: true })).toBe("");
      expect(await say({ [latch]: null })).toContain(`control.${latch} cannot be taken back`);
      expect(await say({ [latch]: false })).toContain("can only be true; leave it out instead of false");
    }
    const gone = await admin.patch(inBare(name), { spec: { control: null } });
    expect(gone.message).toContain("control.rollback cannot be taken back");
    expect(gone.message).toContain("control.cancel cannot be taken back");
  });

  const COMMANDS: Readonly<Record<string, Json>> = {
    paused: true,
    rollback: true,
    cancel: true,
    retry: 1,
    approvals: { gate: { admin: { decision: "Approve" } } },
    skip: { notify: { by: "admin", reason: "seen in the night" } },
  };
  const OVER = "the task is over: commands change nothing any more";
  const ONLY_ROLLBACK = "the task is Completed: only rollback is accepted, within rollbackWindow";
  const refusalOf = (phase: Phase, command: string): string => {
    if (phase === "RolledBack" || phase === "Cancelled" || phase === "ValidationFailed") return OVER;
    return phase === "Completed" && command !== "rollback" ? ONLY_ROLLBACK : "";
  };
  test.for(PHASES)(
    "[R66] %s: the API server refuses at once what can change nothing any more",
    async (phase, { expect }) => {
      const admin = people.as();
      const seen: Record<string, string> = {};
      for (const [command, value] of Object.entries(COMMANDS)) {
        const name = `${phase}-${command}`.toLowerCase();
        const made = await admin.create(inBare(name), aSwitch(where(bare), { name, tenantId: name }));
        expect(made.message).toBe("");
        const status = { observedGeneration: 1, phase, direction: "Forward", protocolVersion: 1 };
        const set = await admin.replace({ ...inBare(name), subresource: "status" }, { ...made.object, status });
        expect(set.message).toBe("");
        const said = (await admin.patch(inBare(name), control({ [command]: value }))).message;
        seen[command] = said.replace(/^.*?: (?:Invalid value|Forbidden): /, "");
        // What is not a command may still be changed: labels, finalizers, annotations.
        expect(await admin.patch(inBare(name), { metadata: { labels: { seen: "yes" } } })).toMatchObject({ code: 200 });
      }
      expect(seen).toEqual(Object.fromEntries(Object.keys(COMMANDS).map((field) => [field, refusalOf(phase, field)])));
    },
  );
});

describe("what kubectl shows", () => {
  test("every CRD is smaller than 250 kB", ({ expect }) => {
    const folder = join(import.meta.dirname, "..", "..", "crds");
    const sizes = readdirSync(folder).map((file) => statSync(join(folder, file)).size);
    expect(sizes).toHaveLength(2);
    expect(Math.max(...sizes)).toBeLessThan(250_000);
  });

  test("[R73] columns tell tenant, target, phase, progress and what is waited for; wide adds why", async ({
    expect,
  }) => {
    const about = { stages: [NOTIFY, { name: "gate", approval: {} }] };
    await stand.create(aSwitch(stand, { name: "acme-green", tenantId: "acme", ...about }));
    await stand.waits("acme-green", "AwaitingApproval");
    await stand.create(aSwitch(stand, { name: "acme-later", tenantId: "acme" }));
    await stand.create(aSwitch(stand, { name: "umbrella-green", tenantId: "umbrella", stages: [NOTIFY, CHECK] }));
    await stand.green.tell({ mode: "refuse", tenant: `${stand.namespace}/initech`, status: 422 });
    await stand.create(
      aSwitch(stand, { name: "initech-green", tenantId: "initech", spec: { executionUnit: undefined } }),
    );
    await stand.over("umbrella-green", "Completed");
    await stand.phase("initech-green", "Failed");
    await stand.waits("acme-later", "WaitingForLock");
    const get = async (...more: readonly string[]): Promise<string> =>
      shown(await stand.kubectl.run("get", "swt,tstate", "-n", stand.namespace, ...more));
    expect(await get()).toMatchInlineSnapshot(`
      "NAME                                    TENANT     TARGET   PHASE       PROGRESS   WAITING            AGE
      switchtask.turnout.dev/acme-green       acme       green    Running     1/2        AwaitingApproval   AGE
      switchtask.turnout.dev/acme-later       acme       green    Pending     0/3        WaitingForLock     AGE
      switchtask.turnout.dev/initech-green    initech    green    Failed      1/3                           AGE
      switchtask.turnout.dev/umbrella-green   umbrella   green    Completed   2/2                           AGE

      NAME                               TENANT     CURRENT   VERSION   HOLDER          DIVERGED   AGE
      tenantstate.turnout.dev/acme       acme                           acme-green                 AGE
      tenantstate.turnout.dev/initech    initech                        initech-green              AGE
      tenantstate.turnout.dev/umbrella   umbrella   green     42                                   AGE
      "
    `);
    const wide = (await get("-o", "wide")).replaceAll(/ {2,}/g, "  ");
    expect(wide).toMatchInlineSnapshot(`
      "NAME  TENANT  TARGET  PHASE  PROGRESS  WAITING  AGE  UNIT  EPOCH  MESSAGE
      switchtask.turnout.dev/acme-green  acme  green  Running  1/2  AwaitingApproval  AGE  EPOCH  stage gate waits for 1 of 1 approvals
      switchtask.turnout.dev/acme-later  acme  green  Pending  0/3  WaitingForLock  AGE  tenant acme is held by NS/acme-green (UID)
      switchtask.turnout.dev/initech-green  initech  green  Failed  1/3  AGE  EPOCH  im-gateway: 127.0.0.1:PORT answered 422; see the log of the instance, then retry; kubectl patch swt initech-green -n NS --type=merge -p '{"spec":{"control":{"retry":1}}}' (or {"rollback":true})
      switchtask.turnout.dev/umbrella-green  umbrella  green  Completed  2/2  AGE  EPOCH  

      NAME  TENANT  CURRENT  VERSION  HOLDER  DIVERGED  AGE  EPOCH  FENCE
      tenantstate.turnout.dev/acme  acme  acme-green  AGE  EPOCH  
      tenantstate.turnout.dev/initech  initech  initech-green  AGE  EPOCH  
      tenantstate.turnout.dev/umbrella  umbrella  green  42  AGE  EPOCH  EPOCH-00000002
      "
    `);
  });

  /** Ages, epochs and ports differ; whoever else is in the namespace does not belong here. */
  const shown = (table: string): string =>
    table
      .replaceAll(/^.*(?:applied|latched).*\n/gm, "")
      .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, "UID")
      .replaceAll(/\b\d{10}-(\d{8})\b/g, "EPOCH-$1")
      .replaceAll(/\b\d{10}\b/g, "EPOCH")
      .replaceAll(new RegExp(`\\b(${stand.blue.port}|${stand.green.port})\\b`, "g"), "PORT")
      .replaceAll(stand.namespace, "NS")
      .replaceAll(/ \d+(?:m\d+)?s(?= |$)/gm, " AGE");

  test("[R65] found by tenant, unit, plan, phase, and by a rollback that was asked for", async ({ expect }) => {
    const admin = people.as();
    await bare.create(
      aSwitch(where(bare), {
        name: "found",
        tenantId: "found",
        spec: { executionUnit: "june-found", plan: { id: 4711, version: 1 } },
      }),
    );
    await bare.create(aSwitch(where(bare), { name: "other", tenantId: "other" }));
    await admin.patch(inBare("found"), control({ rollback: true }));
    for (const selector of ["spec.tenantId=found", "spec.executionUnit=june-found", "spec.plan.id=4711"])
      expect(await names(selector)).toEqual(["found"]);
    expect(await names("spec.control.rollback=true,spec.tenantId=found")).toEqual(["found"]);
    expect(await names("status.phase=Completed,spec.tenantId=found")).toEqual([]);
  });
  const names = async (selector: string): Promise<readonly unknown[]> => {
    const { items } = await stand.kubectl.json("get", "swt", "-n", bare.namespace, "--field-selector", selector);
    return (items as readonly Json[]).map((item) => at(item, "/metadata/name"));
  };

  test("`kubectl explain` answers what a refusal by pattern leaves open", async ({ expect }) => {
    const explain = (field: string): Promise<string> => stand.kubectl.run("explain", field);
    // What kubectl explains is published a few seconds after a CRD was changed.
    await until(async () => (await explain("swt.spec.progressDeadline")).includes("such as"), {
      clock: localClock,
      timeout: seconds(20),
      what: "the descriptions to be published",
    });
    expect(await explain("swt.spec.stages")).toMatchInlineSnapshot(`
      "GROUP:      turnout.dev
      KIND:       SwitchTask
      VERSION:    v1alpha1

      FIELD: stages <[]Object>


      DESCRIPTION:
          The pipeline, strictly in order.
          One step: exactly one of the kinds.
          
      FIELDS:
        approval	<Object>
          Waits for people: control.approvals.STAGE.USER.

        attemptTimeout	<string>
          One attempt. Default: the operator's settings (15s). A duration such as 90s,
          5m or 1h30m.

        http	<Object>
          One request to each instance.

        instanceTimeout	<string>
          One address within an attempt. Default: the operator's settings (3s). A
          duration such as 90s, 5m or 1h30m.

        name	<string> -required-
          Unique in the task; later stages read its outputs by it. Lower-case letters,
          digits and -, beginning with a letter.

        onDrift	<string>
        enum: Hold, Overwrite, Keep
          What an undo does where others changed what this stage wrote: hold for a
          person (default), overwrite, or keep theirs.

        redis	<Object>
          Writes one key together with a record of what it replaced; undone exactly.

        retry	<Object>
          How often and how fast a failed attempt is repeated.

        timeout	<string>
          The whole stage, retries included. Default: the operator's settings (5m).
          Gates have none. A duration such as 90s, 5m or 1h30m.

        verify	<Object>
          Asks every instance what it serves and waits until all say the plan's
          version in one round.

        wait	<Object>
          Waits; time spent paused does not count.


      "
    `);
    const words = async (field: string): Promise<string> => (await explain(field)).replaceAll(/\s+/g, " ");
    for (const field of ["swt.spec.progressDeadline", "swt.spec.stages.timeout", "swt.spec.stages.wait.duration"])
      expect(await words(field)).toContain("A duration such as 90s, 5m or 1h30m.");
    expect(await words("swt.spec.tenantId")).toContain("Letters, digits, _ and -.");
    expect(await words("swt.spec.stages.name")).toContain("Lower-case letters, digits and -, beginning with a letter.");
    expect(await words("swt.spec.executionUnit")).toContain("Lower-case letters, digits and -.");
  });
});
