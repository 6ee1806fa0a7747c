#!/usr/bin/env node
import { localClock } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { Slots } from "../../src/lib/slots.ts";
import { minutes, seconds } from "../../src/lib/time.ts";
import { create } from "../support/fault-walk.ts";
import { aSwitch, NOTIFY } from "../support/stand.ts";
import { numbersFrom, openSoakWorld, runScript, say } from "./world.ts";

// Lanes and fairness: one urgent task beside thousands that wait starts within ten seconds (L6), before and after a restart.

const { tasks, tenants } = numbersFrom({ tasks: 5000, tenants: 150 });
const BOUND = 10_000;

await runScript(async () => {
  await using world = await openSoakWorld();
  await using stand = await world.stand({});
  const operator = await stand.operator();
  const slots = new Slots(24, tasks);
  const began = localClock.monotonic();
  const make = async (i: number): Promise<void> => {
    const leave = await slots.take(new AbortController().signal);
    const about = { name: `w${i}`, tenantId: `w${i % tenants}`, stages: [{ name: "gate", approval: {} }] };
    await create(stand, aSwitch(stand, about)).finally(leave);
  };
  await Promise.all(Array.from({ length: tasks }, (_, i) => make(i)));
  const isWaiting = (i: number): boolean => {
    const last = stand.versions(`w${i}`).at(-1) ?? {};
    return at(last, "/status/waiting/reason") !== undefined;
  };
  const waiting = (): number => Array.from({ length: tasks }, (_, i) => isWaiting(i)).filter(Boolean).length;
  const settled = { clock: localClock, timeout: minutes(15), every: seconds(2), what: `${tasks} tasks to wait` };
  await until(() => waiting() === tasks, settled);
  say(`${tasks} tasks of ${tenants} tenants wait after ${Math.round((localClock.monotonic() - began) / 1000)} s`);

  const measured = async (name: string): Promise<readonly string[]> => {
    const since = localClock.monotonic();
    await create(stand, aSwitch(stand, { name, tenantId: name, stages: [NOTIFY] }));
    await stand.until(name, "to start", (task) => at(task, "/status/startedAt") !== undefined, minutes(2));
    const took = Math.round(localClock.monotonic() - since);
    await stand.over(name, "Completed", minutes(2));
    say(`${name}: started after ${took} ms, over after ${Math.round(localClock.monotonic() - since)} ms`);
    return took <= BOUND ? [] : [`[L6] ${name} started after ${took} ms`];
  };
  const beside = await measured("urgent");
  await operator.kill();
  await stand.operator();
  return [...beside, ...(await measured("urgent-after-restart"))];
});
