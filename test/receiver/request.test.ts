import { describe, expect, test } from "vitest";
import { claimOf, operationOf, takesType, tenantOf } from "../../src/receiver/request.ts";
import { aConfiguration, fenceOf, TENANT } from "../support/receiver-build.ts";

describe("the path", () => {
  test.each([
    ["/turnout/v1/tenants/prod/acme", "prod/acme"],
    ["/turnout/v1/tenants/prod/Acme_Corp-1", "prod/Acme_Corp-1"],
    ["/turnout/v1/tenants/prod/%61cme", "prod/acme"],
    ["/turnout/v1/tenants/p%72od/acme", "prod/acme"],
  ])("%s names %s", (path, tenant) => {
    expect(tenantOf(path)).toEqual({ ok: true, value: tenant });
  });

  test.each([
    ["/", "UnknownPath"],
    ["/turnout/v1/tenants/prod", "UnknownPath"],
    ["/turnout/v1/tenants/prod/acme/", "UnknownPath"],
    ["/turnout/v1/tenants//prod/acme", "UnknownPath"],
    ["/turnout/v1/tenants/prod/x/../acme", "UnknownPath"],
    ["/Turnout/v1/tenants/prod/acme", "UnknownPath"],
    ["http://elsewhere/turnout/v1/tenants/prod/acme", "UnknownPath"],
    ["/turnout/v1/tenants/prod/acme?x=1", "PathMalformed"],
    ["/turnout/v1/tenants/prod/%2561cme", "PathMalformed"],
    ["/turnout/v1/tenants/prod/a%2Fb", "PathMalformed"],
    ["/turnout/v1/tenants/prod/%2e%2e", "PathMalformed"],
    ["/turnout/v1/tenants/prod/%ff", "PathMalformed"],
    ["/turnout/v1/tenants/prod/%", "PathMalformed"],
    ["/turnout/v1/tenants/prod/", "PathMalformed"],
    ["/turnout/v1/tenants//acme", "PathMalformed"],
    ["/turnout/v1/tenants/Prod/acme", "PathMalformed"],
    ["/turnout/v1/tenants/-prod/acme", "PathMalformed"],
    [`/turnout/v1/tenants/prod/${"x".repeat(65)}`, "PathMalformed"],
    [`/turnout/v1/tenants/${"x".repeat(64)}/acme`, "PathMalformed"],
    ["/turnout/v1/tenants/prod/acme%00", "PathMalformed"],
    ["/turnout/v1/tenants/prod/%EF%BC%91", "PathMalformed"],
  ])("%s is %s", (path, code) => {
    expect(tenantOf(path)).toEqual({ ok: false, code });
  });
});

describe("the claim", () => {
  const headers = {
    "turnout-tenant": TENANT,
    "turnout-fence": fenceOf(5),
    "turnout-base": fenceOf(4),
    "idempotency-key": "mfzwizdgojxgo",
  };

  test("is read from four headers", () => {
    const value = { fence: fenceOf(5), base: fenceOf(4), opId: "mfzwizdgojxgo" };
    expect(claimOf(headers, TENANT)).toEqual({ ok: true, value });
  });

  test.each([
    ["TenantDiffers", { "turnout-tenant": undefined }],
    ["TenantDiffers", { "turnout-tenant": "prod/other" }],
    ["TenantDiffers", { "turnout-tenant": "prod%2Facme" }],
    ["FenceMissing", { "turnout-fence": undefined }],
    ["FenceMalformed", { "turnout-fence": "" }],
    ["FenceMalformed", { "turnout-fence": "~" }],
    ["FenceMalformed", { "turnout-fence": `${fenceOf(5)}0` }],
    ["FenceMalformed", { "turnout-fence": `${fenceOf(5)}, ${fenceOf(5)}` }],
    ["FenceMalformed", { "turnout-fence": `${fenceOf(5)}\n` }],
    ["FenceMalformed", { "turnout-fence": "１７９５２４４３９７-00000005" }],
    ["BaseMalformed", { "turnout-base": undefined }],
    ["BaseMalformed", { "turnout-base": "~" }],
    ["BaseMalformed", { "turnout-base": fenceOf(5) }],
    ["BaseMalformed", { "turnout-base": fenceOf(6) }],
    ["OperationMalformed", { "idempotency-key": undefined }],
    ["OperationMalformed", { "idempotency-key": "" }],
    ["OperationMalformed", { "idempotency-key": "x".repeat(65) }],
    ["OperationMalformed", { "idempotency-key": "a b" }],
  ])("[SEC-31] is refused as %s for %o", (code, over) => {
    expect(claimOf({ ...headers, ...over }, TENANT)).toEqual({ ok: false, code });
  });
});

