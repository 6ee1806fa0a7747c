import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/lib/json.ts";
import { BLUE, GREEN, mustPlan, type PlanAbout, planOf, refusals, undecodable } from "../support/stage-rig-plan.ts";

const http = (config: object = {}): object => ({ http: { endpoint: "open", ...config } });
const requestOf = (config: object, about: PlanAbout = {}): JsonObject =>
  mustPlan(http(config), about).inputs["request"] as JsonObject;
const BACK = { direction: "Back" } as const;

describe("left out, a field is what docs/stages.md says", () => {
  test("forward: the receiver's request to every address of the endpoint", () => {
    const { inputs, ...planned } = mustPlan({ http: { endpoint: "gateway" } });
    expect(inputs).toEqual({
      request: {
        method: "PUT",
        path: "/turnout/v1/tenants/prod/acme",
        headers: {},
        body: { deployUnit: GREEN.deployUnit, version: 42, endpoints: GREEN.endpoints, parameters: GREEN.parameters },
      },
      success: { status: null, equals: {}, emptyAt: null, json: true },
      probe: { path: "/turnout/v1/tenants/prod/acme", opIdPointer: "/opId", receiver: true },
      select: "All",
    });
    expect(planned).toEqual({
      conflicts: [],
      endpoint: "gateway",
      audience: ["gateway|10.0.2.7:8080", "gateway|10.0.3.7:8080"],
      fencing: "Token",
      canProbe: true,
      idempotent: false,
      preview: "PUT /turnout/v1/tenants/prod/acme to 2 of gateway",
    });
  });

  test("back: the same request with the previous configuration", () => {
    expect(requestOf({}, BACK)).toEqual({
      method: "PUT",
      path: "/turnout/v1/tenants/prod/acme",
      headers: {},
      body: { deployUnit: BLUE.deployUnit, version: 41, endpoints: BLUE.endpoints, parameters: BLUE.parameters },
    });
  });

  test("a path of its own: no body, no promise of JSON, nobody to ask", () => {
    const { inputs, canProbe } = mustPlan(http({ path: "/apply" }));
    expect(inputs).toMatchObject({ request: { body: null }, success: { json: false }, probe: null });
    expect(canProbe).toBe(false);
  });
});

describe("content is rendered", () => {
  test("with JSON types where a string is one variable, as text inside other text", () => {
    const body = {
      unit: "${target.deployUnit}",
      version: "${plan.version}",
      text: "v${plan.version}",
      list: ["${tenantId}"],
    };
    expect(requestOf({ path: "/x", body })["body"]).toEqual({
      unit: GREEN.deployUnit,
      version: 42,
      text: "v42",
      list: ["acme"],
    });
  });

  test("while undoing with target and plan version of before, previous as ever", () => {
    const body = {
      to: "${target.deployUnit.name}",
      v: "${plan.version}",
      p: "${previous.deployUnit.name}",
      d: "${direction}",
    };
    expect(requestOf({ path: "/x", body })["body"]).toEqual({ to: "green", v: 42, p: "blue", d: "Forward" });
    expect(requestOf({ path: "/x", body }, BACK)["body"]).toEqual({ to: "blue", v: 41, p: "blue", d: "Back" });
  });

  test("with operation, first start and outputs once the stage is claimed", () => {
    const body = { op: "${opId}", at: "${now}", key: "${stages.route.outputs.key}" };
    const before = [{ name: "route", redis: { endpoint: "routing", key: "tenant:x", string: { value: "" } } }];
    expect(requestOf({ path: "/x", body }, { before })["body"]).toEqual({ op: "", at: "", key: "" });
    const claimed = { before, opId: "abc", now: "2026-06-01T12:00:00.000Z", outputs: { route: { key: "tenant:x" } } };
    expect(requestOf({ path: "/x", body }, claimed)["body"]).toEqual({
      op: "abc",
      at: "2026-06-01T12:00:00.000Z",
      key: "tenant:x",
    });
  });

  test("values of headers are text", () => {
    const headers = {
      "x-version": "${plan.version}",
      "x-unit": "${target.deployUnit}",
      "x-name": "u-${target.deployUnit.name}",
    };
    expect(requestOf({ path: "/x", headers })["headers"]).toEqual({
      "x-version": "42",
      "x-unit": '{"id":2,"name":"green","version":7}',
      "x-name": "u-green",
    });
  });

  test("[SEC-24] values in paths and queries are percent-encoded and add no segment", () => {
    const target = { ...GREEN, parameters: { p: "a b=c&d?e#f", slash: "../x", umlaut: "ü" } };
    const path = "/v1/${target.parameters.p}/z?q=${target.parameters.slash}&u=${target.parameters.umlaut}";
    expect(requestOf({ path }, { target })["path"]).toBe("/v1/a%20b%3Dc%26d%3Fe%23f/z?q=..%2Fx&u=%C3%BC");
  });

  test.each(["..", ".", "/", "a/../b", "..;x", "%2e%2e", "\\", ""])(
    "[SEC-24] a value %j that some server would take for another segment is refused",
    (value) => {
      const target = { ...GREEN, parameters: { value } };
      expect(refusals(http({ path: "/v1/${target.parameters.value}/x" }), { target })).toHaveLength(1);
    },
  );

  test("paths stay those of the forward claim while undoing", () => {
    const path = "/v1/${target.deployUnit.name}/${plan.version}";
    expect(requestOf({ path }, BACK)["path"]).toBe("/v1/green/42");
  });
});

