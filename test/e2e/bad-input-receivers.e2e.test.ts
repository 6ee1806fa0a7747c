import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { startReceiver } from "../../deployment/demo/children.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { type Front, openFront } from "../support/front.ts";
import { conditionOf, released, type, wayOut } from "../support/person.ts";
import { aSwitch, CHECK, type Document, openTestStand, type TestStand } from "../support/stand.ts";

const http = (name: string, fronts: readonly Front[]): Readonly<Record<string, unknown>> => ({
  name,
  protocol: "http",
  fencing: "Token",
  addresses: fronts.map(({ address }) => address),
  ports: fronts.map(({ port }) => port),
  allow: { methods: ["GET", "PUT"], paths: ["/turnout/v1/tenants/"] },
  credentials: { bearer: { env: "TURNOUT_SECRET_GATEWAY" } },
});

const FRONTED = { name: "notify", http: { endpoint: "fronted" } };

interface Fronted extends AsyncDisposable {
  readonly stand: TestStand;
  readonly front: Front;
  readonly tenant: string;
  readonly pid: number;
}

/** A stand whose endpoint `fronted` is green behind a front. */
async function openFronted(): Promise<Fronted> {
  await using opening = new AsyncDisposableStack();
  const front = opening.use(await openFront());
  const stand = opening.use(await openTestStand(inject("env"), { endpoints: [http("fronted", [front])] }));
  front.before(stand.green);
  const { pid } = await stand.operator();
  const open = opening.move();
  return { stand, front, pid, tenant: `${stand.namespace}/acme`, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

const appliedAt = async (receiver: TestStand["green"], tenant: string): Promise<number> =>
  (await receiver.effects()).filter((effect) => effect["tenant"] === tenant && effect["verdict"] === "applied").length;

/** Failed, kept by its task, and said so where people look. */
async function failed(stand: TestStand, code: string, says: RegExp): Promise<Document> {
  const task = await stand.phase("acme-green", "Failed");
  expect(at(task, "/status/failure/code")).toBe(code);
  const stalled = conditionOf(task, "Stalled");
  expect(stalled).toMatchObject({ status: "True", reason: "Failed" });
  expect(stalled.message).toMatch(says);
  expect(stalled.message).toContain("kubectl patch swt acme-green");
  expect(at(await stand.tenant("acme"), "/status/holder/task")).toBe("acme-green");
  return task;
}

describe("an answer that is no answer", () => {
  test("non-JSON: the stage fails and says so; retried, what is in force is not done twice", async () => {
    await using stand = await openTestStand(inject("env"));
    await stand.operator();
    const tenant = `${stand.namespace}/acme`;
    await stand.green.tell({ mode: "non-json", tenant });
    await stand.create(aSwitch(stand));
    const task = await failed(
      stand,
      "NotJson",
      /im-gateway: 127\.0\.0\.1:\d+ promised JSON and sent something else \(\d+ bytes\)/,
    );
    expect(conditionOf(task, "stage.turnout.dev/notify")).toMatchObject({ status: "False", reason: "Failed" });
    expect(JSON.stringify(task["status"])).not.toContain("all is well");
    await stand.green.tell({ mode: "ok", tenant });
    await type(stand, wayOut(task));
    await stand.phase("acme-green", "Completed");
    expect(await appliedAt(stand.green, tenant)).toBe(1);
  });

  test("[SEC-41] 1 GiB: read up to its bound, the stage fails; mended, the named command goes on", async () => {
    await using fronted = await openFronted();
    const { stand, front, tenant, pid } = fronted;
    front.spoil("a gibibyte");
    await stand.create(aSwitch(stand, { stages: [FRONTED, CHECK] }));
    const task = await failed(stand, "AnswerTooLarge", /fronted: the answer of 127\.0\.0\.1:\d+ exceeds 65536 bytes/);
    expect(front.flooded).toBeLessThan(64 * 1024 * 1024);
    expect(await peakOf(pid)).toBeLessThan(400 * 1024 * 1024);
    front.spoil("nothing");
    await type(stand, wayOut(task));
    await stand.phase("acme-green", "Completed");
    expect(await appliedAt(stand.green, tenant)).toBe(1);
  });

  test("slow-loris: the outcome is unknown, which is said; readable again, it goes on without a command", async () => {
    await using fronted = await openFronted();
    const { stand, front, tenant } = fronted;
    front.spoil("a byte a second");
    await stand.create(aSwitch(stand, { stages: [FRONTED, CHECK] }));
    const task = await stand.until(
      "acme-green",
      "to say that nobody knows",
      (seen) => at(seen, "/status/waiting/reason") === "UnknownOutcome",
    );
    expect(at(task, "/status/phase")).toBe("Running");
    expect(at(task, "/status/stages/0")).toMatchObject({ name: "notify", state: "Running", outcome: "Unknown" });
    expect(conditionOf(task, "Reconciling")).toMatchObject({ status: "True", reason: "UnknownOutcome" });
    // What it says next is of the question whether it arrived.
    const said = stand.versions("acme-green").map((version) => conditionOf(version, "Ready").message);
    expect(said).toContainEqual(expect.stringMatching(/fronted: 127\.0\.0\.1:\d+ did not answer within 1s500ms/));
    front.spoil("nothing");
    await stand.phase("acme-green", "Completed");
    expect(await appliedAt(stand.green, tenant)).toBe(1);
  });

  test("slow-loris for ever: the way out that is named goes back, and the tenant is where it was", async () => {
    await using fronted = await openFronted();
    const { stand, front, tenant } = fronted;
    front.spoil("a byte a second");
    await stand.create(aSwitch(stand, { stages: [{ ...FRONTED, timeout: "6s" }] }));
    const unknown = (seen: Document): boolean => at(seen, "/status/waiting/reason") === "UnknownOutcome";
    const waiting = await stand.until("acme-green", "to wait", unknown);
    const task = await failed(stand, "StageTimeout", /stage notify did not finish within 6s/);
    expect(at(task, "/status/stages/0/outcome")).toBe("Unknown");
    front.spoil("nothing");
    await type(stand, wayOut(waiting));
    await stand.phase("acme-green", "RolledBack");
    expect(await stand.green.state(tenant)).toMatchObject({ deployUnit: { name: "blue" }, version: 41 });
    await released(stand, "acme");
  });
});

async function peakOf(pid: number): Promise<number> {
  const found = /VmHWM:\s+(\d+) kB/.exec(await readFile(join("/proc", String(pid), "status"), "utf8"));
  return Number(found?.[1] ?? Number.POSITIVE_INFINITY) * 1024;
}

describe("versions that do not come", () => {
  test("a receiver that reports an older version for ever fails the stage; mended and retried it completes", async () => {
    await using stand = await openTestStand(inject("env"));
    await stand.operator();
    const tenant = `${stand.namespace}/acme`;
    await stand.green.tell({ mode: "old-version", tenant });
    await stand.create(aSwitch(stand));
    const waiting = await stand.until(
      "acme-green",
      "to wait for versions",
      (seen) => at(seen, "/status/waiting/reason") === "AwaitingVersions",
    );
    expect(at(waiting, "/status/waiting/message")).toBe("stage check: 1 of 1 instances do not report version 42 yet");
    const task = await failed(
      stand,
      "VersionsLate",
      new RegExp(`1 of 1 instances do not report version 42; last answers: 127.0.0.1:${stand.green.port} 41`),
    );
    await stand.green.tell({ mode: "ok", tenant });
    await type(stand, wayOut(task));
    await stand.phase("acme-green", "Completed");
    expect(await appliedAt(stand.green, tenant)).toBe(1);
  });

  test("and rolled back instead, the previous unit is asked before RolledBack is said", async () => {
    await using stand = await openTestStand(inject("env"));
    await stand.operator();
    const tenant = `${stand.namespace}/acme`;
    await stand.green.tell({ mode: "old-version", tenant });
    await stand.create(aSwitch(stand));
    await stand.phase("acme-green", "Failed");
    await stand.patch("acme-green", { rollback: true });
    await stand.phase("acme-green", "RolledBack");
    expect(await stand.blue.state(tenant)).toMatchObject({ deployUnit: { name: "blue" }, version: 41 });
    expect(await stand.redis.hgetall(`${stand.namespace}:acme`)).toEqual({});
  });

  test("one of ten instances lags: named while it does, and in the failure; the nine keep what they have", async () => {
    await using fronts = new AsyncDisposableStack();
    const ten = await Promise.all(Array.from({ length: 10 }, async () => fronts.use(await openFront())));
    await using stand = await openTestStand(inject("env"), { endpoints: [http("ten", ten)] });
    const { machine, folder } = stand;
    const late = await startReceiver({ unit: "late", port: 0, folder, tokenFile: join(folder, "token") }, machine);
    fronts.defer(() => late.stop());
    for (const [i, front] of ten.entries()) front.before(i === 6 ? late : stand.green);
    const tenant = `${stand.namespace}/acme`;
    await late.tell({ mode: "old-version", tenant });
    await stand.operator();
    const stages = [
      { name: "notify", http: { endpoint: "ten" } },
      { name: "check", verify: { endpoint: "ten", interval: "100ms", rounds: 8 } },
    ];
    await stand.create(aSwitch(stand, { stages }));
    const waiting = await stand.until("acme-green", "to wait", (seen) => at(seen, "/status/waiting") !== undefined);
    expect(at(waiting, "/status/waiting/message")).toBe("stage check: 1 of 10 instances do not report version 42 yet");
    const lagging = ten[6]?.address ?? "";
    const task = await failed(
      stand,
      "VersionsLate",
      new RegExp(`1 of 10 instances do not report version 42; last answers: ${lagging} 41;`),
    );
    await late.tell({ mode: "ok", tenant });
    await type(stand, wayOut(task));
    await stand.phase("acme-green", "Completed");
    expect([await appliedAt(stand.green, tenant), await appliedAt(late, tenant)]).toEqual([1, 1]);
  });
});
