import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { localClock, localRng } from "../../deployment/local/clock.ts";
import { until } from "../../deployment/local/poll.ts";
import { millisOf, minutes as minutesOf, seconds } from "../../src/lib/time.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { judge, type Sample, type Series } from "../support/flatness.ts";
import { type KitRig, openKitRig } from "../support/kit-rig.ts";
import { startKitChild } from "../support/kit-process.ts";
import type { KitUsage } from "./kit-child.ts";
import { numbersFrom, openSoakServers, runScript, say, type SoakServers } from "./world.ts";

// A process of the kit under modest load, its configuration changed each second and its servers cut now and then: what it holds
// stays flat, and nothing is lost, held twice or mixed up (R151). SOAK_LEAK=heap or sockets plants what must be found.

const { minutes } = numbersFrom({ minutes: 30 }, ["--kit"]);
const MIB = 1024 * 1024;
const FAULT_EVERY = seconds(7);
const BROKER_EVERY = 9;
/** Looking for everything takes a while where much was done. */
const LOOKED_WITHIN = minutesOf(3);

/** What is done to a line, and how long it stays so. */
const FAULTS: readonly (readonly [
  line: "redis" | "mysql" | "etcd",
  what: "cut" | "refuse" | "hold",
  millis: number,
])[] = [
  ["redis", "cut", 0],
  ["mysql", "cut", 0],
  ["etcd", "cut", 0],
  ["redis", "refuse", 1000],
  ["mysql", "hold", 1000],
  ["etcd", "refuse", 2000],
  ["redis", "hold", 500],
  ["mysql", "refuse", 1000],
  ["etcd", "hold", 3000],
];

interface Run {
  readonly rig: KitRig;
  readonly coord: Coord;
  readonly servers: SoakServers;
  readonly until: number;
  readonly counts: { faults: number; restarts: number; changes: number };
}

async function faults({ rig, servers, until: end, counts }: Run): Promise<void> {
  while (localClock.monotonic() + FAULT_EVERY < end) {
    await localClock.sleep(FAULT_EVERY);
    counts.faults += 1;
    if (servers.own !== null && counts.faults % BROKER_EVERY === 0) {
      await servers.own.server("kafka").stop("SIGKILL");
      await servers.own.server("kafka").start();
      counts.restarts += 1;
      continue;
    }
    const [name, what, millis] = FAULTS[counts.faults % FAULTS.length] ?? (["redis", "cut", 0] as const);
    const line = rig[name];
    if (line === null) throw new Error(`${name} has no line`);
    if (what === "refuse") line.refuse();
    if (what === "hold") line.hold("toServer", "toClient");
    else line.cut();
    await localClock.sleep(millisOf(millis));
    line.clear();
  }
}

const keyOf = (component: string): string => `/config/test/im-repo/${component}`;
const OTHERS: readonly (readonly [component: string, value: (n: number) => object])[] = [
  ["db", (n) => ({ maxOpenConns: 4 + (n % 3), maxIdleConns: 2, slowThreshold: `${200 + n}ms` })],
  ["mq", (n) => ({ consumer: { maxPollRecords: 100 + (n % 50) } })],
  ["clog", (n) => ({ level: n % 2 === 0 ? "info" : "warn" })],
  ["metrics", (n) => ({ slowRequestThreshold: `${100 + n}ms` })],
  ["coord", (n) => ({ timeout: `${3 + (n % 3)}s` })],
];

/** One change of the cache and one of another component each second. Gives what the last one says. */
async function changes({ coord, until: end, counts }: Run): Promise<number> {
  const put = (component: string, value: object): Promise<number> =>
    coord.centre.put(keyOf(component), JSON.stringify(value));
  let last = 0;
  for (let n = 0; localClock.monotonic() < end; n += 1) {
    last = 1000 + n;
    await put("cache", { poolSize: 4 + (n % 5), minIdleConns: 1, slowThreshold: `${last}ms` });
    const [component, value] = OTHERS[n % OTHERS.length] ?? ["clog", () => ({})];
    await put(component, value(n));
    counts.changes += 2;
    await localClock.sleep(seconds(1));
  }
  return last;
}

async function usagesIn(file: string): Promise<readonly KitUsage[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as KitUsage);
}

