import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { SWITCH_TASKS, TENANT_STATES } from "../../src/api/group.ts";
import { EVENTS } from "../../src/kube/event.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { seconds } from "../../src/lib/time.ts";
import { findCanaries } from "../support/canary.ts";
import { create } from "../support/fault-walk.ts";
import { poison } from "../support/poison.ts";
import { SEED } from "../support/seed.ts";
import { aSwitch, NOTIFY, openTestStand, type TestOperator, type TestStand } from "../support/stand.ts";

test("[S24] [SEC-42] [S17] [SEC-36] 500 random and hostile specs end no process and log nothing unclassified; healthy ones finish on time; nothing shows a secret", async () => {
  // A status that was written by hand is no promise of ours.
  await using stand = await openTestStand(inject("env"), { breaks: BY_HAND });
  const operator = await stand.operator();
  const found = await poison(stand, { space: stand, operator }, { count: 500, seed: SEED, healthy: 20 });
  expect(found).toMatchObject({ healthy: 20, unclassified: [], alive: true });
  expect(found.accepted).toBeGreaterThan(50);
  expect(found.refused).toBeGreaterThan(50);
  await shownNowhere(stand, operator);
});

/** S17 over everything that a run put out: objects, Events, log, metrics, and what kubectl shows of them. */
async function shownNowhere(stand: TestStand, operator: TestOperator): Promise<void> {
  const token = (await readFile(join(stand.folder, "token"), "utf8")).trim();
  const password = (await readFile(stand.env["REDIS_PASSWORD_FILE"] ?? "", "utf8")).trim();
  const kubeconfig = await readFile(stand.env["KUBECONFIG_OPERATOR"] ?? "", "utf8");
  const [bearer = ""] = /(?<="token": ?")[^"]+/.exec(kubeconfig) ?? [];
  const secrets = [token, password, bearer];
  expect(secrets.every((secret) => secret.length >= 16)).toBe(true);
  const { namespace, client } = stand;
  const started = (await readFile(operator.log, "utf8")).split("\n").find((line) => line.includes('"started"')) ?? "";
  const { listen } = JSON.parse(started) as { readonly listen: { readonly host: string; readonly port: number } };
  const shown = {
    tasks: JSON.stringify((await client.list(SWITCH_TASKS, { namespace })).items),
    tenants: JSON.stringify((await client.list(TENANT_STATES, { namespace })).items),
    events: JSON.stringify((await client.list(EVENTS, { namespace })).items),
    log: await readFile(operator.log, "utf8"),
    metrics: await (await fetch(`http://${listen.host}:${listen.port}/metrics`)).text(),
    health: await (await fetch(`http://${listen.host}:${listen.port}/health`)).text(),
    table: await stand.kubectl.run("get", "swt,tstate", "-n", namespace, "-o", "wide"),
    described: await stand.kubectl.run("describe", "swt", "healthy-0", "-n", namespace),
  };
  const found = Object.entries(shown).map(([where, text]) => [where, text.length > 20, findCanaries(text, secrets)]);
  expect(found).toEqual(Object.keys(shown).map((where) => [where, true, []]));
}

test("[S24] [L6] one urgent task beside 120 that wait starts within ten seconds, also right after a start", async () => {
  await using stand = await openTestStand(inject("env"));
  const first = await stand.operator();
  const gates = Array.from({ length: 120 }, (_, i) =>
    create(stand, aSwitch(stand, { name: `w${i}`, tenantId: `w${i % 40}`, stages: [{ name: "gate", approval: {} }] })),
  );
  await Promise.all(gates);
  for (let i = 0; i < 120; i += 1)
    await stand.until(`w${i}`, "to wait", (task) => at(task, "/status/waiting/reason") !== undefined);
  const started = async (name: string): Promise<number> => {
    const since = localClock.monotonic();
    await create(stand, aSwitch(stand, { name, tenantId: name, stages: [NOTIFY] }));
    await stand.over(name, "Completed", seconds(30));
    return localClock.monotonic() - since;
  };
  expect(await started("urgent")).toBeLessThan(10_000);
  await first.kill();
  await stand.operator();
  expect(await started("urgent-again")).toBeLessThan(10_000);
});

// S19: a watch that is flooded tells of a claim later than of the end; waits of a second cannot be judged by it.
const BY_HAND = ["S1", "S3", "S5", "S6", "S9", "S10", "S14", "S19", "S27", "S28"];