describe("an own undo", () => {
  const own = (undo: object, config: object = {}): JsonObject =>
    requestOf({ method: "POST", path: "/apply", body: { to: "${target.deployUnit.name}" }, ...config, undo }, BACK);
  test.each<readonly [string, object, JsonObject]>([
    ["nothing in it: the forward request again", {}, { method: "POST", path: "/apply", body: { to: "blue" } }],
    ["a path", { path: "/revert/${tenantId}" }, { method: "POST", path: "/revert/acme", body: { to: "blue" } }],
    ["a body", { body: { from: "${plan.version}" } }, { method: "POST", path: "/apply", body: { from: 41 } }],
    ["another method", { method: "PUT" }, { method: "PUT", path: "/apply", body: { to: "blue" } }],
    ["DELETE, which has no content", { method: "DELETE" }, { method: "DELETE", path: "/apply", body: null }],
    ["DELETE with content", { method: "DELETE", body: [1] }, { method: "DELETE", path: "/apply", body: [1] }],
  ])("with %s", (_what, undo, request) => {
    expect(own(undo)).toMatchObject(request);
  });

  test("is not used forward", () => {
    const config = { path: "/apply", undo: { method: "DELETE", path: "/gone" } };
    expect(requestOf(config)).toMatchObject({ method: "PUT", path: "/apply" });
  });

  test("is not asked about afterwards, and promises no JSON under a path of its own", () => {
    const { inputs } = mustPlan(http({ undo: { path: "/revert" } }), BACK);
    expect(inputs).toMatchObject({ probe: null, success: { json: false } });
    expect(mustPlan(http(), BACK).inputs["probe"]).toMatchObject({ receiver: true });
  });

  test("of a first placement stands without the previous configuration", () => {
    expect(refusals(http(), { ...BACK, previous: null })).toContainEqual(
      expect.stringContaining("the tenant's previous configuration is not known"),
    );
    const undo = { body: { tenant: "${tenantId}", gone: true } };
    expect(requestOf({ undo }, { ...BACK, previous: null })["body"]).toEqual({ tenant: "acme", gone: true });
    expect(requestOf({ undo: { method: "DELETE" } }, { ...BACK, previous: null })["body"]).toBeNull();
  });
});

