import { expect, test } from "vitest";
import { relayLog } from "../../../src/infra/boot/relay-log.ts";
import { openLog, type OpenedLog } from "../../../src/infra/clog/log.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function aLog(lines: string[]): OpenedLog {
  const write = (line: string): void => {
    const { level, module, message } = JSON.parse(line) as Record<string, string>;
    lines.push(`${level} ${module}: ${message}`);
  };
  return openLog({ level: "debug", clock: new ManualClock(), destination: { write } });
}

test("a module taken from the first log writes to the next one as soon as that is there", () => {
  const [first, second]: string[][] = [[], []];
  const [bootstrap, full] = [aLog(first ?? []), aLog(second ?? [])];
  const relay = relayLog(bootstrap);
  const etcd = relay.log.module("coord").module("etcd");
  etcd.info({}, "one");
  relay.to(full);
  etcd.warn({}, "two");
  relay.log.error({}, "three");
  relay.log.level("error");
  etcd.info({}, "not written");
  relay.to(bootstrap);
  etcd.debug({}, "four");
  expect(first).toEqual(["info etcd: one", "debug etcd: four"]);
  expect(second).toEqual(["warn etcd: two", "error main: three"]);
});