describe("the type of the body", () => {
  test.each([
    [{ "content-type": "application/json" }, true],
    [{ "content-type": "Application/JSON; charset=UTF-8" }, true],
    [{ "content-type": 'application/json;charset="utf-8"' }, true],
    [{ "content-type": "application/json", "content-encoding": "identity" }, true],
    [{}, false],
    [{ "content-type": "text/plain" }, false],
    [{ "content-type": "application/json; charset=latin1" }, false],
    [{ "content-type": "application/json-patch+json" }, false],
    [{ "content-type": "application/json", "content-encoding": "gzip" }, false],
  ])("%o: %s", (headers, taken) => {
    expect(takesType(headers)).toBe(taken);
  });
});

describe("the body", () => {
  const claim = { fence: fenceOf(5), base: fenceOf(4), opId: "op" };
  const read = (text: string | Uint8Array) => operationOf(TENANT, claim, typeof text === "string" ? utf8(text) : text);
  const whole = JSON.stringify(aConfiguration());
  const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

  test("is the configuration", () => {
    expect(read(whole)).toMatchObject({
      ok: true,
      value: { tenant: TENANT, ...claim, configuration: aConfiguration() },
    });
  });

  test("has one digest, whatever the order of its keys and what a newer operator adds", () => {
    const { version, parameters, endpoints, deployUnit } = aConfiguration();
    const other = JSON.stringify({
      later: 1,
      parameters,
      endpoints,
      version,
      deployUnit: { ...deployUnit, more: true },
    });
    const digests = [read(whole), read(other)].map((found) => (found.ok ? found.value.digest : found.code));
    expect(digests[1]).toBe(digests[0]);
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test("may leave endpoints and parameters out", () => {
    const found = read('{"deployUnit":{"id":1,"name":"blue","version":6},"version":41}');
    expect(found).toMatchObject({ ok: true, value: { configuration: { endpoints: [], parameters: {} } } });
  });

  const keys = Array.from({ length: 1001 }, (_, i) => `"k${i}":1`).join(",");
  const over = (patch: object): string => JSON.stringify({ ...aConfiguration(), ...patch });
  test.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a list", "[]"],
    ["null", "null"],
    ["a byte order mark", `\uFEFF${whole}`],
    ["no UTF-8", Uint8Array.from([...utf8('{"x":"'), 0xff, ...utf8(`",${whole.slice(1)}`)])],
    ["__proto__", `{"__proto__":{"version":1},${whole.slice(1)}`],
    ["constructor", `{"constructor":1,${whole.slice(1)}`],
    ["an escaped __proto__", `{"\\u005f_proto__":1,${whole.slice(1)}`],
    ["a doubled key", `{"version":1,${whole.slice(1)}`],
    ["a lone surrogate", `{"x":"\\ud800",${whole.slice(1)}`],
    ["too deep", `{"x":${"[".repeat(16)}${"]".repeat(16)},${whole.slice(1)}`],
    ["too many keys", `{${keys},${whole.slice(1)}`],
    ["a version as text", over({ version: "42" })],
    ["a version with a fraction", over({ version: 4.2 })],
    ["a negative version", over({ version: -1 })],
    ["a version beyond 2^31-1", over({ version: 2 ** 31 })],
    ["no deploy unit", over({ deployUnit: undefined })],
    ["a deploy unit without a name", over({ deployUnit: { id: 1, name: "", version: 1 } })],
    ["a port as text", over({ endpoints: [{ key: "a", host: "b", port: "1" }] })],
    ["port 0", over({ endpoints: [{ key: "a", host: "b", port: 0 }] })],
    ["65 endpoints", over({ endpoints: Array.from({ length: 65 }, () => ({ key: "a", host: "b", port: 1 })) })],
    ["parameters as a list", over({ parameters: [] })],
    ["a parameter that is no text", over({ parameters: { a: 1 } })],
    ["65 parameters", over({ parameters: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`p${i}`, ""])) })],
  ])("[SEC-44] with %s is refused", (_what, text) => {
    expect(read(text)).toEqual({ ok: false, code: "BodyMalformed" });
  });
});
