import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/lib/json.ts";
import { STAGES } from "../../src/stages/registry.ts";
import { GREEN, mustPlan, type PlanAbout, refusals, undecodable } from "../support/stage-rig-plan.ts";

const HASH = { hash: { fields: { unit: "${target.deployUnit.name}" } } };
const redis = (config: object = HASH): object => ({
  redis: { endpoint: "routing", key: "tenant:${tenantId}", ...config },
});
const inputsOf = (config: object = HASH, about: PlanAbout = {}): JsonObject => mustPlan(redis(config), about).inputs;
const BACK = { direction: "Back" } as const;

describe("left out, a field is what docs/stages.md says", () => {
  test("forward", () => {
    const { inputs, ...planned } = mustPlan(redis());
    expect(inputs).toEqual({
      key: "tenant:acme",
      value: { kind: "hash", fields: { unit: "green" } },
      ttl: null,
      publish: null,
      version: 42,
    });
    expect(planned).toEqual({
      conflicts: ["redis/routing/tenant:acme"],
      endpoint: "routing",
      audience: ["routing|10.0.9.1:6379"],
      fencing: "Token",
      canProbe: true,
      idempotent: false,
      preview: "HSET 1 field of tenant:acme on routing",
    });
  });
});

describe("the value", () => {
  test("of a hash: text, the version in its field", () => {
    const fields = { unit: "${target.deployUnit}", v: "${plan.version}", t: "x-${tenantId}", on: "${target.default}" };
    expect(inputsOf({ hash: { fields }, versionField: "version" })["value"]).toEqual({
      kind: "hash",
      fields: { unit: '{"id":2,"name":"green","version":7}', v: "42", t: "x-acme", on: "false", version: "42" },
    });
  });
  test("of a string", () => {
    expect(inputsOf({ string: { value: "${target.parameters}" } })["value"]).toEqual({
      kind: "string",
      value: '{"trunkGroup":"tg-2"}',
    });
  });
  test("stays that of the forward claim while undoing: the record is compared with it", () => {
    const config = {
      hash: { fields: { unit: "${target.deployUnit.name}", d: "${direction}" } },
      versionField: "version",
    };
    expect(inputsOf(config, BACK)).toMatchObject({
      key: "tenant:acme",
      value: { fields: { unit: "green", d: "Forward", version: "42" } },
    });
  });
  test("of a first placement needs no previous configuration to be undone", () => {
    expect(inputsOf(HASH, { ...BACK, previous: null })).toMatchObject({ value: { fields: { unit: "green" } } });
  });
});

describe("the undo", () => {
  test("has the publication as a part of its own", () => {
    const config = { endpoint: "routing", key: "k", ...HASH };
    expect(STAGES.redis.undoParts(config)).toEqual([{ part: "write", role: "write" }]);
    expect(STAGES.redis.undoParts({ ...config, publish: { channel: "c", payload: "x" } })).toEqual([
      { part: "write", role: "write" },
      { part: "publish", role: "announce" },
    ]);
  });
  test("goes where the write went, whatever the endpoint lists now", () => {
    expect(mustPlan(redis(), BACK).audience).toEqual([]);
  });
});

describe("publish", () => {
  const payload = { tenant: "${namespace}/${tenantId}", version: "${plan.version}" };
  const channel = { ...HASH, publish: { channel: "switch:${tenantId}", payload } };
  const stream = (payload: unknown, undo?: unknown): object => ({
    ...HASH,
    publish: { stream: "tenant:told", payload, ...(undo === undefined ? {} : { undo }) },
  });
  test("tells a channel JSON, or text as it is", () => {
    expect(inputsOf(channel)["publish"]).toEqual({
      channel: "switch:acme",
      payload: '{"tenant":"prod/acme","version":42}',
    });
    expect(
      inputsOf({ ...HASH, publish: { channel: "c", payload: "to ${target.deployUnit.name}" } })["publish"],
    ).toEqual({
      channel: "c",
      payload: "to green",
    });
  });
  test("tells with target and version of before while undoing, or what it says itself", () => {
    expect(inputsOf(channel, BACK)["publish"]).toEqual({
      channel: "switch:acme",
      payload: '{"tenant":"prod/acme","version":41}',
    });
    const own = { ...HASH, publish: { channel: "c", payload, undo: "back to ${target.deployUnit.name}" } };
    expect(inputsOf(own, BACK)["publish"]).toEqual({ channel: "c", payload: "back to blue" });
  });
  test("of a first placement: what it says itself, else nobody is told", () => {
    const own = { ...HASH, publish: { channel: "c", payload, undo: "gone ${tenantId}" } };
    expect(inputsOf(own, { ...BACK, previous: null })["publish"]).toEqual({ channel: "c", payload: "gone acme" });
    expect(inputsOf(channel, { ...BACK, previous: null })["publish"]).toBeNull();
    const wrong = { ...HASH, publish: { channel: "c", payload, undo: "back to ${target.deployUnit.name}" } };
    expect(refusals(redis(wrong), { ...BACK, previous: null })).toHaveLength(1);
  });
  test("appends flat entries to a stream", () => {
    expect(inputsOf(stream({ a: 1, b: { c: 2 }, d: "${plan.version}" }))["publish"]).toEqual({
      stream: "tenant:told",
      entry: { a: "1", b: '{"c":2}', d: "42" },
    });
    expect(inputsOf(stream(["x"]))["publish"]).toEqual({ stream: "tenant:told", entry: { payload: '["x"]' } });
    expect(inputsOf(stream("x"))["publish"]).toEqual({ stream: "tenant:told", entry: { payload: "x" } });
  });
  test("an entry has 1 to 64 fields", () => {
    const fields = (count: number): JsonObject =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`f${i}`, i]));
    expect(refusals(redis(stream(fields(64))))).toEqual([]);
    expect(refusals(redis(stream(fields(65))))).toEqual([
      "redis.publish.payload 65: a stream entry has 1 to 64 fields",
    ]);
    expect(refusals(redis(stream({})))).toEqual(["redis.publish.payload 0: a stream entry has 1 to 64 fields"]);
    expect(refusals(redis(stream({ a: 1 }, {})), BACK)).toEqual([
      "redis.publish.undo 0: a stream entry has 1 to 64 fields",
    ]);
  });
});

