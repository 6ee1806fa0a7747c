import { join } from "node:path";
import { describe, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { seconds } from "../../src/lib/time.ts";
import { aSwitch, CHECK, NOTIFY, openTestStand, ROUTE, type Space, type TestStand } from "../support/stand.ts";
import { phasesOf, stageWrites } from "../support/stand-read.ts";
import { traced } from "../support/stand-trace.ts";

// Reads come from the operator's own turnout_kube_requests_total; writes from that and from the trace of every mutating request
// by class, which must agree; stage writes from the versions that a watch of the test saw.

const second = (stage: unknown, name: string): unknown => ({ ...(stage as object), name });
const other = (namespace: string): unknown => ({
  name: "other",
  redis: {
    endpoint: "routing",
    key: `${namespace}:other-\${tenantId}`,
    string: { value: "${target.deployUnit.name}" },
  },
});
const PIPELINES: Readonly<Record<number, (namespace: string) => readonly unknown[]>> = {
  1: () => [NOTIFY],
  3: (namespace) => [ROUTE(namespace), NOTIFY, CHECK],
  5: (namespace) => [ROUTE(namespace), NOTIFY, CHECK, other(namespace), second(CHECK, "again")],
};

interface Counted {
  readonly requests: Readonly<Record<string, number>>;
  readonly writes: Readonly<Record<string, number>>;
  readonly stageWrites: number;
}

describe.concurrent("what a switch costs", () => {
  test.for([1, 3, 5])(
    "[R48] [S25] %i healthy stages: N+1 stage writes, N+6 requests, no read",
    async (n, { expect }) => {
      await using stand = await openTestStand(inject("env"));
      const trace = join(stand.folder, "trace");
      const operator = await stand.operator({ boundary: `trace:${trace}` });
      const before = async (): Promise<Readonly<Record<string, number>>> => (await operator.metrics()).requests();
      const run = async (name: string, previous: Readonly<Record<string, unknown>>): Promise<Counted> => {
        const from = await before();
        const stages = PIPELINES[n]?.(stand.namespace) ?? [];
        await stand.create(aSwitch(stand, { name, stages, spec: previous }));
        await stand.over(name, "Completed");
        await stand.events(name, n + 4);
        const to = await before();
        const requests = Object.fromEntries(
          Object.entries(to)
            .map(([verb, count]) => [verb, count - (from[verb] ?? 0)] as const)
            .filter(([, c]) => c > 0),
        );
        const writes = await traced(trace, `${stand.namespace}/${name}`);
        return { requests, writes, stageWrites: stageWrites(stand.versions(name)) };
      };
      // At its start it lists once what is finished.
      await poll(async () => ((await before())["list"] ?? 0) > 0, {
        clock: localClock,
        timeout: seconds(10),
        what: "the first sweep",
      });
      const unseen = await run("unseen", {});
      const effects = Object.fromEntries(Object.entries(unseen.writes).filter(([kind]) => kind.startsWith("effect/")));
      const whole = {
        requests: { update: n + 4, patch: 2, create: n + 4 },
        writes: { ...effects, "api/status": n + 2, "api/tenant": 2, "api/finalizer": 2, "api/event": n + 4 },
        stageWrites: n + 1,
      };
      // A tenant that was never seen costs one consistent list and one create.
      expect(unseen).toEqual({
        requests: { ...whole.requests, create: n + 5, list: 1 },
        writes: { ...whole.writes, "api/create": 1 },
        stageWrites: n + 1,
      });
      expect(await run("seen", { previous: undefined })).toEqual(whole);
    },
  );
});

/** One task in every rest that there is, and one that waits for each of them who may be waited for. */
async function restingTasks(stand: TestStand, space: Space): Promise<void> {
  const where = { ...stand, namespace: space.namespace };
  const gate = { name: "gate", approval: {} };
  const make = (name: string, about: Parameters<typeof aSwitch>[1] = {}): Promise<void> =>
    space.create(aSwitch(where, { name, tenantId: name, ...about }));
  const refuse = (name: string, times?: number): Promise<void> =>
    stand.green.tell({
      mode: "refuse",
      tenant: `${space.namespace}/${name}`,
      status: 422,
      ...(times === undefined ? {} : { times }),
    });
  await Promise.all([refuse("failed"), refuse("stuck"), refuse("back", 1)]);
  await make("completed");
  await make("invalid", { stages: [{ name: "notify", http: { endpoint: "nowhere" } }] });
  await make("failed");
  await make("stuck", { spec: { onFailure: "Rollback" } });
  await make("back", { spec: { onFailure: "Rollback" } });
  await make("asked", { stages: [NOTIFY, gate] });
  await make("queued", { tenantId: "asked" });
  await make("paused", { stages: [NOTIFY, gate] });
  await make("soaks", { stages: [NOTIFY, { name: "soak", wait: { duration: "1h" } }] });
  await make("unit", { spec: { executionUnit: "june" } });
  await make("dry", { spec: { dryRun: true } });
  await make("cancelled", { spec: { executionUnit: "june" } });
  await space.waits("paused", "AwaitingApproval");
  await space.patch("paused", { paused: true });
  await space.waits("cancelled", "UnitUnavailable");
  await space.patch("cancelled", { cancel: true });
  await Promise.all([
    space.over("completed", "Completed"),
    space.over("invalid", "ValidationFailed"),
    space.phase("failed", "Failed"),
    space.phase("stuck", "RollbackFailed"),
    space.over("back", "RolledBack"),
    space.waits("asked", "AwaitingApproval"),
    space.waits("queued", "WaitingForLock"),
    space.answered("paused", "paused", "Done"),
    space.waits("soaks", "Waiting"),
    space.waits("unit", "UnitUnavailable"),
    space.over("dry", "Completed"),
    space.over("cancelled", "Cancelled"),
  ]);
}

describe("when nothing changes", () => {
  test(
    "[L8] 60 s beside resting tasks: no write; with election the lease and nothing else",
    { timeout: 150_000 },
    async ({ expect }) => {
      await using stand = await openTestStand(inject("env"), { spaces: 1 });
      const elected = await stand.space();
      const traces = [join(stand.folder, "alone"), join(stand.folder, "elected")] as const;
      const operators = [
        await stand.operator({ boundary: `trace:${traces[0]}` }),
        await elected.operator({ boundary: `trace:${traces[1]}`, lease: `lease-${stand.namespace}` }),
      ];
      await Promise.all([restingTasks(stand, stand), restingTasks(stand, elected)]);
      await Promise.all([stand, elected].map((space) => space.events("cancelled", 3)));
      await Promise.all([stand, elected].map((space) => space.events("stuck", 8)));
      const sums = (): Promise<readonly unknown[]> => Promise.all(traces.map((trace) => traced(trace)));
      // What was told last must be out: a write after this line would count.
      await localClock.sleep(seconds(2));
      const before = (await sums()) as readonly Readonly<Record<string, number>>[];
      const requests = await Promise.all(operators.map(async (operator) => (await operator.metrics()).requests()));
      await localClock.sleep(seconds(60));
      const after = (await sums()) as readonly Readonly<Record<string, number>>[];
      const since = await Promise.all(operators.map(async (operator) => (await operator.metrics()).requests()));

      expect(after[0]).toEqual(before[0]);
      const { "api/lease": renewed = 0, ...others } = after[1] ?? {};
      const { "api/lease": first = 0, ...othersBefore } = before[1] ?? {};
      expect(others).toEqual(othersBefore);
      expect(renewed - first).toBeGreaterThan(0);
      const spent = since.map((now, i) => ({
        lists: (now["list"] ?? 0) - (requests[i]?.["list"] ?? 0),
        gets: (now["get"] ?? 0) - (requests[i]?.["get"] ?? 0),
      }));
      console.log(`60 s beside 12 resting tasks: reads ${JSON.stringify(spent)}, ${renewed - first} lease renewals`);
      expect(phasesOf(await stand.task("asked"))).toEqual(["Validating", "Pending", "Running"]);
    },
  );
});