function seriesOf(usages: readonly KitUsage[]): readonly Series[] {
  const of = (value: (usage: KitUsage) => number): readonly Sample[] =>
    usages.map((usage) => ({ at: usage.at, value: value(usage) }));
  const queues = Object.keys(usages[0]?.queues ?? {});
  return [
    { name: "heap", samples: of(({ heap }) => heap), slack: 2 * MIB, unit: "MiB" },
    { name: "external", samples: of(({ external }) => external), slack: 2 * MIB, unit: "MiB" },
    { name: "RSS", samples: of(({ rss }) => rss), slack: 24 * MIB, unit: "MiB" },
    { name: "handles", samples: of(({ handles }) => handles), slack: 4, unit: "" },
    { name: "sockets", samples: of(({ sockets }) => sockets), slack: 4, unit: "" },
    ...queues.map((name): Series => ({ name, samples: of((usage) => usage.queues[name] ?? 0), slack: 2, unit: "" })),
  ];
}

const table = (title: string, rows: Readonly<Record<string, number>>): void => {
  say(`${title}:`);
  for (const name of Object.keys(rows).toSorted()) say(`  ${name.padEnd(24)} ${rows[name]}`);
};

const PARTS = ["cache", "db", "mq", "lock", "cache lock", "config"];

interface Ended {
  readonly usages: readonly KitUsage[];
  /** What the last change of the cache's settings says. */
  readonly last: number;
  /** Null: it had to be killed. */
  readonly code: number | null;
}

/** Says what was held and done; gives what was wrong. */
function judged({ usages, last, code }: Ended): readonly string[] {
  const end = usages.at(-1);
  const done = end?.done ?? {};
  table("done", done);
  table("refused meanwhile", end?.failed ?? {});
  const verdicts = seriesOf(usages.filter(({ over }) => !over)).map(judge);
  for (const { line } of verdicts) say(line);
  return [
    ...verdicts.filter(({ isFlat }) => !isFlat).map(({ line }) => `not flat: ${line}`),
    ...(end?.over === true ? end.wrong : ["the load did not come to its end"]),
    ...PARTS.filter((name) => (done[name] ?? 0) === 0).map((name) => `${name}: nothing was done`),
    ...(Object.keys(end?.failed ?? {}).length === 0 ? ["void: no fault was ever met"] : []),
    ...(end?.configured === last ? [] : [`in force is ${end?.configured} ms of the cache, not ${last} ms`]),
    ...(code === 0 ? [] : [code === null ? "the process did not end: it holds something" : `it ended with ${code}`]),
  ];
}

async function soaked(rig: KitRig, servers: SoakServers): Promise<Ended> {
  await using coord = coordAt({ endpoints: addressesOf(servers.env["COORD_ENDPOINTS"] ?? "") });
  const run = localRng.id().slice(0, 8);
  const file = join(tmpdir(), `turnout-soak-${run}`);
  const leak = process.env["SOAK_LEAK"] ?? "";
  const asked = { SOAK_USAGE: file, SOAK_MILLIS: String(minutesOf(minutes)), SOAK_RUN: run, SOAK_LEAK: leak };
  await using child = await startKitChild(rig, asked, "../soak/kit-child.ts");
  await child.says(/^started in /);
  const end = localClock.monotonic() + minutesOf(minutes);
  const about: Run = { rig, coord, servers, until: end, counts: { faults: 0, restarts: 0, changes: 0 } };
  const [last] = await Promise.all([changes(about), faults(about)]);
  const looked = { clock: localClock, timeout: LOOKED_WITHIN, every: seconds(1), what: "the load to be over" };
  await until(async () => child.code() !== null || (await usagesIn(file)).at(-1)?.over === true, looked);
  const usages = await usagesIn(file);
  await rm(file, { force: true });
  for (const component of ["cache", ...OTHERS.map(([name]) => name)]) await coord.centre.delete(keyOf(component));
  child.send("SIGTERM");
  const ending = { ...looked, timeout: seconds(60), what: "the process to end" };
  const code = await until(() => child.code(), ending).catch(() => null);
  const { faults: count, restarts, changes: written } = about.counts;
  say(`${minutes} minutes, ${count} faults, ${restarts} broker restarts, ${written} changes of configuration`);
  return { usages, last, code };
}

await runScript(async () => {
  await using servers = await openSoakServers({ with: ["redis", "etcd", "mariadb", "kafka"], controlPlane: false });
  const { COORD_ENDPOINTS = "", REDIS_ADDRESS: redis = "", REDIS_PASSWORD: password = "" } = servers.env;
  const [etcd = ""] = COORD_ENDPOINTS.split(",");
  const { MYSQL_URL: mysql = "", KAFKA_BROKERS: kafka = "" } = servers.env;
  await using rig = await openKitRig({ etcd, redis, password, mysql, kafka });
  return judged(await soaked(rig, servers));
});