describe("[SEC-25] a key that may not be touched is refused at plan time, after rendering:", () => {
  const target = { ...GREEN, parameters: { reserved: "turnout:{x}:x", empty: "", long: "x".repeat(100) } };
  test.each([
    ["outside the listed prefixes", "other:${tenantId}"],
    ["a record of ours", "turnout:{tenant:acme}:tenant:acme"],
    ["a record of ours, by a variable", "${target.parameters.reserved}"],
    ["nothing", "${target.parameters.empty}"],
    ["too long", `tenant:${"x".repeat(450)}\${target.parameters.long}`],
  ])("%s", (_what, key) => {
    expect(refusals(redis({ ...HASH, key }), { target })[0]).toMatch(
      /^redis\.key .*: endpoint routing does not allow this key \(key\)$/,
    );
  });
  test("a stream", () => {
    expect(refusals(redis({ ...HASH, publish: { stream: "other", payload: "x" } }))).toEqual([
      "redis.publish.stream other: endpoint routing does not allow this key (key)",
    ]);
  });
  test.each(["opId", "now", "direction", "stages.x.outputs.y"])(
    "${%s} is not fixed when the plan is frozen",
    (name) => {
      expect(refusals(redis({ ...HASH, key: `tenant:\${${name}}` }))[0]).toContain("not allowed in a key or path");
    },
  );
});

describe("[SEC-26] an endpoint that cannot be used is refused in one text, whyever", () => {
  test.each([
    ["unknown", "nothing"],
    ["of another protocol", "gateway"],
    ["of another namespace", "theirs"],
  ])("%s", (_why, endpoint) => {
    expect(refusals(redis({ ...HASH, endpoint }))).toEqual([
      `redis.endpoint ${endpoint}: is not an endpoint for redis that this namespace may use`,
    ]);
  });
});

describe("ttl", () => {
  test("is a time", () => expect(inputsOf({ ...HASH, ttl: "1h30m" })["ttl"]).toBe(5_400_000));
  test("is never silently none", () => {
    expect(refusals(redis({ ...HASH, ttl: "400d" }))).toEqual([
      "redis.ttl 400d: must be a duration of at most 366 days",
    ]);
    expect(refusals(redis({ ...HASH, ttl: "0s" }))).toEqual(["redis.ttl 0s: must be at least 1ms"]);
  });
});

describe("what does not decode", () => {
  test.each<readonly [string, object, string]>([
    ["neither hash nor string", {}, "redis: needs either hash or string"],
    ["both", { ...HASH, string: { value: "" } }, "redis: needs either hash or string"],
    ["a version field without a hash", { string: { value: "" }, versionField: "v" }, "redis: versionField needs hash"],
    ["a hash without fields", { hash: { fields: {} } }, "redis: hash needs a field"],
    [
      "a version field that is a field too",
      { ...HASH, versionField: "unit" },
      "redis: versionField is one of the fields already",
    ],
    [
      "a publication to nobody",
      { ...HASH, publish: { payload: "x" } },
      "redis.publish: needs either channel or stream",
    ],
    [
      "a publication to two",
      { ...HASH, publish: { payload: "x", channel: "c", stream: "s" } },
      "redis.publish: needs either channel or stream",
    ],
    ["a ttl that is none", { ...HASH, ttl: "soon" }, "redis.ttl: must be a duration such as 300ms, 90s, 5m or 1h30m"],
  ])("%s", (_what, config, refusal) => {
    expect(undecodable(redis(config))).toEqual([refusal]);
  });
  test("a hash whose only field is the version", () => {
    expect(undecodable(redis({ hash: { fields: {} }, versionField: "version" }))).toEqual([]);
  });
  test("more than 64 fields", () => {
    const fields = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`f${i}`, ""]));
    expect(undecodable(redis({ hash: { fields } }))).toEqual(["redis.hash.fields: has more than 64 entries"]);
  });
});

describe("a dry run shows", () => {
  const publish = { channel: "told:${tenantId}", payload: "x" };
  test.each<readonly [string, object, string, string]>([
    ["a hash", HASH, "HSET 1 field of tenant:acme on routing", "put tenant:acme of routing back"],
    [
      "its version and expiry",
      { ...HASH, versionField: "v", ttl: "90m" },
      "HSET 2 fields of tenant:acme on routing for 1h30m",
      "put tenant:acme of routing back",
    ],
    ["a string", { string: { value: "x" } }, "SET tenant:acme on routing", "put tenant:acme of routing back"],
    [
      "whom it tells",
      { ...HASH, publish },
      "HSET 1 field of tenant:acme on routing, PUBLISH to told:acme",
      "put tenant:acme of routing back, PUBLISH to told:acme",
    ],
    [
      "what it appends to",
      { ...HASH, publish: { stream: "tenant:told", payload: "x" } },
      "HSET 1 field of tenant:acme on routing, XADD to tenant:told",
      "put tenant:acme of routing back, XADD to tenant:told",
    ],
  ])("%s", (_what, config, forward, back) => {
    expect(mustPlan(redis(config)).preview).toBe(forward);
    expect(mustPlan(redis(config), BACK).preview).toBe(back);
  });
});
