import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { localClock } from "../../deployment/local/clock.ts";
import { openEnvironment, type Environment } from "../../deployment/local/environment.ts";
import { until } from "../../deployment/local/poll.ts";
import { componentOf, lies } from "../../src/infra/config/components.ts";
import { type FieldDoc, fieldsOf } from "../../src/infra/config/field-docs.ts";
import type { Coord } from "../../src/infra/coord/coord.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { addressesOf, coordAt } from "../support/coord-rig.ts";
import { FIVE, type Plane, startPlane, turns } from "../support/plane.ts";
import { aSwitch, NOTIFY, openTestStand, type TestStand } from "../support/stand.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

// Every field of the operator's settings that takes force without a restart, seen in force; the kit's: contract/reloadable.kit.test.ts.

const OPERATOR = "/config/dev/turnout/operator";
const GATE = { name: "gate", approval: {} };

let centre: Environment;
let coord: Coord;
let link: { readonly port: number };
beforeAll(async () => {
  centre = await openEnvironment({ with: ["etcd"], controlPlane: false, print: () => undefined });
  const [address = ""] = addressesOf(centre.env["COORD_ENDPOINTS"] ?? "");
  coord = coordAt({ endpoints: [address] });
  link = { port: Number(address.split(":")[1]) };
});
afterEach(async () => void (await coord.centre.delete(OPERATOR)));
afterAll(async () => {
  await coord.close();
  await centre.close();
});

const put = (value: object): Promise<number> => coord.centre.put(OPERATOR, JSON.stringify(value));

/** As many switches of tenants of their own as asked for, each of which has this one stage. */
async function start(stand: TestStand, names: readonly string[], stage: unknown): Promise<void> {
  for (const name of names) await stand.create(aSwitch(stand, { name, tenantId: name, stages: [stage] }));
}

interface Held {
  readonly stand: TestStand;
  readonly line: TcpProxy;
}
/** Requests to the receiver stay on the way, as many as the limits let out, until the line is released. */
async function holding(limits: object, work: (held: Held) => Promise<void>): Promise<void> {
  await using stand = await openTestStand(inject("env"));
  await using line = await openTcpProxy({ host: "127.0.0.1", port: stand.green.port });
  const read = JSON.parse(await readFile(stand.settings, "utf8")) as { operator: { ceiling: { ports: number[] } } };
  const { ceiling } = read.operator;
  await startPlane(stand, link, {
    operator: {
      limits,
      defaults: { attemptTimeout: "30s", instanceTimeout: "30s" },
      ceiling: { ...ceiling, ports: [...ceiling.ports, line.port] },
    },
    through: line.port,
  });
  line.hold("toServer");
  await work({ stand: { ...stand, green: { ...stand.green, port: line.port } }, line });
}

const counted = (what: string, look: () => number, count: number): Promise<unknown> =>
  until(() => look() === count, { clock: localClock, timeout: FIVE, what: `${what} to be ${count}; it was ${look()}` });

const DEFAULTS = {
  timeout: "4m",
  attemptTimeout: "14s",
  instanceTimeout: "2s",
  retry: { maxAttempts: 5, backoff: { initial: "2s", factor: 3, max: "20s" } },
};

const PROOFS: Readonly<Record<string, () => Promise<void>>> = {
  "log.level": async () => {
    await using stand = await openTestStand(inject("env"));
    const plane = await startPlane(stand, link);
    const lines = async (): Promise<number> =>
      [...(await readFile(plane.operator.log, "utf8")).matchAll(/"stage":"notify"/g)].length;
    await put({ log: { level: "error" } });
    await inForce(plane);
    await start(stand, ["quiet"], NOTIFY);
    await stand.over("quiet", "Completed");
    expect(await lines()).toBe(0);
  },

  "limits.claimed": async () => {
    await using stand = await openTestStand(inject("env"));
    const plane = await startPlane(stand, link, { operator: { limits: { claimed: 1 } } });
    await start(stand, ["first"], GATE);
    await stand.waits("first", "AwaitingApproval");
    await start(stand, ["second"], GATE);
    await stand.waits("second", "WaitingForAdmission");
    await put({ limits: { claimed: 2 } });
    await inForce(plane);
    await stand.waits("second", "AwaitingApproval");
  },

  "limits.acts": () =>
    holding({ acts: 1 }, async ({ stand, line }) => {
      await start(stand, ["a", "b"], NOTIFY);
      await counted("requests on the way", () => line.open, 1);
      await put({ limits: { acts: 2 } });
      await counted("requests on the way", () => line.open, 2);
      line.release();
      for (const name of ["a", "b"]) await stand.over(name, "Completed");
    }),

  "limits.sockets": () =>
    holding({ sockets: 1 }, async ({ stand, line }) => {
      await start(stand, ["a", "b"], NOTIFY);
      await counted("requests on the way", () => line.open, 1);
      await put({ limits: { sockets: 2 } });
      await counted("requests on the way", () => line.open, 2);
      line.release();
      for (const name of ["a", "b"]) await stand.over(name, "Completed");
    }),

  defaults: async () => {
    await using stand = await openTestStand(inject("env"));
    const plane = await startPlane(stand, link);
    await start(stand, ["before"], GATE);
    const before = await stand.waits("before", "AwaitingApproval");
    await put({ defaults: DEFAULTS });
    await inForce(plane);
    await start(stand, ["after"], GATE);
    const { timeout, attemptTimeout, instanceTimeout, retry } = DEFAULTS;
    const { maxAttempts, backoff } = retry;
    const after = await stand.waits("after", "AwaitingApproval");
    expect(at(after, "/status/plan/effective")).toEqual({
      timeout,
      attemptTimeout,
      instanceTimeout,
      retry: { maxAttempts, ...backoff },
    });
    // A running plan keeps what it was frozen with.
    expect(at(await stand.task("before"), "/status/plan/effective")).toEqual(at(before, "/status/plan/effective"));
  },
};

const inForce = (plane: Plane): Promise<string> => turns("in force", plane, "config/operator", /in force from centre/);

const leaves = (fields: readonly FieldDoc[]): readonly string[] =>
  fields.flatMap(({ path, inner }) => (inner.length === 0 ? [path] : leaves(inner)));

describe("[R120] a live field of the operator's settings takes force while it works", () => {
  test.each(Object.entries(PROOFS))("%s", async (_field, proof) => {
    expect.hasAssertions();
    await proof();
    expect(await coord.centre.get(OPERATOR)).not.toBeNull();
  });

  test("no field that is called reloadable is without its proof, and no proof without a field", () => {
    const { schema, reloadable } = componentOf("operator");
    const live = leaves(fieldsOf(schema)).filter((path) => reloadable.some((known) => lies(path, known)));
    expect(live.length).toBeGreaterThan(9);
    expect(live.filter((path) => !Object.keys(PROOFS).some((proof) => lies(path, proof)))).toEqual([]);
    for (const proof of Object.keys(PROOFS)) expect(live.some((path) => lies(path, proof))).toBe(true);
    // Every default is another one than the stand's.
    expect(leaves(fieldsOf(schema)).filter((path) => lies(path, "defaults"))).toHaveLength(7);
    // Endpoints as a whole: test/e2e/config-plane.e2e.test.ts.
    expect(componentOf("endpoints").reloadable).toEqual([""]);
  });
});