describe("[SEC-25] what the endpoint's policy does not allow is refused at plan time, at its field:", () => {
  test.each<readonly [string, object, string]>([
    ["path", { path: "/admin" }, "http.path /admin: endpoint gateway does not allow this request (path)"],
    ["method", { method: "DELETE" }, "http.method DELETE: endpoint gateway does not allow this request (method)"],
    [
      "header",
      { headers: { Authorization: "canary" } },
      "http.headers Authorization: endpoint gateway does not allow this request (header)",
    ],
    [
      "path of the probe",
      { probe: { path: "/admin" } },
      "http.probe.path /admin: endpoint gateway does not allow this request (path)",
    ],
  ])("%s", (_what, config, refusal) => {
    expect(refusals(http({ endpoint: "gateway", ...config }))).toEqual([refusal]);
  });

  test("the undo's own path too", () => {
    expect(refusals(http({ endpoint: "gateway", undo: { path: "/admin" } }), BACK)).toEqual([
      "http.undo.path /admin: endpoint gateway does not allow this request (path)",
    ]);
  });

  test.each([
    "Host",
    "cookie",
    "Turnout-Fence",
    "idempotency-key",
    "Transfer-Encoding",
    "Impersonate-User",
    "proxy-auth",
  ])("[SEC-24] header %s", (name) => {
    expect(refusals(http({ path: "/x", headers: { [name]: "x" } }))).toHaveLength(1);
  });

  test.each(["//x", "/a//b", "/a/../b", "/a/%2e%2e/b", "/a\\b", "/a/./b", "/${target.parameters.empty}/b"])(
    "[SEC-24] path %s",
    (path) => {
      expect(refusals(http({ path }), { target: { ...GREEN, parameters: { empty: "" } } })).toHaveLength(1);
    },
  );
});

describe("[SEC-26] an endpoint that cannot be used is refused in one text, whyever", () => {
  test.each([
    ["unknown", "nothing"],
    ["of another namespace", "theirs"],
    ["of another protocol", "routing"],
  ])("%s", (_why, endpoint) => {
    expect(refusals(http({ endpoint }))).toEqual([
      `http.endpoint ${endpoint}: is not an endpoint for http that this namespace may use`,
    ]);
  });
});

describe("whom it calls", () => {
  const to = (select?: string): object => ({ to: { key: "im-gateway", ...(select === undefined ? {} : { select }) } });
  const two = {
    ...GREEN,
    endpoints: [
      { key: "im-gateway", host: "10.0.3.7", port: 8080 },
      { key: "im-logic", host: "10.0.3.9", port: 8080 },
      { key: "im-gateway", host: "10.0.3.8", port: 8080 },
    ],
  };
  test("the tenant's own endpoints of that key", () => {
    const { audience, preview } = mustPlan(http(to()), { target: two });
    expect(audience).toEqual(["im-gateway|10.0.3.7:8080", "im-gateway|10.0.3.8:8080"]);
    expect(preview).toBe("PUT /turnout/v1/tenants/prod/acme to 2 of open");
  });
  test("while undoing those of the previous unit, besides everyone who was called", () => {
    const { audience, preview } = mustPlan(http(to()), { target: two, ...BACK });
    expect(audience).toEqual(["im-gateway|10.0.2.7:8080"]);
    expect(preview).toBe("PUT /turnout/v1/tenants/prod/acme to everyone who was called and 1 of open");
  });
  test.each(["Any", "RoundRobin"])("%s keeps all as candidates", (select) => {
    const { audience, inputs, preview } = mustPlan(http(to(select)), { target: two });
    expect(audience).toHaveLength(2);
    expect(inputs).toMatchObject({ select });
    expect(preview).toBe("PUT /turnout/v1/tenants/prod/acme to one of 2 of open");
  });
  test("an instance that is listed twice, once", () => {
    const endpoints = [...GREEN.endpoints, ...GREEN.endpoints, { key: "im-gateway", host: "10.0.3.7", port: 8081 }];
    expect(refusals(http(to()), { target: { ...GREEN, endpoints } })).toHaveLength(1);
    expect(mustPlan(http(to()), { target: { ...GREEN, endpoints: endpoints.slice(0, 2) } }).audience).toHaveLength(1);
  });
  test("names as they are written, IPv6 in brackets", () => {
    const endpoints = [{ key: "im-gateway", host: "Gateway.Green.svc", port: 8080 }];
    expect(mustPlan(http(to()), { target: { ...GREEN, endpoints } }).audience).toEqual([
      "im-gateway|gateway.green.svc:8080",
    ]);
  });
  test("nobody: says where it looked", () => {
    expect(refusals(http({ to: { key: "im-push" } }))).toEqual([
      "http.to.key im-push: no instance to call: target.endpoints has none with key im-push",
    ]);
    expect(refusals(http({ to: { key: "im-push" } }), BACK)).toEqual([
      "http.to.key im-push: no instance to call: previous.endpoints has none with key im-push",
    ]);
    expect(refusals(http({ endpoint: "nowhere" }))).toEqual([
      "http.endpoint nowhere: no instance to call: the endpoint has no addresses and the stage no `to`",
    ]);
  });
  test.each([
    ["outside its blocks", { host: "10.1.3.7", port: 8080 }],
    ["outside its ports", { host: "10.0.3.7", port: 22 }],
    ["the metadata service", { host: "169.254.169.254", port: 8080 }],
    ["loopback", { host: "127.0.0.1", port: 8080 }],
    ["a name on another port", { host: "gateway.svc", port: 22 }],
  ])("[SEC-20] [SEC-26] an address %s is refused without being named", (_what, address) => {
    const endpoints = [{ key: "im-gateway", ...address }];
    expect(refusals(http(to()), { target: { ...GREEN, endpoints } })).toEqual([
      "http.to im-gateway: endpoint open does not allow this destination (destination)",
    ]);
  });
});

