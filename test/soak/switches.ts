#!/usr/bin/env node
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { localClock } from "../../deployment/local/clock.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { SWITCH_TASKS } from "../../src/api/group.ts";
import { millisOf, minutes as minutesOf, seconds } from "../../src/lib/time.ts";
import { control, create, SAME_STAGES } from "../support/fault-walk.ts";
import type { Usage } from "../support/operator-seams.ts";
import { isAlive, seeded, unclassified } from "../support/poison.ts";
import { aSwitch, SOAK, type Space, type TestOperator, type TestStand } from "../support/stand.ts";
import { judge, type Sample, type Series } from "../support/flatness.ts";
import { numbersFrom, openSoakWorld, runScript, say } from "./world.ts";

// Switches, pauses, rollbacks and kills under load: what a process holds stays flat (T17), every switch ends, every promise is kept.

const { minutes, seed, tenants } = numbersFrom({ minutes: 30, seed: 1, tenants: 6 });
const MIB = 1024 * 1024;
const KILL_EVERY = seconds(20);

interface Drive {
  readonly stand: TestStand;
  readonly space: Space;
  readonly tenant: string;
  readonly until: number;
  readonly random: () => number;
  readonly counts: { switches: number; pauses: number; turned: number };
}

/** One tenant there and back, again and again; what is over is deleted, so that the cluster stays as large as it is. */
async function drive({ stand, space, tenant, until, random, counts }: Drive): Promise<void> {
  for (let n = 1; localClock.monotonic() < until; n += 1) {
    const name = `${tenant}-${n}`;
    const spec = { plan: { id: 17, version: 41 + n }, rollbackWindow: "1h" };
    const stages = [...SAME_STAGES, SOAK("200ms")];
    await create(space, aSwitch({ ...stand, namespace: space.namespace }, { name, tenantId: tenant, stages, spec }));
    if (random() < 0.3) {
      counts.pauses += 1;
      await control(space, name, { paused: true });
      await localClock.sleep(millisOf(random() * 300));
      await control(space, name, { paused: false });
    }
    if (random() < 0.3) {
      counts.turned += 1;
      await localClock.sleep(millisOf(random() * 500));
      await control(space, name, { rollback: true });
    } else {
      await space.until(name, "to be over", over(["Completed", "RolledBack", "Cancelled"]), PATIENCE);
      await control(space, name, { rollback: true });
    }
    const end = await space.until(name, "to be back", over(["RolledBack", "Cancelled"]), PATIENCE);
    counts.switches += 1;
    const { uid } = (end as unknown as { readonly metadata: { readonly uid: string } }).metadata;
    const point = { class: "api/delete", subject: null } as const;
    await space.client.delete(SWITCH_TASKS, { namespace: space.namespace, name }, { uid }, { point });
    await space.gone(name, PATIENCE);
  }
}
const PATIENCE = minutesOf(2);
const DONE = "/metadata/labels/turnout.dev~1done";
const over =
  (phases: readonly string[]) =>
  (task: Parameters<typeof at>[0]): boolean =>
    phases.some((phase) => at(task, "/status/phase") === phase) && at(task, DONE) === "true";

/** A process after the other, each killed without a word; all of them under one name and one lease. */
async function killing(space: Space, until: number, counts: { kills: number }): Promise<readonly TestOperator[]> {
  const started: TestOperator[] = [];
  while (localClock.monotonic() < until) {
    const operator = await space.operator({ identity: "killed", lease: `soak-${space.namespace}` });
    started.push(operator);
    await localClock.sleep(millisOf(Math.max(0, Math.min(KILL_EVERY, until - localClock.monotonic()))));
    if (localClock.monotonic() >= until) break;
    await operator.kill();
    counts.kills += 1;
  }
  return started;
}

/** What the operator says that it knows and has queued. */
async function sample(operator: TestOperator, until: number): Promise<readonly Series[]> {
  const tasks: Sample[] = [];
  const queued: Sample[] = [];
  while (localClock.monotonic() < until) {
    const metrics = await operator.metrics();
    const now = localClock.monotonic();
    tasks.push({ at: now, value: metrics.sum("turnout_tasks") });
    queued.push({ at: now, value: metrics.sum("turnout_workqueue_depth") });
    await localClock.sleep(seconds(5));
  }
  return [
    { name: "tasks known", samples: tasks, slack: 2, unit: "" },
    { name: "keys queued", samples: queued, slack: 2, unit: "" },
  ];
}

function usageSeries(text: string): readonly Series[] {
  const lines = text.trim().split("\n");
  const all = lines.map((line) => JSON.parse(line) as Usage);
  const of = (name: "heap" | "external" | "rss" | "handles"): readonly Sample[] =>
    all.map((usage) => ({ at: usage.at, value: usage[name] }));
  return [
    { name: "heap", samples: of("heap"), slack: 2 * MIB, unit: "MiB" },
    { name: "external", samples: of("external"), slack: 2 * MIB, unit: "MiB" },
    { name: "RSS", samples: of("rss"), slack: 24 * MIB, unit: "MiB" },
    { name: "handles", samples: of("handles"), slack: 4, unit: "" },
  ];
}

await runScript(async () => {
  await using world = await openSoakWorld();
  await using stand = await world.stand({ spaces: 2 });
  const [steady, killed] = [await stand.space(), await stand.space()];
  const usage = join(stand.folder, "usage");
  const lasting = await steady.operator({ env: { TURNOUT_TEST_USAGE: usage } });
  const until = localClock.monotonic() + minutesOf(minutes);
  const random = seeded(seed);
  const counts = { switches: 0, pauses: 0, turned: 0, kills: 0 };
  const load = [steady, killed].flatMap((space) =>
    Array.from({ length: tenants }, (_, i) => drive({ stand, space, tenant: `tenant-${i}`, until, random, counts })),
  );
  const tables = sample(lasting, until);
  const last = killing(killed, until, counts);
  await Promise.all([...load, tables, last]);
  const series = [...usageSeries(await readFile(usage, "utf8")), ...(await tables)];
  const operators = [lasting, ...(await last)];
  say(
    `${counts.switches} switches, ${counts.pauses} pauses, ${counts.turned} turned back in the middle, ${counts.kills} kills`,
  );
  const verdicts = series.map(judge);
  for (const { line } of verdicts) say(line);
  const strange = (await Promise.all(operators.map(({ log }) => unclassified(log)))).flat();
  return [
    ...verdicts.filter(({ isFlat }) => !isFlat).map(({ line }) => `not flat: ${line}`),
    ...(isAlive(lasting.pid) ? [] : ["the operator ended"]),
    ...strange.slice(0, 10).map((line) => `unclassified: ${line.slice(0, 500)}`),
  ];
});
