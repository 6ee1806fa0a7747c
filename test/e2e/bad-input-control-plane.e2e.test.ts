import { cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { type Environment, openEnvironment } from "../../deployment/local/environment.ts";
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { conditionOf, type, wayOut } from "../support/person.ts";
import {
  aSwitch,
  CHECK,
  type Document,
  NOTIFY,
  openTestStand,
  ROUTE,
  SOAK,
  type Space,
  type TestStand,
} from "../support/stand.ts";
import { effectLines, effectsAt, textAt } from "../support/stand-read.ts";

let environment: Environment;
beforeAll(async () => {
  environment = await openEnvironment({ with: ["redis"], print: () => {} });
});
afterEach(() => startApi());
afterAll(() => environment.close());

/** The record of a stand breaks with its API server: here one asks. */
async function seen(space: Space, name: string, what: string, right: (task: Document) => boolean): Promise<Document> {
  let last: Document = {};
  const look = async (): Promise<boolean> => {
    last = await space.task(name).catch(() => last);
    return right(last);
  };
  await until(look, { clock: localClock, timeout: seconds(40), what: `${name} ${what}` }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${JSON.stringify(last["status"] ?? null, null, 1)}`, { cause: error });
  });
  return last;
}
const inPhase = (space: Space, name: string, phase: string): Promise<Document> =>
  seen(space, name, `to be ${phase}`, (task) => at(task, "/status/phase") === phase);
const waiting = (space: Space, name: string, reason: string): Promise<Document> =>
  seen(space, name, `to wait: ${reason}`, (task) => at(task, "/status/waiting/reason") === reason);

const stopApi = (): Promise<void> => environment.server("kube-apiserver").stop("SIGKILL");
const startApi = (): Promise<void> => environment.server("kube-apiserver").start();

const soon = (what: string, right: () => Promise<boolean>): Promise<unknown> =>
  until(right, { clock: localClock, timeout: seconds(20), what });

/** etcd's data as they are at one moment: a copy like the one that a power cut leaves. */
async function takeSnapshot(): Promise<string> {
  const { pid, dataDir } = environment.server("etcd");
  const snapshot = join(environment.stateDir, "snapshot");
  if (pid === null || dataDir === null) throw new Error("etcd does not run");
  process.kill(pid, "SIGSTOP");
  await cp(dataDir, snapshot, { recursive: true }).finally(() => process.kill(pid, "SIGCONT"));
  return snapshot;
}

async function restore(snapshot: string): Promise<void> {
  const etcd = environment.server("etcd");
  await stopApi();
  await etcd.stop("SIGKILL");
  await rm(etcd.dataDir ?? "", { recursive: true });
  await rename(snapshot, etcd.dataDir ?? "");
  await etcd.start();
  await startApi();
}

describe("an API server that goes away", () => {
  test("[S31] in the middle of an act: what was sent is settled when it is back, nothing is sent meanwhile", async () => {
    await using stand = await openTestStand(environment.env);
    const tenant = `${stand.namespace}/acme`;
    const { pid, log } = await stand.operator({ boundary: "effect/http#1.sent=stop" });
    await stand.create(aSwitch(stand, { stages: [NOTIFY, ROUTE(stand.namespace), CHECK] }));
    await soon("green to be told", async () => (await effectsAt([stand.green], tenant)).length > 0);
    await stopApi();
    process.kill(pid, "SIGCONT");
    await soon("the operator to miss it", async () => (await readFile(log, "utf8")).includes("the watch ended"));
    expect(await stand.redis.exists(`${stand.namespace}:acme`)).toBe(0);
    await startApi();
    await inPhase(stand, "acme-green", "Completed");
    const effects = await effectsAt([stand.blue, stand.green], tenant);
    expect(effectLines(effects)).toEqual(["green 42 applied"]);
    expect(await stand.redis.hgetall(`${stand.namespace}:acme`)).toEqual({ unit: "green", version: "42" });
  });

  test("[SEC-29] whose tokens were rotated: refused until the kubeconfig has the new one, then the switch goes on", async () => {
    await using stand = await openTestStand(environment.env);
    const operator = await stand.operator();
    await stand.create(aSwitch(stand, { stages: [ROUTE(stand.namespace), { name: "gate", approval: {} }, NOTIFY] }));
    await stand.waits("acme-green", "AwaitingApproval");
    const kubeconfig = environment.env["KUBECONFIG_OPERATOR"] ?? "";
    const [old = ""] = /(?<="token": ")[^"]+/.exec(await readFile(kubeconfig, "utf8")) ?? [];
    const rotate = async (file: string): Promise<void> =>
      writeFile(file, (await readFile(file, "utf8")).replaceAll(old, `rotated-${old}`));
    await stopApi();
    await rotate(join(environment.stateDir, "secrets", "tokens.csv"));
    await startApi();
    await type(stand, wayOut(await stand.task("acme-green")));
    await soon("the operator to be refused", async () =>
      (await readFile(operator.log, "utf8")).includes("Unauthorized"),
    );
    expect(await stand.green.effects()).toEqual([]);
    await rotate(kubeconfig);
    await inPhase(stand, "acme-green", "Completed");
    expect(JSON.stringify(await readFile(operator.log, "utf8"))).not.toContain(old);
  });
});

describe("a control plane that was restored from an older snapshot", () => {
  const GO = { name: "go", approval: {} };
  const GATE = { name: "gate", approval: {} };
  const NAME = "acme-green";

  /** The next task of the tenant brings it where it should be, once a person has typed what the stopped one says. */
  async function goesOn(stand: TestStand, space: Space, stopped: Document): Promise<void> {
    await type(stand, wayOut(stopped));
    await inPhase(space, NAME, "Cancelled");
    await space.create(aSwitch({ ...stand, namespace: space.namespace }, { name: "acme-next" }));
    await inPhase(space, "acme-next", "Completed");
    expect(await stand.redis.hgetall(`${space.namespace}:acme`)).toEqual({ unit: "green", version: "42" });
  }

  test("[S30] stopped by the operator that ran on, by what it saw; by one that was started again, at the receiver", async () => {
    await using stand = await openTestStand(environment.env, { spaces: 1 });
    const [on, again] = [stand, await stand.space()];
    const toldIn = (space: Space) => effectsAt([stand.blue, stand.green], `${space.namespace}/acme`);
    await on.operator();
    const killed = await again.operator();
    for (const space of [on, again]) {
      const where = { ...stand, namespace: space.namespace };
      await space.create(aSwitch(where, { name: NAME, stages: [ROUTE(space.namespace), GO, NOTIFY, GATE] }));
      await space.waits(NAME, "AwaitingApproval");
    }
    const snapshot = await takeSnapshot();
    for (const space of [on, again]) {
      await type(stand, wayOut(await space.task(NAME)));
      await seen(space, NAME, "to be further", (task) => at(task, "/status/stages/3/state") === "Running");
    }
    await again.patch(NAME, { rollback: true });
    await inPhase(again, NAME, "RolledBack");
    await killed.kill();
    const told = await toldIn(on);
    await restore(snapshot);

    const stopped = await waiting(on, NAME, "Diverged");
    expect(conditionOf(stopped, "Stalled")).toMatchObject({ status: "True", reason: "Diverged" });
    expect(conditionOf(stopped, "Stalled").message).toContain(
      "the API server shows an older version of this task than it did before",
    );
    expect(await toldIn(on)).toEqual(told);
    await goesOn(stand, on, stopped);

    await again.operator();
    await type(stand, wayOut(await waiting(again, NAME, "AwaitingApproval")));
    const met = await waiting(again, NAME, "Diverged");
    expect(conditionOf(met, "Stalled").message).toContain("which this cluster's history does not know");
    expect(await stand.blue.state(`${again.namespace}/acme`)).toMatchObject({ version: 41 });
    await goesOn(stand, again, met);
  });
});

describe("a clock that jumps", () => {
  /** Forth and back by turns, every three seconds, each time to another hour: whenever the wait begins, it meets some. */
  const JUMPS = Array.from({ length: 20 }, (_, i) => `step:${i % 2 === 0 ? "+" : "-"}${10 + 20 * i}m@${3 * i + 1}s`);

  test("[S19] [L7] no wait ends early, the lease stays, every stage runs once", async () => {
    await using stand = await openTestStand(inject("env"));
    const operator = await stand.operator({ clock: JUMPS.join(","), lease: `clock-${stand.namespace}` });
    await stand.create(aSwitch(stand, { stages: [ROUTE(stand.namespace), NOTIFY, SOAK("7s"), CHECK] }));
    const task = await stand.over("acme-green", "Completed");
    const time = (pointer: string): number => Date.parse(textAt(task, pointer));
    expect(time("/status/stages/2/finishedAt") - time("/status/stages/2/startedAt")).toBeGreaterThanOrEqual(7000);
    expect(time("/status/finishedAt") - time("/status/startedAt")).toBeLessThan(60_000);
    expect(effectLines(await effectsAt([stand.blue, stand.green], `${stand.namespace}/acme`))).toEqual([
      "green 42 applied",
    ]);
    const lines = (await readFile(operator.log, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Readonly<Record<string, string>>);
    const shown = lines.map(({ timestamp = "" }) => Date.parse(timestamp));
    expect(Math.max(...shown) - Math.min(...shown)).toBeGreaterThan(500_000);
    expect(lines.filter(({ message = "" }) => message.startsWith("leading"))).toHaveLength(1);
  });
});
