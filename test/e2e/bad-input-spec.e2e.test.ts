import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { Json } from "../../src/lib/json.ts";
import { at } from "../../src/lib/json-pointer.ts";
import { conditionOf, refusal, released } from "../support/person.ts";
import {
  aSwitch,
  CHECK,
  NOTIFY,
  openTestStand,
  ROUTE,
  SOAK,
  type TaskAbout,
  type TestStand,
} from "../support/stand.ts";

// One stand for the file: nothing here gets past validation but what the last line of each test creates on purpose.
let stand: TestStand;
beforeAll(async () => {
  stand = await openTestStand(inject("env"));
  await stand.operator();
});
afterAll(() => stand[Symbol.asyncDispose]());

const wait = (name: string, duration = "1s"): unknown => ({ name, wait: { duration } });
const route = (more: object, name = "route"): unknown => {
  const { redis } = ROUTE(stand.namespace) as { readonly redis: object };
  return { name, redis: { ...redis, ...more } };
};

/** Nothing was locked, sent or written for the tenant. */
async function untouched(tenantId: string): Promise<void> {
  const tenant = `${stand.namespace}/${tenantId}`;
  const records = await stand.kubectl.json("get", "tstate", "-n", stand.namespace);
  const named = (records["items"] as readonly Json[]).map((record) => at(record, "/spec/tenantId"));
  expect(named).not.toContain(tenantId);
  for (const receiver of [stand.blue, stand.green]) {
    expect((await receiver.effects()).filter((effect) => effect["tenant"] === tenant)).toEqual([]);
  }
  expect(await stand.redis.keys(`*${stand.namespace}:${tenantId}*`)).toEqual([]);
}

describe("[SEC-16] what the API server refuses, it refuses in words", () => {
  type Row = readonly [what: string, about: () => TaskAbout, says: RegExp];
  const ROWS: readonly Row[] = [
    [
      "two kinds in one stage",
      () => ({ stages: [ROUTE(stand.namespace), { ...(NOTIFY as object), wait: { duration: "1s" } }] }),
      /spec\.stages: .*stage notify: set exactly one of http, redis, verify, wait, approval/,
    ],
    ["no kind in a stage", () => ({ stages: [{ name: "empty" }] }), /spec\.stages: .*stage empty: set exactly one of/],
    [
      "33 stages",
      () => ({ stages: Array.from({ length: 33 }, (_, i) => wait(`s${i}`)) }),
      /spec\.stages: Too many: 33: must have at most 32 items/,
    ],
    ["no stages", () => ({ stages: [] }), /spec\.stages.*should have at least 1 items/],
    [
      "duplicate names",
      () => ({ stages: [wait("soak"), wait("soak", "2s")] }),
      /spec\.stages.*stage names must be unique/,
    ],
    [
      "a bad duration in a stage",
      () => ({ stages: [wait("soak", "5 minutes")] }),
      /spec\.stages\[0\]\.wait\.duration: Invalid value: "5 minutes"/,
    ],
    [
      "a bad duration of the task",
      () => ({ spec: { progressDeadline: "soon" } }),
      /spec\.progressDeadline: Invalid value: "soon"/,
    ],
    [
      "a tenant of 65 characters",
      () => ({ tenantId: "t".repeat(65) }),
      /spec\.tenantId: Too long: may not be more than 64 bytes/,
    ],
    ["a tenant with a slash", () => ({ tenantId: "a/b" }), /spec\.tenantId: Invalid value: "a\/b"/],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(9));
  test.each(ROWS)("%s", async (_what, about, says) => {
    expect(await refusal(stand.create(aSwitch(stand, { name: "refused", ...about() })))).toMatch(says);
  });
  test("the largest that are allowed go through: 32 stages, a tenant of 64 characters", async () => {
    const stages = Array.from({ length: 32 }, (_, i) => wait(`s${i}`, "1ms"));
    await stand.create(aSwitch(stand, { name: "largest", tenantId: "T".repeat(64), stages }));
    expect(at(await stand.phase("largest", "Completed"), "/status/progress")).toBe("32/32");
  });
});

