import { join } from "node:path";
import { afterAll, beforeAll, describe, inject, test } from "vitest";
import { at } from "../../src/lib/json-pointer.ts";
import { aSwitch, CHECK, type Document, NOTIFY, openTestStand, type Space, type TestStand } from "../support/stand.ts";
import { type Left, leftBy } from "../support/stand-outcome.ts";
import { stagesOf } from "../support/stand-read.ts";
import { fired, passed } from "../support/stand-trace.ts";

const ROUTE = {
  name: "route",
  redis: {
    endpoint: "routing",
    key: "${namespace}:${tenantId}",
    hash: { fields: { unit: "${target.deployUnit.name}" } },
    versionField: "version",
    publish: { channel: "${namespace}-switch", payload: { version: "${plan.version}" } },
  },
};
const GATE = { name: "gate", approval: {} };

type Way = "forward" | "back";
const NAME = "acme-green";
/** Undisturbed: every mutating request and effect of the task, in order. */
const PASSED: Readonly<Record<Way, readonly string[]>> = {
  forward: [
    "api/status#1",
    "api/create#1",
    "api/finalizer#1",
    "api/tenant#1",
    "api/status#2",
    "effect/redis#1",
    "api/status#3",
    "effect/http#1",
    "api/status#4",
    "api/status#5",
    "api/tenant#2",
    "api/finalizer#2",
  ],
  back: [
    "api/status#1",
    "api/create#1",
    "api/finalizer#1",
    "api/tenant#1",
    "api/status#2",
    "effect/redis#1",
    "api/status#3",
    "effect/http#1",
    "api/status#4",
    "api/status#5",
    "api/status#6",
    "api/status#7",
    "effect/redis#2",
    "api/status#8",
    "effect/redis#3",
    "api/status#9",
    "effect/http#2",
    "effect/http#3",
    "api/status#10",
    "api/status#11",
    "api/tenant#2",
    "api/finalizer#2",
  ],
};

const POINTS: readonly (readonly [where: string, way: Way, point: string])[] = [
  ["first status stored", "forward", "api/status#1.sent"],
  ["record of the tenant made", "forward", "api/create#1.sent"],
  ["finalizer on", "forward", "api/finalizer#1.sent"],
  ["lock taken", "forward", "api/tenant#1.sent"],
  ["claim stored, answer not seen", "forward", "api/status#2.sent"],
  ["between claim and write", "forward", "effect/redis#1.before"],
  ["between write and settle", "forward", "effect/redis#1.sent"],
  ["between claim and announce", "forward", "effect/http#1.before"],
  ["between announce and settle", "forward", "effect/http#1.sent"],
  ["before the terminal status", "forward", "api/status#5.before"],
  ["at the terminal status", "forward", "api/status#5.sent"],
  ["before the release", "forward", "api/tenant#2.before"],
  ["at the release", "forward", "api/tenant#2.sent"],
  ["before the done patch", "forward", "api/finalizer#2.before"],
  ["at the done patch", "forward", "api/finalizer#2.sent"],
  ["turn back stored, answer not seen", "back", "api/status#7.sent"],
  ["between claim and unwrite", "back", "effect/redis#2.before"],
  ["between unwrite and settle", "back", "effect/redis#2.sent"],
  ["between second publish and settle", "back", "effect/redis#3.sent"],
  ["between claim and second announce", "back", "effect/http#2.before"],
  ["between second announce and settle", "back", "effect/http#3.sent"],
  ["at the terminal status", "back", "api/status#11.sent"],
  ["before the release", "back", "api/tenant#2.before"],
  ["at the release", "back", "api/tenant#2.sent"],
  ["before the done patch", "back", "api/finalizer#2.before"],
];

let stand: TestStand;
const undisturbed = new Map<Way, Left>();

/** Short attempts: a claim whose process died lives for attemptTimeout + 5 s. */
const ATTEMPT = { defaults: { attemptTimeout: "2s", instanceTimeout: "1s" } };

beforeAll(async () => {
  stand = await openTestStand(inject("env"), { spaces: POINTS.length + 4, operator: ATTEMPT });
  for (const way of ["forward", "back"] as const) {
    const space = await stand.space();
    const trace = join(stand.folder, `trace-${way}`);
    const operator = await space.operator({ boundary: `trace:${trace}` });
    await begin(space, way);
    await turn(space, way);
    await end(space, way);
    const seen = (await passed(trace, `${space.namespace}/${NAME}`)).filter((line) => !line.startsWith("api/event"));
    if (JSON.stringify(seen) !== JSON.stringify(PASSED[way]))
      throw new Error(`undisturbed ${way} passed ${seen.join(" ")}`);
    undisturbed.set(way, await leftBy(stand, space, NAME));
    await operator.kill();
  }
});
afterAll(() => stand[Symbol.asyncDispose]());

const stagesFor = (way: Way): readonly unknown[] =>
  way === "forward" ? [ROUTE, NOTIFY, CHECK] : [ROUTE, NOTIFY, CHECK, GATE];

async function begin(space: Space, way: Way): Promise<void> {
  await stand.redis.hset(`${space.namespace}:acme`, { unit: "blue", version: "41", owner: "ops" });
  await space.create(aSwitch({ ...stand, namespace: space.namespace }, { name: NAME, stages: stagesFor(way) }));
}

async function turn(space: Space, way: Way): Promise<void> {
  if (way === "forward") return;
  await space.waits(NAME, "AwaitingApproval");
  await space.patch(NAME, { rollback: true });
}

const end = (space: Space, way: Way): Promise<Document> =>
  space.over(NAME, way === "forward" ? "Completed" : "RolledBack");

describe.concurrent("killed at a boundary, started again", () => {
  test.for(POINTS)("[process/kill] [R49] [S3] [S6] %s, %s (%s)", async ([_where, way, point], { expect }) => {
    const space = await stand.space();
    const trace = join(stand.folder, `trace-${space.namespace}`);
    const first = await space.operator({ boundary: `${point}=kill,trace:${trace}` });
    await begin(space, way);
    await turn(space, way);
    await first.ended();
    expect(await fired(trace)).toEqual([`${point}=kill ${space.namespace}/${NAME}`]);
    const second = await space.operator();
    await end(space, way);
    expect(await leftBy(stand, space, NAME)).toEqual(undisturbed.get(way));
    await second.kill();
  });

  test("[L3] [S26] under a lease and the same identity the claim is taken over at once, and probed", async ({
    expect,
  }) => {
    const space = await stand.space();
    const options = { lease: `lease-${space.namespace}`, identity: "pod-0" };
    const first = await space.operator({ ...options, boundary: "effect/redis#1.sent=kill" });
    await begin(space, "forward");
    await first.ended();
    const left = await space.task(NAME);
    expect(stagesOf(left)).toEqual({ route: "Running" });
    await space.operator(options);
    await end(space, "forward");
    expect(await leftBy(stand, space, NAME)).toEqual(undisturbed.get("forward"));
    const claims = space.versions(NAME).map((version) => at(version, "/status/stages/0/claim/at"));
    const [claimed, again, ...others] = [...new Set(claims)].filter((claimed) => typeof claimed === "string");
    const until = at(left, "/status/stages/0/claim/until");
    expect([typeof claimed, typeof again, typeof until, others]).toEqual(["string", "string", "string", []]);
    expect(instant(again)).toBeLessThan(instant(until));
  });
});

const instant = (text: unknown): number => (typeof text === "string" ? Date.parse(text) : Number.NaN);
