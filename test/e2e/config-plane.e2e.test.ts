import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { openEnvironment, type Environment } from "../../deployment/local/environment.ts";
import { until } from "../../deployment/local/poll.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { aSwitch, NOTIFY, openTestStand, ROUTE, SOAK, type TestStand } from "../support/stand.ts";
import { type Endpoint, FIVE, type Plane, startPlane, turns } from "../support/plane.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { phasesOf } from "../support/stand-read.ts";

// The operator on the config plane: a tree of files, and above it an etcd of this file's own, whose link is cut and mended.

const env = inject("env");
const ENDPOINTS = "/config/dev/turnout/endpoints";
const OPERATOR = "/config/dev/turnout/operator";

let centre: Environment;
let coord: Coord;
let link: TcpProxy;
beforeAll(async () => {
  centre = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
  const [address = ""] = addressesOf(centre.env["COORD_ENDPOINTS"] ?? "");
  const [host = "", port = ""] = address.split(":");
  coord = coordAt({ endpoints: [address] });
  link = await openTcpProxy({ host, port: Number(port) });
});
afterAll(async () => {
  await coord.close();
  await link[Symbol.asyncDispose]();
  await centre.close();
});

const startOnPlane = (stand: TestStand, left?: (endpoint: Endpoint) => boolean): Promise<Plane> =>
  startPlane(stand, link, left === undefined ? {} : { left });

test("[R115] [F39] [etcd/down] the centre down: up on its files, says so; the centre back: switched over within 5 s", async () => {
  await using stand = await openTestStand(env);
  link.refuse();
  link.cut();
  const since = localClock.monotonic();
  const plane = await startOnPlane(stand);
  expect(localClock.monotonic() - since).toBeLessThan(10_000);
  expect(await plane.health("config/endpoints")).toMatch(/^degraded: configuration centre not heard/);
  await stand.create(aSwitch(stand, { name: "on-files", tenantId: "on-files", stages: [NOTIFY] }));
  await stand.over("on-files", "Completed");

  await coord.centre.put(ENDPOINTS, JSON.stringify(plane.endpoints));
  link.clear();
  await turns("healthy", plane, "config/endpoints", /^healthy: in force from centre/);
  const seen = await plane.operator.metrics();
  expect(seen.sum("turnout_health", { component: "config/endpoints" })).toBe(1);
  await coord.centre.delete(ENDPOINTS);
});