describe("what it writes and whether it can be asked", () => {
  test("an announce collides with nothing, a write with its path", () => {
    expect(mustPlan(http()).conflicts).toEqual([]);
    expect(mustPlan(http({ effect: "Write" })).conflicts).toEqual(["http/open//turnout/v1/tenants/prod/acme"]);
  });
  test("a receiver without fences says so", () => {
    const { fencing, canProbe, idempotent } = mustPlan(http({ endpoint: "legacy", path: "/apply", idempotent: true }));
    expect({ fencing, canProbe, idempotent }).toEqual({ fencing: "None", canProbe: false, idempotent: true });
  });
  test("a probe of its own", () => {
    const { inputs, canProbe } = mustPlan(http({ path: "/apply", probe: { path: "/state/${tenantId}" } }));
    expect(inputs["probe"]).toEqual({ path: "/state/acme", opIdPointer: "/opId", receiver: false });
    expect(canProbe).toBe(true);
  });
});

describe("success", () => {
  test("is kept as it is said, rendered", () => {
    const success = { status: [200, 202], equals: { "/version": "${plan.version}" }, emptyAt: "/data/failList" };
    expect(mustPlan(http({ success })).inputs["success"]).toEqual({
      status: [200, 202],
      equals: { "/version": 42 },
      emptyAt: "/data/failList",
      json: true,
    });
    expect(mustPlan(http({ success }), BACK).inputs["success"]).toMatchObject({ equals: { "/version": 41 } });
  });
  test("points with JSON pointers only", () => {
    expect(refusals(http({ success: { equals: { code: 0 } } }))).toEqual([
      "http.success.equals code: must be a JSON pointer such as /code",
    ]);
    expect(undecodable(http({ success: { emptyAt: "data" } }))).toEqual([
      "http.success.emptyAt: must be a JSON pointer such as /opId",
    ]);
  });
});

describe("what does not decode", () => {
  test.each<readonly [string, object]>([
    ["a URL", { path: "http://x/y" }],
    ["a relative path", { path: "x" }],
    ["an unknown field", { url: "/x" }],
    ["an unknown method", { method: "CONNECT" }],
    ["an unknown selection", { to: { key: "x", select: "Some" } }],
    ["a status of no success", { success: { status: [404] } }],
    ["a pointer that is none", { probe: { path: "/x", opIdPointer: "opId" } }],
    ["too long a path", { path: `/${"x".repeat(1024)}` }],
  ])("%s", (_what, config) => {
    expect(undecodable(http(config)).length).toBeGreaterThan(0);
  });
});

describe("variables", () => {
  test("that are unknown are named with their place", () => {
    const config = { path: "/${nothing}", body: { a: "${target.nothing}", b: "${stages.later.outputs.key}" } };
    const body = JSON.stringify(config.body);
    expect(refusals(http(config))).toEqual([
      "http.path /${nothing}: ${nothing}: no such variable",
      `http.body ${body}: \${target.nothing}: no such variable`,
      `http.body ${body}: \${stages.later.outputs.key}: only outputs of earlier stages can be read`,
    ]);
  });
  test.each(["opId", "now", "direction", "stages.x.outputs.y"])("${%s} may not stand in a path", (name) => {
    expect(refusals(http({ path: `/x/\${${name}}` }))[0]).toContain("not allowed in a key or path");
  });
});

test("what a plan holds is plain JSON", () => {
  const { planned } = planOf(http());
  expect(JSON.parse(JSON.stringify(planned?.inputs)) as Json).toEqual(planned?.inputs);
});
