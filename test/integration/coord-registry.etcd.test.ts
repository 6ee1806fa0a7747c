import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { until as poll } from "../../deployment/local/poll.ts";
import { millisOf, seconds } from "../../src/lib/time.ts";
import type { Discovery, Instance } from "../../src/infra/coord/coord.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { openTcpProxy } from "../support/tcp-proxy.ts";

const { COORD_ENDPOINTS = "" } = inject("env");
const [ADDRESS = ""] = addressesOf(COORD_ENDPOINTS);
const [host = "", port = ""] = ADDRESS.split(":");
const REGISTERED = join(import.meta.dirname, "..", "support", "registered.ts");
const NEVER = new AbortController().signal;

let runs = 0;
const aService = (): string => `service-${process.pid}-${(runs += 1)}`;
const anInstance = (service: string, id: string): Instance => ({
  service,
  id,
  address: `${id}.example:9000`,
  labels: { unit: "blue" },
});

const idsOf = (discovery: Discovery): string =>
  discovery
    .current()
    .map(({ id }) => id)
    .join(" ");
const until = (discovery: Discovery, ids: string): Promise<unknown> =>
  poll(async () => idsOf(discovery) === ids, {
    clock: localClock,
    timeout: seconds(10),
    every: seconds(0.02),
    what: `"${ids}", not "${idsOf(discovery)}"`,
  });

describe("[R124] registry and discovery", () => {
  test("who is there already and who comes later, sorted; who closes is gone at once", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const service = aService();
    await coord.register(anInstance(service, "b"), seconds(10));
    await using discovery = await coord.discover(service, NEVER);
    expect(idsOf(discovery)).toBe("b");
    const a = await coord.register(anInstance(service, "a"), seconds(10));
    await until(discovery, "a b");
    expect(discovery.current()[0]).toEqual(anInstance(service, "a"));
    await a.close();
    await until(discovery, "b");
  });

  test("round robin over all, null where there is none", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const service = aService();
    await using empty = await coord.discover(service, NEVER);
    expect(empty.next()).toBeNull();
    for (const id of ["a", "b", "c"]) await coord.register(anInstance(service, id), seconds(10));
    await until(empty, "a b c");
    const asked = Array.from({ length: 6 }, () => empty.next()?.id ?? "");
    expect(asked.toSorted((a, b) => a.localeCompare(b))).toEqual(["a", "a", "b", "b", "c", "c"]);
  });

  test("every later state of the list is told", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const service = aService();
    await using discovery = await coord.discover(service, NEVER);
    const stop = new AbortController();
    const seen: string[] = [];
    const reading = (async (): Promise<void> => {
      for await (const list of discovery.changes(stop.signal)) seen.push(list.map(({ id }) => id).join(" "));
    })();
    const a = await coord.register(anInstance(service, "a"), seconds(10));
    await until(discovery, "a");
    await a.close();
    await until(discovery, "");
    await poll(async () => seen.at(-1) === "" && seen.length > 0, {
      clock: localClock,
      timeout: seconds(5),
      every: seconds(0.01),
      what: "both",
    });
    stop.abort();
    await reading;
    expect(seen).toEqual(["a", ""]);
  });

  test("killed: gone within its ttl", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const service = aService();
    await using discovery = await coord.discover(service, NEVER);
    const child = spawn(process.execPath, [REGISTERED, ADDRESS, service, "2000"], { stdio: "inherit" });
    await until(discovery, "child");
    const since = localClock.monotonic();
    child.kill("SIGKILL");
    await until(discovery, "");
    // etcd looks for leases that ended every 500 ms, and a lease was at most fresh when its owner died.
    expect(localClock.monotonic() - since).toBeLessThan(2000 + 1500);
  });

  test("[F33] its lease lost to a partition, it stands there again once the link is back", async () => {
    await using proxy = await openTcpProxy({ host, port: Number(port) });
    await using coord = coordAt({ endpoints: [ADDRESS] });
    await using cutOff = coordAt({ endpoints: [`127.0.0.1:${proxy.port}`], timeout: millisOf(500) });
    const service = aService();
    await using discovery = await coord.discover(service, NEVER);
    const registration = await cutOff.register(anInstance(service, "a"), seconds(1));
    await until(discovery, "a");
    proxy.refuse();
    proxy.cut();
    await until(discovery, "");
    expect(registration.standing).toBe(false);
    proxy.clear();
    await until(discovery, "a");
    // Others may see it before its own process has the answer to the write.
    await expect.poll(() => registration.standing).toBe(true);
  });

  test("what is no instance of the service is left out and disturbs nobody", async () => {
    await using coord = coordAt({ endpoints: [ADDRESS] });
    const service = aService();
    await using discovery = await coord.discover(service, NEVER);
    for (const [id, value] of Object.entries({ x: "{", y: "[]", z: '{"service":"other","id":"z","address":"z:1"}' }))
      await coord.centre.put(`/services/${service}/${id}`, value);
    await coord.register(anInstance(service, "a"), seconds(10));
    await until(discovery, "a");
    expect(discovery.current()).toEqual([anInstance(service, "a")]);
  });
});