describe("a change in the centre takes force while the operator runs", () => {
  test("[R120] an endpoint that is added is usable by the next task; no restart", async () => {
    await using stand = await openTestStand(env);
    await coord.centre.delete(ENDPOINTS);
    const plane = await startOnPlane(stand, ({ name }) => name !== "im-gateway");
    await stand.create(aSwitch(stand, { name: "early", tenantId: "early", stages: [NOTIFY] }));
    await stand.phase("early", "ValidationFailed");
    await coord.centre.put(ENDPOINTS, JSON.stringify(plane.endpoints));
    await turns("in force", plane, "config/endpoints", /in force from centre/);
    await stand.create(aSwitch(stand, { name: "next", tenantId: "next", stages: [NOTIFY] }));
    expect(phasesOf(await stand.over("next", "Completed")).at(-1)).toBe("Completed");
    await coord.centre.delete(ENDPOINTS);
  });

  test("[R120] a task that waits for an endpoint goes on as soon as it is back", async () => {
    await using stand = await openTestStand(env);
    await coord.centre.delete(ENDPOINTS);
    const plane = await startOnPlane(stand);
    await stand.create(aSwitch(stand, { name: "waits", tenantId: "waits", stages: [SOAK("3s"), NOTIFY] }));
    await stand.waits("waits", "Waiting");
    await coord.centre.put(ENDPOINTS, JSON.stringify(plane.endpoints.filter(({ name }) => name !== "im-gateway")));
    await stand.waits("waits", "EndpointUnavailable");
    await coord.centre.put(ENDPOINTS, JSON.stringify(plane.endpoints));
    expect(phasesOf(await stand.over("waits", "Completed")).at(-1)).toBe("Completed");
    await coord.centre.delete(ENDPOINTS);
  });

  test("[SEC-45] [R116] one beyond the ceiling is refused, said in health, log and metric; what was in force stays", async () => {
    await using stand = await openTestStand(env);
    await coord.centre.delete(ENDPOINTS);
    const plane = await startOnPlane(stand);
    await turns("healthy", plane, "config/endpoints", /^healthy/);
    const beyond = plane.endpoints.map((endpoint) => ({ ...endpoint, cidrs: ["10.0.0.0/8"] }));
    await coord.centre.put(ENDPOINTS, JSON.stringify(beyond));
    const said = await turns("degraded", plane, "config/endpoints", /^degraded/);
    expect(said).toMatch(/lies (?:beyond the operator's ceiling|outside the endpoint's cidrs)/);
    expect((await plane.operator.metrics()).sum("turnout_config_rejected_total")).toBeGreaterThan(0);
    await stand.create(aSwitch(stand, { name: "still", tenantId: "still", stages: [NOTIFY] }));
    await stand.over("still", "Completed");
    await coord.centre.delete(ENDPOINTS);
    await turns("healthy", plane, "config/endpoints", /^healthy: in force from file/);
  });

  test("[R115] what does not fit when the operator starts is left out by itself; the others work", async () => {
    await using stand = await openTestStand(env);
    const first = await startOnPlane(stand);
    await first.operator.stop();
    const [gateway, ...others] = first.endpoints;
    await coord.centre.put(ENDPOINTS, JSON.stringify([{ ...gateway, ports: [1], addresses: [] }, ...others]));
    const plane = await startOnPlane(stand);
    expect(await plane.health("config/endpoints")).toMatch(
      /^degraded: 1 left out: endpoints\[0\]\.ports\[0\]: 1 lies beyond/,
    );
    await stand.create(aSwitch(stand, { name: "routed", tenantId: "routed", stages: [ROUTE(stand.namespace)] }));
    await stand.over("routed", "Completed");
    await coord.centre.delete(ENDPOINTS);
    await turns("healthy", plane, "config/endpoints", /^healthy: in force from file/);
  });

  test("[R120] the level of the log", async () => {
    await using stand = await openTestStand(env);
    const plane = await startOnPlane(stand);
    const settled = async (): Promise<number> =>
      [...(await readFile(plane.operator.log, "utf8")).matchAll(/"stage":"notify"/g)].length;
    await coord.centre.put(OPERATOR, JSON.stringify({ log: { level: "error" } }));
    await turns("in force", plane, "config/operator", /in force from centre/);
    await stand.create(aSwitch(stand, { name: "quiet", tenantId: "quiet", stages: [NOTIFY] }));
    await stand.over("quiet", "Completed");
    expect(await settled()).toBe(0);
    await coord.centre.delete(OPERATOR);
    await turns("in force", plane, "config/operator", /in force from file/);
    await stand.create(aSwitch(stand, { name: "loud", tenantId: "loud", stages: [NOTIFY] }));
    await stand.over("loud", "Completed");
    await until(async () => (await settled()) > 0, { clock: localClock, timeout: FIVE, what: "lines about the stage" });
    expect(await settled()).toBeGreaterThan(0);
  });
});

test("[etcd/silent] the centre lost later: last values stay, their age is shown, switching and going back go on", async () => {
  await using stand = await openTestStand(env);
  const plane = await startOnPlane(stand);
  await stand.create(aSwitch(stand, { name: "before", tenantId: "before", stages: [NOTIFY] }));
  await stand.over("before", "Completed");
  link.refuse();
  link.cut();
  await turns("degraded", plane, "config/endpoints", /^degraded: configuration centre not heard/);
  await stand.patch("before", { rollback: true });
  await stand.over("before", "RolledBack");
  const stale = async (): Promise<number> => (await plane.operator.metrics()).sum("turnout_config_stale_seconds");
  await until(async () => (await stale()) > 0, { clock: localClock, timeout: FIVE, what: "an age" });
  link.clear();
  // Each is heard again by itself.
  for (const component of ["config/endpoints", "config/operator"]) await turns("healthy", plane, component, /^healthy/);
  expect(await stale()).toBe(0);
});
