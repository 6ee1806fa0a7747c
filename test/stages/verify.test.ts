import { describe, expect, test } from "vitest";
import { STAGES } from "../../src/stages/registry.ts";
import { BLUE, GREEN, mustPlan, type PlanAbout, refusals, undecodable } from "../support/stage-rig-plan.ts";

const verify = (config: object = {}): object => ({ verify: { endpoint: "gateway", ...config } });
const BACK = { direction: "Back" } as const;
const to = { to: { key: "im-gateway" } };
const units = (target: number, previous: number): PlanAbout => {
  const some = (count: number): object[] =>
    Array.from({ length: count }, (_, i) => ({ key: "im-gateway", host: `10.0.0.${i + 1}`, port: 8080 }));
  return { target: { ...GREEN, endpoints: some(target) }, previous: { ...BLUE, endpoints: some(previous) } };
};

describe("left out, a field is what docs/stages.md says", () => {
  test("forward", () => {
    const { inputs, ...planned } = mustPlan(verify());
    expect(inputs).toEqual({
      path: "/turnout/v1/tenants/prod/acme",
      version: "/version",
      unit: null,
      wanted: { version: 42, unit: GREEN.deployUnit },
      interval: 3000,
      rounds: 10,
      successThreshold: 1,
      minAvailable: null,
      maxUnreachable: 0,
    });
    expect(planned).toEqual({
      conflicts: [],
      endpoint: "gateway",
      audience: ["gateway|10.0.2.7:8080", "gateway|10.0.3.7:8080"],
      fencing: "Token",
      canProbe: false,
      idempotent: true,
      preview: "GET /turnout/v1/tenants/prod/acme of 2 of gateway until all report 42",
    });
  });

  test("back: the previous unit, with the version that it reports", () => {
    const { inputs, audience } = mustPlan(verify(to), BACK);
    expect(inputs["wanted"]).toEqual({ version: 41, unit: BLUE.deployUnit });
    expect(audience).toEqual(["im-gateway|10.0.2.7:8080"]);
  });
});

test("it reads, and is asked again while undoing", () => {
  expect(STAGES.verify.effect({ endpoint: "gateway" })).toBe("read");
  expect(STAGES.verify.undoParts({ endpoint: "gateway" })).toEqual([{ part: "verify", role: "verify" }]);
});

describe("what cannot be is refused at plan time:", () => {
  test.each<readonly [string, object, string]>([
    [
      "a path that the endpoint does not allow",
      { path: "/state" },
      "verify.path /state: endpoint gateway does not allow this request (path)",
    ],
    [
      "an endpoint of another protocol",
      { endpoint: "routing" },
      "verify.endpoint routing: is not an endpoint for http that this namespace may use",
    ],
    [
      "an interval beyond any wait",
      { interval: "400d" },
      "verify.interval 400d: must be a duration of at most 366 days",
    ],
    ["no interval at all", { interval: "0s" }, "verify.interval 0s: must be at least 10ms"],
    ["too short an interval", { interval: "9ms" }, "verify.interval 9ms: must be at least 10ms"],
    ["more instances than there are", { minAvailable: 3 }, "verify.minAvailable 3: there are only 2 instances"],
  ])("%s", (_what, config, refusal) => {
    expect(refusals(verify(config))).toEqual([refusal]);
  });
  test("a pointer that is none, no rounds, no threshold", () => {
    expect(undecodable(verify({ version: "version" }))).toHaveLength(1);
    expect(undecodable(verify({ unit: "unit" }))).toHaveLength(1);
    expect(undecodable(verify({ rounds: 0 }))).toHaveLength(1);
    expect(undecodable(verify({ successThreshold: 0 }))).toHaveLength(1);
    expect(undecodable(verify({ interval: "soon" }))).toHaveLength(1);
  });
});

test("a previous unit with fewer instances than minAvailable needs all of them", () => {
  const about = units(4, 2);
  expect(mustPlan(verify({ ...to, minAvailable: 3 }), about).inputs["minAvailable"]).toBe(3);
  expect(mustPlan(verify({ ...to, minAvailable: 3 }), { ...about, ...BACK }).inputs["minAvailable"]).toBe(2);
});