describe("what only the operator can see ends as ValidationFailed, with nothing touched", () => {
  type Row = readonly [name: string, about: () => TaskAbout, path: string, says: string];
  const ROWS: readonly Row[] = [
    [
      "unknown-variable",
      () => ({ stages: [route({ hash: { fields: { unit: "${target.colour}" } } }), NOTIFY] }),
      "spec.stages[0].redis.hash.fields.unit",
      "${target.colour}: no such variable",
    ],
    [
      "unknown-parameter",
      () => ({ stages: [route({ hash: { fields: { unit: "${target.parameters.colour}" } } }), NOTIFY] }),
      "spec.stages[0].redis.hash.fields.unit",
      "${target.parameters.colour}: no such variable",
    ],
    [
      "unknown-endpoint",
      () => ({ stages: [ROUTE(stand.namespace), { name: "notify", http: { endpoint: "nowhere" } }] }),
      "spec.stages[1].http.endpoint",
      "is not an endpoint for http that this namespace may use",
    ],
    [
      "endpoint-of-another-kind",
      () => ({ stages: [{ name: "notify", http: { endpoint: "routing" } }] }),
      "spec.stages[0].http.endpoint",
      "is not an endpoint for http that this namespace may use",
    ],
    [
      "missing-endpoint",
      () => ({ stages: [NOTIFY], spec: { target: { deployUnit: { id: 2, name: "green", version: 7 } } } }),
      "spec.stages[0].http.to.key",
      "no instance to call: target.endpoints has none with key im-gateway",
    ],
    [
      "endpoint-outside-policy",
      () => ({
        stages: [NOTIFY],
        spec: {
          target: {
            deployUnit: { id: 2, name: "green", version: 7 },
            endpoints: [{ key: "im-gateway", host: "10.9.9.9", port: 8080 }],
          },
        },
      }),
      "spec.stages[0].http.to",
      "endpoint im-gateway does not allow this destination (destination)",
    ],
    [
      "two-writers",
      () => ({ stages: [ROUTE(stand.namespace), NOTIFY, route({}, "again")] }),
      "spec.stages[2]",
      "writes what stage route writes",
    ],
    [
      "key-of-others",
      () => ({ stages: [route({ key: "somebody:else" })] }),
      "spec.stages[0].redis.key",
      "endpoint routing does not allow this key (key)",
    ],
    [
      "endless-wait",
      () => ({ stages: [SOAK("400d")] }),
      "spec.stages[0].wait.duration",
      "must be a duration of at most 366 days",
    ],
    [
      "first-placement",
      () => ({ stages: [NOTIFY], spec: { previous: undefined } }),
      "spec.stages[0].http.undo",
      "nobody knows where the tenant is now: state spec.previous, or say in stage notify how to undo",
    ],
  ];
  test("no row is lost", () => expect(ROWS).toHaveLength(10));
  test.each(ROWS)("%s", async (name, about, path, says) => {
    const tenantId = `${name}-tenant`;
    await stand.create(aSwitch(stand, { name, tenantId, ...about() }));
    const task = await stand.phase(name, "ValidationFailed");
    const stalled = conditionOf(task, "Stalled");
    expect(stalled).toMatchObject({ status: "True", reason: "ValidationFailed" });
    expect(stalled.message).toContain(path);
    expect(stalled.message).toContain(says);
    expect(stalled.message).toContain("nothing was switched: delete this task and create a corrected one");
    expect(conditionOf(task, "Validated")).toMatchObject({ status: "False", reason: "SpecInvalid" });
    expect(conditionOf(task, "Ready")).toMatchObject({ status: "False", message: stalled.message });
    await untouched(tenantId);
  });

  test("all errors are told at once, each with its path and value", async () => {
    const bad = { endpoint: "nowhere", path: "/x/${nobody}" };
    const stages = [
      { name: "one", http: bad },
      { name: "two", http: { ...bad, path: "/y/${target.colour}" } },
    ];
    await stand.create(aSwitch(stand, { name: "many-errors", tenantId: "many", stages }));
    const task = await stand.phase("many-errors", "ValidationFailed");
    const { message } = conditionOf(task, "Validated");
    for (const part of [
      "spec.stages[0].http.endpoint=nowhere",
      "spec.stages[0].http.path=/x/${nobody}",
      "spec.stages[1].http.endpoint=nowhere",
      "spec.stages[1].http.path=/y/${target.colour}",
    ])
      expect(message).toContain(part);
    expect(conditionOf(task, "Stalled").message).toContain("and 3 more");
  });

  test("what the message says to do helps: deleted, corrected, created again under the same name", async () => {
    const about = { name: "corrected", tenantId: "corrected" };
    await stand.create(aSwitch(stand, { ...about, stages: [route({ key: "${nobody}" }), NOTIFY, CHECK] }));
    await stand.phase("corrected", "ValidationFailed");
    await stand.kubectl.run("delete", "swt", "corrected", "-n", stand.namespace);
    await stand.create(aSwitch(stand, about));
    await stand.phase("corrected", "Completed");
    expect(await stand.green.state(`${stand.namespace}/corrected`)).toMatchObject({ version: 42 });
  });
});

describe("`previous` that contradicts TenantState", () => {
  const blue = { id: 1, name: "blue", version: 6 };

  test("ends as ValidationFailed and names both places; left out, the switch goes on from where the tenant is", async () => {
    await stand.create(aSwitch(stand, { name: "first", tenantId: "moved" }));
    await stand.phase("first", "Completed");
    const before = await released(stand, "moved");
    await stand.create(aSwitch(stand, { name: "second", tenantId: "moved" }));
    const task = await stand.phase("second", "ValidationFailed");
    const { message } = conditionOf(task, "Stalled");
    expect(message).toContain("spec.previous says blue (unit 1 version 6, plan version 41)");
    expect(message).toContain("the tenant is served by green (unit 2 version 7, plan version 42)");
    expect(conditionOf(task, "Validated").status).toBe("False");
    expect((await stand.tenant("moved"))["status"]).toEqual(before["status"]);
    expect(await stand.green.state(`${stand.namespace}/moved`)).toMatchObject({ version: 42 });

    const back = {
      previous: undefined,
      plan: { id: 18, version: 43 },
      target: { deployUnit: blue, endpoints: [{ key: "im-gateway", host: "127.0.0.1", port: stand.blue.port }] },
    };
    await stand.create(aSwitch(stand, { name: "third", tenantId: "moved", spec: back }));
    await stand.phase("third", "Completed");
    expect(await stand.blue.state(`${stand.namespace}/moved`)).toMatchObject({ version: 43 });
  });
});
