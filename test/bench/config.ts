#!/usr/bin/env node
// Configuration live: a write until the last of 200 instances has it in force, and what reading it costs (P12, P13).
// node test/bench/config.ts, with COORD_ENDPOINTS of an etcd that nobody else uses. One JSON line; all instances in one process.
import { openConfig } from "../../src/infra/config/open-config.ts";
import { noLog } from "../../src/infra/clog/log.ts";
import { noMetrics } from "../../src/infra/metrics/metrics.ts";
import { systemClock, systemRng } from "../../src/kube/clock.ts";
import { seconds } from "../../src/lib/time.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";

const INSTANCES = 200;
const WRITES = 50;
const READS = 1_000_000;
const KEY = "/config/dev/im-repo/cache";

const endpoints = addressesOf(process.env["COORD_ENDPOINTS"] ?? "http://127.0.0.1:2379");
const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.floor((sorted.length - 1) * q)] ?? Number.NaN;
const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

const coords = Array.from({ length: INSTANCES }, () => coordAt({ endpoints }));
const [writer] = coords;
if (writer === undefined) throw new Error("no instance");
await writer.centre.delete(KEY);
const managers = await Promise.all(
  coords.map(({ centre }) =>
    openConfig(centre, {
      env: "dev",
      service: "im-repo",
      component: "cache",
      files: null,
      snapshots: null,
      clock: systemClock,
      rng: systemRng,
      log: noLog,
      metrics: noMetrics,
      patience: seconds(30),
    }),
  ),
);
const deaf = managers.filter((manager) => manager.check().status !== "healthy").length;
if (deaf > 0) throw new Error(`${deaf} of ${INSTANCES} instances do not hear the centre`);

const each: number[] = [];
const last: number[] = [];
const cpuBefore = process.cpuUsage();
for (let write = 1; write <= WRITES; write += 1) {
  const all = Promise.withResolvers<void>();
  let left = INSTANCES;
  let since = systemClock.monotonic();
  const commit = (): void => {
    each.push(systemClock.monotonic() - since);
    left -= 1;
    if (left === 0) all.resolve();
  };
  const ends = managers.map((manager) => manager.subscribe({ name: "bench", commit }));
  since = systemClock.monotonic();
  await writer.centre.put(KEY, JSON.stringify({ defaultTtl: `${write}s` }));
  await all.promise;
  last.push(systemClock.monotonic() - since);
  for (const end of ends) end();
}
const cpu = process.cpuUsage(cpuBefore);

const [manager] = managers;
const reads: number[] = [];
let read = 0;
for (let i = 0; i < READS; i += 1) {
  const since = process.hrtime.bigint();
  read += manager?.current().db ?? 0;
  reads.push(Number(process.hrtime.bigint() - since));
}
for (const numbers of [each, last, reads]) numbers.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    instances: INSTANCES,
    writes: WRITES,
    appliedMillis: { p50: rounded(quantile(each, 0.5), 1), p95: rounded(quantile(each, 0.95), 1) },
    lastAppliedMillis: { p50: rounded(quantile(last, 0.5), 1), p95: rounded(quantile(last, 0.95), 1) },
    cpuMillisPerInstanceAndWrite: rounded((cpu.user + cpu.system) / 1000 / INSTANCES / WRITES, 3),
    currentNanos: { p50: quantile(reads, 0.5), p99: quantile(reads, 0.99), sum: read },
  }),
);
for (const one of managers) await one.close();
for (const coord of coords) await coord.close();
